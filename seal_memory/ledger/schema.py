"""Database schema as numbered migrations, and the check that a file is a usable ledger.

A migration is one SQL script. All that a file lacks commit at once, with the new `PRAGMA user_version`. Never edit a
released migration: append a new one.

Conventions: `seq` is the internal row number, `namespace` is on every table that is not reached through a parent row,
ids are unique within a namespace, lists and mappings are JSON. The `*_links` tables record which interactions a row was
made from, so that a forget reaches every derivative.

Not here: reading and writing rows (the other modules of this package).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from seal_memory.errors import LedgerError, NewerSchemaError
from seal_memory.ledger.connection import Connection
from seal_memory.ledger.encoding import text_key
from seal_memory.ledger.policy_rows import POLICY_TABLES, TRIAL_TABLES
from seal_memory.ledger.reviews import QUARANTINE_TABLES
from seal_memory.ledger.sessions import CONVERSATION_TABLES
from seal_memory.ledger.terms import REINDEX, SEARCH_TABLES, register_functions

APPLICATION_ID = 0x5EA17E40  # marks a seal-memory ledger in the SQLite file header

_TABLES = """
CREATE TABLE interactions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    standing TEXT NOT NULL,
    time REAL NOT NULL,
    role TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    source TEXT,
    session TEXT,
    title TEXT,
    reason TEXT,
    superseded_by TEXT,
    metadata TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (namespace, id),
    UNIQUE (namespace, content_hash)
) STRICT;
CREATE INDEX interactions_by_standing ON interactions (namespace, standing, time);
CREATE INDEX interactions_by_successor ON interactions (namespace, superseded_by)
    WHERE superseded_by IS NOT NULL;

CREATE TABLE sightings (
    seq INTEGER PRIMARY KEY,
    interaction_seq INTEGER NOT NULL REFERENCES interactions (seq) ON DELETE CASCADE,
    time REAL NOT NULL,
    session TEXT,
    source TEXT
) STRICT;
CREATE INDEX sightings_by_interaction ON sightings (interaction_seq);
CREATE INDEX sightings_by_session ON sightings (session) WHERE session IS NOT NULL;
CREATE INDEX sightings_by_source ON sightings (source) WHERE source IS NOT NULL;

CREATE TABLE tombstones (
    namespace TEXT NOT NULL,
    interaction_id TEXT NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (namespace, interaction_id)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE interactions_fts USING fts5 (
    text, title, content='interactions', content_rowid='seq',
    tokenize='porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER interactions_fts_insert AFTER INSERT ON interactions BEGIN
    INSERT INTO interactions_fts (rowid, text, title) VALUES (new.seq, new.text, new.title);
END;
CREATE TRIGGER interactions_fts_delete AFTER DELETE ON interactions BEGIN
    INSERT INTO interactions_fts (interactions_fts, rowid, text, title)
    VALUES ('delete', old.seq, old.text, old.title);
END;
CREATE TRIGGER interactions_fts_update AFTER UPDATE OF text, title ON interactions BEGIN
    INSERT INTO interactions_fts (interactions_fts, rowid, text, title)
    VALUES ('delete', old.seq, old.text, old.title);
    INSERT INTO interactions_fts (rowid, text, title) VALUES (new.seq, new.text, new.title);
END;

CREATE TABLE self_edits (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    episode_id TEXT NOT NULL,
    interaction_ids TEXT NOT NULL,
    hyperparameters TEXT NOT NULL,
    yields TEXT NOT NULL,
    seed TEXT NOT NULL,
    items TEXT NOT NULL,
    UNIQUE (namespace, id)
) STRICT;
CREATE INDEX self_edits_by_episode ON self_edits (namespace, episode_id);
CREATE TABLE self_edit_links (
    interaction_id TEXT NOT NULL,
    owner INTEGER NOT NULL REFERENCES self_edits (seq) ON DELETE CASCADE,
    PRIMARY KEY (interaction_id, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX self_edit_links_by_owner ON self_edit_links (owner);

CREATE TABLE quiz_items (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    interaction_ids TEXT NOT NULL,
    question TEXT NOT NULL,
    question_key TEXT NOT NULL,
    answer TEXT NOT NULL,
    held_out INTEGER NOT NULL CHECK (held_out IN (0, 1)),
    phrasing INTEGER NOT NULL,
    origin TEXT NOT NULL,
    logprob_with REAL,
    logprob_without REAL,
    UNIQUE (namespace, id)
) STRICT;
CREATE INDEX quiz_items_by_question ON quiz_items (namespace, question_key);
CREATE TABLE quiz_item_links (
    interaction_id TEXT NOT NULL,
    owner INTEGER NOT NULL REFERENCES quiz_items (seq) ON DELETE CASCADE,
    PRIMARY KEY (interaction_id, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX quiz_item_links_by_owner ON quiz_item_links (owner);
CREATE TRIGGER quiz_items_held_out_for_good BEFORE UPDATE OF held_out ON quiz_items
WHEN old.held_out = 1 AND new.held_out = 0 BEGIN
    SELECT RAISE(ABORT, 'a held-out quiz item is held out for good');
END;
CREATE TRIGGER quiz_items_not_replaced BEFORE INSERT ON quiz_items
WHEN new.held_out = 0 AND EXISTS (
    SELECT 1 FROM quiz_items WHERE namespace = new.namespace AND id = new.id AND held_out = 1
) BEGIN
    SELECT RAISE(ABORT, 'a held-out quiz item is held out for good');
END;

CREATE TABLE adapters (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    episode_id TEXT,
    interaction_ids TEXT NOT NULL,
    self_edit_id TEXT,
    base_fingerprint TEXT NOT NULL,
    config TEXT NOT NULL,
    seed TEXT NOT NULL,
    data_hash TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created REAL NOT NULL,
    UNIQUE (namespace, id)
) STRICT;
CREATE TABLE adapter_links (
    interaction_id TEXT NOT NULL,
    owner INTEGER NOT NULL REFERENCES adapters (seq) ON DELETE CASCADE,
    PRIMARY KEY (interaction_id, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX adapter_links_by_owner ON adapter_links (owner);

CREATE TABLE snapshots (
    namespace TEXT NOT NULL,
    version INTEGER NOT NULL,
    parent INTEGER,
    manifest TEXT,
    created REAL NOT NULL,
    base_fingerprint TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (namespace, version)
) STRICT;
CREATE TABLE heads (
    namespace TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    FOREIGN KEY (namespace, version) REFERENCES snapshots (namespace, version)
) STRICT;

CREATE TABLE grades (
    seq INTEGER PRIMARY KEY,
    quiz_item INTEGER NOT NULL REFERENCES quiz_items (seq) ON DELETE CASCADE,
    adapter_id TEXT,
    snapshot_version INTEGER,
    logprob REAL NOT NULL,
    share_likely REAL NOT NULL,
    correct INTEGER CHECK (correct IN (0, 1)),
    time REAL NOT NULL
) STRICT;
CREATE INDEX grades_by_quiz_item ON grades (quiz_item);

CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    adapter_id TEXT,
    episode_id TEXT,
    accepted INTEGER NOT NULL,
    reasons TEXT NOT NULL,
    measures TEXT NOT NULL,
    snapshot_version INTEGER,
    time REAL NOT NULL,
    UNIQUE (namespace, id)
) STRICT;

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    payload TEXT NOT NULL,
    created REAL NOT NULL,
    lease_until REAL,
    owner TEXT,
    error TEXT,
    UNIQUE (namespace, id)
) STRICT;
CREATE UNIQUE INDEX jobs_one_running ON jobs (namespace, kind) WHERE state = 'running';

CREATE TABLE meta (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (namespace, key)
) STRICT, WITHOUT ROWID;
"""

# Background trainer: its job queue (the lease on training stays in `jobs`), and the audits of published shards.
_QUEUE_TABLES = """
CREATE TABLE queued_jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'dead')),
    payload TEXT NOT NULL,
    priority INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    leases INTEGER NOT NULL,
    not_before REAL NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL,
    lease_until REAL,
    owner TEXT,
    error TEXT,
    UNIQUE (namespace, id)
) STRICT;
CREATE UNIQUE INDEX queued_jobs_one_running ON queued_jobs (namespace) WHERE state = 'running';
CREATE INDEX queued_jobs_by_state ON queued_jobs (namespace, state);

CREATE TABLE audits (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    adapter_id TEXT NOT NULL,
    episode_id TEXT NOT NULL,
    snapshot_version INTEGER NOT NULL,
    time REAL NOT NULL,
    recall REAL NOT NULL,
    items INTEGER NOT NULL,
    FOREIGN KEY (namespace, adapter_id) REFERENCES adapters (namespace, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX audits_by_adapter ON audits (namespace, adapter_id);
CREATE TABLE audit_schedule (
    namespace TEXT NOT NULL,
    adapter_id TEXT NOT NULL,
    episode_id TEXT NOT NULL,
    due REAL NOT NULL,
    step INTEGER NOT NULL,
    PRIMARY KEY (namespace, adapter_id),
    FOREIGN KEY (namespace, adapter_id) REFERENCES adapters (namespace, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
"""

# Renames the column `standing` to `status`; SQLite updates the triggers on it.
_STATUS_COLUMN = """
ALTER TABLE interactions RENAME COLUMN standing TO status;
ALTER TABLE reviews RENAME COLUMN standing TO status;
DROP INDEX interactions_by_standing;
CREATE INDEX interactions_by_status ON interactions (namespace, status, time);
"""

# Ends of a job's process in a row; they do not count as attempts.
_ABRUPT_ENDS = "ALTER TABLE queued_jobs ADD COLUMN abrupt_ends INTEGER NOT NULL DEFAULT 0;"

# Finds a withheld text again in another role or under another title, however many are withheld.
_WITHHELD_KEYS = """
ALTER TABLE interactions ADD COLUMN withheld_key TEXT;
UPDATE interactions SET withheld_key = text_key(text) WHERE status IN ('quarantined', 'rejected');
CREATE INDEX interactions_by_withheld_key ON interactions (namespace, withheld_key) WHERE withheld_key IS NOT NULL;
"""

MIGRATIONS: tuple[str, ...] = (
    _TABLES,
    _QUEUE_TABLES,
    POLICY_TABLES,
    QUARANTINE_TABLES,
    TRIAL_TABLES,
    _STATUS_COLUMN,
    SEARCH_TABLES,
    CONVERSATION_TABLES,
    _ABRUPT_ENDS,
    _WITHHELD_KEYS,
    REINDEX,  # figures of every script, strokes, Persian letters
)


def prepare(connection: Connection, *, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Migrate the file to the newest schema. Safe to run in several processes at once.

    Raises:
        NewerSchemaError: a newer seal-memory wrote this ledger.
        LedgerError: the file is another program's database, or an old ledger that is read-only.
    """
    version = _checked_version(connection, len(migrations))
    if connection.read_only:
        if version < len(migrations):
            raise LedgerError(
                f"{connection.path} has schema {version} and needs {len(migrations)}, but is read-only: "
                "open it once where it can be written"
            )
        return
    connection.run_outside_transaction("PRAGMA journal_mode=WAL")
    if version < len(migrations):
        with connection.atomic():  # all or nothing: one wait for the disk
            for number in range(_checked_version(connection, len(migrations)), len(migrations)):
                _migrate(connection, number + 1, migrations[number])


def _checked_version(connection: Connection, known: int) -> int:
    version = int(connection.rows("PRAGMA user_version")[0][0])
    application = int(connection.rows("PRAGMA application_id")[0][0])
    tables = int(connection.rows("SELECT count(*) FROM sqlite_master")[0][0])
    if application != APPLICATION_ID and (version or application or tables):
        raise LedgerError(f"{connection.path} is another program's database: choose another folder")
    if version > known:
        raise NewerSchemaError(
            f"{connection.path} has schema {version}, this seal-memory knows schemas up to {known}: "
            "upgrade with `pip install -U seal-memory`, or choose another folder"
        )
    return version


def _migrate(connection: Connection, version: int, script: str) -> None:
    with connection.translated_errors():
        register_functions(connection.database.conn)
        connection.database.conn.create_function("text_key", 1, text_key, deterministic=True)
        for statement in _statements(script):
            connection.database.execute(statement)
        connection.database.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.database.execute(f"PRAGMA user_version={version}")


def _statements(script: str) -> Iterator[str]:
    """A script's statements, for sqlite3's own `executescript` would commit before it begins."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
