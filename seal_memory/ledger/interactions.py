"""Interaction rows: the observed texts, their sightings and their status.

An interaction's text is never changed. A correction is a new interaction that supersedes the old one; both stay until
`purge` removes them. The same role, title and text observed again is another *sighting* of one interaction.

Not here: choosing a status (`intake.admission`), full-text search (`search`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace

from seal_memory.errors import ChangedError, InputError, UnknownIdError
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import content_hash, from_json, id_list, normalise, not_nan, text_key, to_json
from seal_memory.ledger.reviews import restored_status
from seal_memory.ledger.terms import add_to_index
from seal_memory.records import WITHHELD, Interaction, NewInteraction, Observed, Role, Status

COLUMNS = """
    i.namespace, i.id, i.status, i.time, i.role, i.content_hash, i.source, i.session, i.title,
    i.reason, i.metadata, i.text,
    (SELECT count(*) FROM sightings s WHERE s.interaction_seq = i.seq) AS sightings
"""

_INSERT_INTERACTION = """
    INSERT INTO interactions
        (namespace, id, status, time, role, content_hash, source, session, title, reason, metadata, text, withheld_key)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_INSERT_SIGHTING = """
    INSERT INTO sightings (interaction_seq, time, session, source)
    SELECT seq, ?, ?, ? FROM interactions WHERE namespace = ? AND id = ?
"""


_EDITS = "edits"  # key in `meta`: how many purges and corrections there were


def observe(scope: Scope, items: Sequence[NewInteraction]) -> list[Observed]:
    hashes = [_checked_hash(item) for item in items]
    if not items:
        return []
    with scope.connection.atomic():
        known = _known(scope, hashes)
        places = _sessions_of(scope, hashes, items)
        rows: list[tuple[object, ...]] = []
        texts: list[tuple[str, str, str | None]] = []
        sightings: list[tuple[object, ...]] = []
        results: list[Observed] = []
        for item, digest in zip(items, hashes, strict=True):
            seen = known.get(digest)
            time = scope.clock() if item.time is None else not_nan(item.time, "the time of an interaction")
            if seen is None:
                item = _withheld_before(scope, item)
                seen = Observed(scope.make_id(), True, item.status, item.reason)
                known[digest] = Observed(seen.id, False, seen.status, seen.reason)
                rows.append(_row(scope, item, seen.id, time, digest))
                texts.append((seen.id, item.text, item.title))
            place = (seen.id, item.session)
            if not item.replayed or (place not in places and (seen.new or item.session is not None)):
                places.add(place)
                sightings.append((time, item.session, item.source, scope.namespace, seen.id))
            results.append(seen)
        scope.connection.run_many(_INSERT_INTERACTION, rows)
        add_to_index(scope, texts)
        scope.connection.run_many(_INSERT_SIGHTING, sightings)
    return results


def _withheld_before(scope: Scope, item: NewInteraction) -> NewInteraction:
    """The item, quarantined where another role or title brought the same text and it was withheld."""
    if item.status in WITHHELD:
        return item
    same = scope.connection.rows(
        "SELECT role, status FROM interactions WHERE namespace = ? AND withheld_key = ?"
        " AND status IN (SELECT value FROM json_each(?))",
        (scope.namespace, text_key(item.text), id_list(WITHHELD)),
    )
    if not same:
        return item
    role, status = max(same, key=lambda row: row[1] == Status.REJECTED)
    return replace(item, status=Status.QUARANTINED, reason=f"the same text was {status} as the {role}'s")


def recent(scope: Scope, session: str | None, limit: int) -> list[Interaction]:
    """The interactions last seen in a session, or last recorded in the namespace for None; newest first."""
    if session is None:  # ids sort by time, and an index has them
        where, values = "i.namespace = ? ORDER BY i.id DESC LIMIT ?", [scope.namespace, limit]
    else:
        where = (
            "i.seq IN (SELECT s.interaction_seq FROM sightings s JOIN interactions o ON o.seq = s.interaction_seq"
            " WHERE s.session = ? AND o.namespace = ? ORDER BY s.seq DESC LIMIT ?) ORDER BY i.seq DESC"
        )
        values = [session, scope.namespace, limit]
    rows = scope.connection.rows(f"SELECT {COLUMNS} FROM interactions i WHERE {where}", tuple(values))
    return [interaction_from(row) for row in rows]


def select(
    scope: Scope,
    *,
    ids: Collection[str] | None,
    session: str | None,
    source: str | None,
    status: Status | Collection[Status] | None,
    limit: int | None,
) -> list[Interaction]:
    where, values = ["i.namespace = ?"], [scope.namespace]
    if ids is not None:
        where.append("i.id IN (SELECT value FROM json_each(?))")
        values.append(id_list(ids))
    for column, wanted in (("session", session), ("source", source)):
        if wanted is not None:
            where.append(f"i.seq IN (SELECT interaction_seq FROM sightings WHERE {column} = ?)")
            values.append(wanted)
    if status is not None:
        where.append("i.status IN (SELECT value FROM json_each(?))")
        values.append(id_list([status] if isinstance(status, Status) else status))
    sql = f"SELECT {COLUMNS} FROM interactions i WHERE {' AND '.join(where)} ORDER BY i.time, i.seq LIMIT ?"
    with scope.connection.reading():
        if ids is not None:
            require_interactions(scope, ids)
        rows = scope.connection.rows(sql, (*values, -1 if limit is None else limit))
    return [interaction_from(row) for row in rows]


def set_status(scope: Scope, ids: Collection[str], status: Status, *, reason: str | None) -> int:
    if status is Status.SUPERSEDED:
        raise InputError("an interaction is superseded by another one: use supersede(id, new)")
    if status in WITHHELD:
        raise InputError(f"the status {status} is set by admission or by a person: use ledger.quarantine")
    with scope.connection.atomic():
        require_interactions(scope, ids)
        return scope.connection.run(
            "UPDATE interactions SET status = ?, reason = ? WHERE namespace = ?"
            " AND status NOT IN (SELECT value FROM json_each(?)) AND id IN (SELECT value FROM json_each(?))",
            (status, reason, scope.namespace, id_list([Status.SUPERSEDED, *WITHHELD]), id_list(ids)),
        )


def supersede(scope: Scope, old_id: str, new: NewInteraction) -> Observed:
    with scope.connection.atomic():
        require_interactions(scope, [old_id])
        newer = successor(scope, old_id)
        if newer is not None:
            raise InputError(f"interaction {old_id} was already corrected: correct {newer} instead")
        observed = observe(scope, [new])[0]
        if observed.id == old_id:
            raise InputError(f"the correction of {old_id} has the same role, title and text: nothing to correct")
        if observed.status is Status.SUPERSEDED:
            observed = _restore(scope, observed.id, new)
        scope.connection.run(
            "UPDATE interactions SET status = ?, superseded_by = ? WHERE namespace = ? AND id = ?",
            (Status.SUPERSEDED, observed.id, scope.namespace, old_id),
        )
        count_edit(scope)
    return observed


def successor(scope: Scope, interaction_id: str) -> str | None:
    rows = scope.connection.rows(
        "SELECT superseded_by FROM interactions WHERE namespace = ? AND id = ?",
        (scope.namespace, interaction_id),
    )
    return rows[0][0] if rows else None


def with_predecessors(scope: Scope, ids: Collection[str]) -> list[str]:
    with scope.connection.reading():
        require_interactions(scope, ids)
        rows = scope.connection.rows(
            "WITH RECURSIVE line (id) AS (SELECT value FROM json_each(?) UNION"
            " SELECT i.id FROM interactions i JOIN line ON i.superseded_by = line.id"
            " WHERE i.namespace = ?) SELECT id FROM line",
            (id_list(ids), scope.namespace),
        )
    return [row[0] for row in rows]


def counts(scope: Scope) -> dict[Status, int]:
    rows = scope.connection.rows(
        "SELECT status, count(*) FROM interactions WHERE namespace = ? GROUP BY status",
        (scope.namespace,),
    )
    found = {Status(row[0]): int(row[1]) for row in rows}
    return {status: found.get(status, 0) for status in Status}


def require_interactions(scope: Scope, ids: Collection[str]) -> None:
    """Raise UnknownIdError naming the ids that this namespace does not hold or has forgotten."""
    rows = scope.connection.rows(
        "SELECT DISTINCT j.value, t.time IS NOT NULL FROM json_each(?) j"
        " LEFT JOIN tombstones t ON t.namespace = ? AND t.interaction_id = j.value"
        " WHERE NOT EXISTS (SELECT 1 FROM interactions i WHERE i.namespace = ? AND i.id = j.value)",
        (id_list(ids), scope.namespace, scope.namespace),
    )
    if rows:
        named = ", ".join(f"{row[0]} (was forgotten)" if row[1] else str(row[0]) for row in rows[:5])
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        raise UnknownIdError(f"the memory {scope.namespace!r} holds no interaction {named}{more}")


def require_learnable(scope: Scope, ids: Collection[str]) -> None:
    """Raise like `require_interactions`, and InputError for a quarantined or rejected interaction."""
    require_interactions(scope, ids)
    rows = scope.connection.rows(
        "SELECT id, status FROM interactions WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))"
        " AND status IN (SELECT value FROM json_each(?))",
        (scope.namespace, id_list(ids), id_list(WITHHELD)),
    )
    if rows:
        raise InputError(f"interaction {rows[0][0]} is {rows[0][1]}: it cannot be used before a person approves it")


def require_valid(scope: Scope, ids: Collection[str]) -> None:
    """Raise ChangedError for an interaction that was superseded: nothing new may be trained on it."""
    rows = scope.connection.rows(
        "SELECT id FROM interactions WHERE namespace = ? AND id IN (SELECT value FROM json_each(?)) AND status = ?",
        (scope.namespace, id_list(ids), Status.SUPERSEDED),
    )
    if rows:
        raise ChangedError(f"interaction {rows[0][0]} was corrected meanwhile: train again, on its new wording")


def stored_bytes(scope: Scope) -> int:
    """Bytes of the namespace's texts with their names and metadata."""
    rows = scope.connection.rows(
        "SELECT coalesce(sum(length(CAST(text AS BLOB)) + length(CAST(metadata AS BLOB))"
        " + length(coalesce(title, '')) + length(coalesce(source, '')) + length(coalesce(session, ''))), 0)"
        " FROM interactions WHERE namespace = ?",
        (scope.namespace,),
    )
    return int(rows[0][0])


def learnable(scope: Scope, ids: Collection[str]) -> set[str]:
    rows = scope.connection.rows(
        "SELECT id FROM interactions WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))"
        " AND status NOT IN (SELECT value FROM json_each(?))",
        (scope.namespace, id_list(ids), id_list([Status.SUPERSEDED, *WITHHELD])),
    )
    return {row[0] for row in rows}


def count_edit(scope: Scope) -> None:
    """Note that an interaction was purged or superseded."""
    scope.connection.run(
        "INSERT INTO meta (namespace, key, value) VALUES (?, ?, '1')"
        " ON CONFLICT (namespace, key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
        (scope.namespace, _EDITS),
    )


def edits(scope: Scope) -> int:
    rows = scope.connection.rows("SELECT value FROM meta WHERE namespace = ? AND key = ?", (scope.namespace, _EDITS))
    return int(rows[0][0]) if rows else 0


def interaction_from(row: sqlite3.Row) -> Interaction:
    return Interaction(
        id=row["id"],
        namespace=row["namespace"],
        text=row["text"],
        role=Role(row["role"]),
        source=row["source"],
        session=row["session"],
        title=row["title"],
        time=row["time"],
        metadata=from_json(row["metadata"]),
        content_hash=row["content_hash"],
        status=Status(row["status"]),
        reason=row["reason"],
        sightings=row["sightings"],
    )


def _checked_hash(item: NewInteraction) -> str:
    if not normalise(item.text):
        raise InputError("an interaction's text is empty: leave empty messages out")
    if item.status is Status.SUPERSEDED:
        raise InputError("a new interaction cannot be superseded already: use supersede(id, new)")
    if item.status is Status.REJECTED:
        raise InputError("a new interaction cannot be rejected already: quarantine it, so that a person decides")
    return content_hash(item.role, item.title, item.text)


def _known(scope: Scope, hashes: Sequence[str]) -> dict[str, Observed]:
    rows = scope.connection.rows(
        "SELECT content_hash, id, status, reason FROM interactions"
        " WHERE namespace = ? AND content_hash IN (SELECT value FROM json_each(?))",
        (scope.namespace, id_list(hashes)),
    )
    return {row[0]: Observed(row[1], False, Status(row[2]), row[3]) for row in rows}


def _sessions_of(scope: Scope, hashes: Sequence[str], items: Sequence[NewInteraction]) -> set[tuple[str, str | None]]:
    """(id, session) of the sightings of replayed items in the sessions that they come in."""
    replayed = [(digest, item.session) for digest, item in zip(hashes, items, strict=True) if item.replayed]
    if not replayed:
        return set()
    rows = scope.connection.rows(
        "SELECT DISTINCT i.id, s.session FROM interactions i JOIN sightings s ON s.interaction_seq = i.seq"
        " WHERE i.namespace = ? AND i.content_hash IN (SELECT value FROM json_each(?))"
        " AND s.session IN (SELECT value FROM json_each(?))",
        (scope.namespace, id_list(d for d, _ in replayed), id_list({s for _, s in replayed if s is not None})),
    )
    return {(row[0], row[1]) for row in rows}


def _row(scope: Scope, item: NewInteraction, new_id: str, time: float, digest: str) -> tuple[object, ...]:
    metadata = to_json(dict(item.metadata), "the metadata of an interaction") if item.metadata else "{}"
    return (
        scope.namespace, new_id, item.status, time, item.role, digest,
        item.source, item.session, item.title, item.reason, metadata, item.text,
        text_key(item.text) if item.status in WITHHELD else None,
    )  # fmt: skip


def _restore(scope: Scope, interaction_id: str, new: NewInteraction) -> Observed:
    """Make a superseded interaction valid again, after a correction back to its wording."""
    status, reason = restored_status(scope, interaction_id, new)
    scope.connection.run(
        "UPDATE interactions SET status = ?, reason = ?, superseded_by = NULL, withheld_key = ?"
        " WHERE namespace = ? AND id = ?",
        (status, reason, text_key(new.text) if status in WITHHELD else None, scope.namespace, interaction_id),
    )
    return Observed(interaction_id, False, status, reason)
