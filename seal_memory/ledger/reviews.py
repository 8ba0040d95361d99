"""Review log of the quarantine, and the triggers that keep withheld texts out of the search index.

Append-only but for a purge, which deletes the rows with their interaction: one row when an interaction is quarantined,
one for each decision about it. A correction may overwrite a status; the last row still says whether the text may be
learned.
Not here: the decisions (`quarantine`, made by a person).
"""

from __future__ import annotations

from collections.abc import Collection

from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import id_list
from seal_memory.records import NewInteraction, Review, Status

# Only searchable texts are indexed. Texts never change, so the status alone decides on adding and removing them.
QUARANTINE_TABLES = """
CREATE TABLE reviews (
    seq INTEGER PRIMARY KEY,
    interaction_seq INTEGER NOT NULL REFERENCES interactions (seq) ON DELETE CASCADE,
    standing TEXT NOT NULL CHECK (standing IN ('quarantined', 'pending', 'rejected')),
    reason TEXT,
    time REAL NOT NULL
) STRICT;
CREATE INDEX reviews_by_interaction ON reviews (interaction_seq);
CREATE TRIGGER reviews_begin AFTER INSERT ON interactions WHEN new.standing = 'quarantined' BEGIN
    INSERT INTO reviews (interaction_seq, standing, reason, time)
    VALUES (new.seq, new.standing, new.reason, new.time);
END;

DROP TRIGGER interactions_fts_insert;
DROP TRIGGER interactions_fts_delete;
CREATE TRIGGER interactions_fts_insert AFTER INSERT ON interactions
WHEN new.standing NOT IN ('quarantined', 'rejected') BEGIN
    INSERT INTO interactions_fts (rowid, text, title) VALUES (new.seq, new.text, new.title);
END;
CREATE TRIGGER interactions_fts_delete AFTER DELETE ON interactions
WHEN old.standing NOT IN ('quarantined', 'rejected') BEGIN
    INSERT INTO interactions_fts (interactions_fts, rowid, text, title)
    VALUES ('delete', old.seq, old.text, old.title);
END;
CREATE TRIGGER interactions_fts_withhold AFTER UPDATE OF standing ON interactions
WHEN old.standing NOT IN ('quarantined', 'rejected') AND new.standing IN ('quarantined', 'rejected') BEGIN
    INSERT INTO interactions_fts (interactions_fts, rowid, text, title)
    VALUES ('delete', old.seq, old.text, old.title);
END;
CREATE TRIGGER interactions_fts_release AFTER UPDATE OF standing ON interactions
WHEN old.standing IN ('quarantined', 'rejected') AND new.standing NOT IN ('quarantined', 'rejected') BEGIN
    INSERT INTO interactions_fts (rowid, text, title) VALUES (new.seq, new.text, new.title);
END;
"""


def add_review(scope: Scope, interaction_id: str, status: Status, reason: str | None) -> None:
    scope.connection.run(
        "INSERT INTO reviews (interaction_seq, status, reason, time)"
        " SELECT seq, ?, ?, ? FROM interactions WHERE namespace = ? AND id = ?",
        (status, reason, scope.clock(), scope.namespace, interaction_id),
    )


def reviews(scope: Scope, ids: Collection[str] | None = None) -> list[Review]:
    rows = scope.connection.rows(
        "SELECT i.id, r.status, r.reason, r.time FROM reviews r JOIN interactions i ON i.seq = r.interaction_seq"
        " WHERE i.namespace = ? AND (? IS NULL OR i.id IN (SELECT value FROM json_each(?))) ORDER BY r.seq",
        (scope.namespace, None if ids is None else 1, id_list(ids or ())),
    )
    return [Review(row[0], Status(row[1]), row[2], row[3]) for row in rows]


def restored_status(scope: Scope, interaction_id: str, new: NewInteraction) -> tuple[Status, str | None]:
    """Status and reason of a known text that a correction makes valid again; the last decision on it holds."""
    last = next(reversed(reviews(scope, [interaction_id])), None)
    if last is None:
        if new.status is Status.QUARANTINED:
            add_review(scope, interaction_id, new.status, new.reason)
        return new.status, new.reason
    if last.status is not Status.PENDING:
        return last.status, last.reason
    return (Status.PENDING, None) if new.status is Status.QUARANTINED else (new.status, new.reason)
