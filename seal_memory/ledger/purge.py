"""Purge: take interactions and everything made from them out of the file, down to the bytes.

Deleting happens in one transaction. After it commits the file is *wiped*: the search index is
merged (FTS5 keeps deleted words until then), the database rebuilt (`secure_delete` overwrites
deleted rows already; a rebuilt file cannot hold anything else), and the log emptied. A mark in the
same transaction says that the wipe is due, so one that was interrupted, or that another process
prevented, is done by the next `open` or `wipe`.

Not covered: adapter rows and files, and snapshots. They hold no text but were derived from it;
the report names them, and the caller destroys them. Nor copies outside the ledger: backups, file
system snapshots, blocks that a disk has remapped.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from seal_memory.errors import BusyError, LedgerError
from seal_memory.ledger.connection import Connection, Scope
from seal_memory.ledger.encoding import id_list, to_json
from seal_memory.ledger.interactions import require_interactions
from seal_memory.ledger.learning_rows import adapter_ids_trained_on
from seal_memory.ledger.snapshots import versions_holding

logger = logging.getLogger(__name__)

REMOVED = "removed by a forget"
_SHARED = ""  # the namespace of marks that belong to the whole file
_WIPE_DUE = "wipe_due"

_THESE = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge removed (row counts), and what the caller still has to destroy.

    `decisions` and `jobs` lost their free text and keep their row. `wiped` is False when the
    bytes are still to be overwritten: inside an outer `atomic()`, or another process was reading.
    """

    interactions: int
    sightings: int
    self_edits: int
    quiz_items: int
    grades: int
    decisions: int
    jobs: int
    adapter_ids: tuple[str, ...]
    snapshot_versions: tuple[int, ...]
    wiped: bool = False


def purge(scope: Scope, interaction_ids: Collection[str]) -> PurgeReport:
    with scope.connection.atomic():
        _require_known(scope, interaction_ids)
        adapter_ids = adapter_ids_trained_on(scope, interaction_ids)
        versions = versions_holding(scope, adapter_ids=adapter_ids, interaction_ids=interaction_ids)
        decisions = _blank_decisions(scope, interaction_ids, adapter_ids)
        jobs = _blank_jobs(scope, interaction_ids)
        self_edits = _delete_made_from(scope, "self_edit", interaction_ids)
        grades = _count_grades(scope, interaction_ids)
        quiz_items = _delete_made_from(scope, "quiz_item", interaction_ids)
        _delete_made_from(scope, "policy_example", interaction_ids)
        _delete_made_from(scope, "policy_trial", interaction_ids)
        sightings, interactions = _delete_interactions(scope, interaction_ids)
        mark_wipe_due(scope.connection)
    return PurgeReport(
        interactions, sightings, self_edits, quiz_items, grades, decisions, jobs,
        tuple(adapter_ids), tuple(versions), wiped=not is_wipe_due(scope.connection),
    )  # fmt: skip


def mark_wipe_due(connection: Connection) -> None:
    """Wipe after the running transaction commits, or at the latest when the ledger is next opened."""
    connection.run("INSERT OR REPLACE INTO meta (namespace, key, value) VALUES (?, ?, '1')", (_SHARED, _WIPE_DUE))
    connection.after_commit(lambda: wipe_if_due(connection))


def is_wipe_due(connection: Connection) -> bool:
    rows = connection.rows("SELECT 1 FROM meta WHERE namespace = ? AND key = ?", (_SHARED, _WIPE_DUE))
    return bool(rows)


def wipe_if_due(connection: Connection) -> None:
    """Wipe now if it is due; if it cannot be done now, it stays due."""
    if connection.read_only or not is_wipe_due(connection):
        return
    try:
        wipe(connection)
    except LedgerError as error:
        logger.warning("deleted rows are not yet overwritten, will try again: %s", error)


def wipe(connection: Connection) -> None:
    with connection.atomic():
        connection.run("INSERT INTO interactions_fts (interactions_fts) VALUES ('optimize')")
    connection.run_bare("VACUUM")
    busy = connection.run_bare("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]
    if busy:
        raise BusyError(
            f"another process is reading {connection.path}, whose log cannot be emptied: "
            "stop it, or call wipe() again later"
        )
    with connection.atomic():
        connection.run("DELETE FROM meta WHERE namespace = ? AND key = ?", (_SHARED, _WIPE_DUE))


def _require_known(scope: Scope, interaction_ids: Collection[str]) -> None:
    """Ids that were purged before are fine: an interrupted forget may be run again."""
    rows = scope.connection.rows(
        f"SELECT interaction_id FROM tombstones WHERE namespace = ? AND interaction_id {_THESE}",
        (scope.namespace, id_list(interaction_ids)),
    )
    require_interactions(scope, set(interaction_ids) - {row[0] for row in rows})


def _delete_interactions(scope: Scope, interaction_ids: Collection[str]) -> tuple[int, int]:
    ids = id_list(interaction_ids)
    sightings = scope.connection.run(
        "DELETE FROM sightings WHERE interaction_seq IN"
        f" (SELECT seq FROM interactions WHERE namespace = ? AND id {_THESE})",
        (scope.namespace, ids),
    )
    scope.connection.run(
        "INSERT OR IGNORE INTO tombstones (namespace, interaction_id, time) SELECT ?, value, ? FROM json_each(?)",
        (scope.namespace, scope.clock(), ids),
    )
    scope.connection.run(
        f"UPDATE interactions SET superseded_by = NULL WHERE namespace = ? AND superseded_by {_THESE}",
        (scope.namespace, ids),
    )
    interactions = scope.connection.run(
        f"DELETE FROM interactions WHERE namespace = ? AND id {_THESE}", (scope.namespace, ids)
    )
    return sightings, interactions


def _delete_made_from(scope: Scope, what: str, interaction_ids: Collection[str]) -> int:
    return scope.connection.run(
        f"DELETE FROM {what}s WHERE namespace = ? AND seq IN"
        f" (SELECT owner FROM {what}_links WHERE interaction_id {_THESE})",
        (scope.namespace, id_list(interaction_ids)),
    )


def _count_grades(scope: Scope, interaction_ids: Collection[str]) -> int:
    """Grades that go with their quiz items (ON DELETE CASCADE does not report them)."""
    rows = scope.connection.rows(
        "SELECT count(*) FROM grades g JOIN quiz_items q ON q.seq = g.quiz_item WHERE q.namespace = ?"
        f" AND q.seq IN (SELECT owner FROM quiz_item_links WHERE interaction_id {_THESE})",
        (scope.namespace, id_list(interaction_ids)),
    )
    return int(rows[0][0])


def _blank_decisions(scope: Scope, interaction_ids: Collection[str], adapter_ids: Collection[str]) -> int:
    """Reasons may quote the text. Found by adapter, or by the episode of a self-edit or adapter."""
    episodes = scope.connection.rows(
        f"SELECT episode_id FROM self_edits WHERE namespace = ? AND seq IN"
        f" (SELECT owner FROM self_edit_links WHERE interaction_id {_THESE})"
        f" UNION SELECT episode_id FROM adapters WHERE namespace = ? AND id {_THESE}",
        (scope.namespace, id_list(interaction_ids), scope.namespace, id_list(adapter_ids)),
    )
    return scope.connection.run(
        "UPDATE decisions SET reasons = ?"
        f" WHERE namespace = ? AND (adapter_id {_THESE} OR episode_id {_THESE})",
        (
            to_json([REMOVED], "reasons"), scope.namespace, id_list(adapter_ids),
            id_list(row[0] for row in episodes if row[0] is not None),
        ),
    )  # fmt: skip


def _blank_jobs(scope: Scope, interaction_ids: Collection[str]) -> int:
    """Jobs whose payload names the interactions lose payload and error text."""
    return sum(
        scope.connection.run(
            f"UPDATE {table} SET payload = '{{}}', error = CASE WHEN error IS NULL THEN NULL ELSE ? END"
            f" WHERE namespace = ? AND EXISTS (SELECT 1 FROM json_each(?) j WHERE instr({table}.payload, j.value))",
            (REMOVED, scope.namespace, id_list(interaction_ids)),
        )
        for table in ("jobs", "queued_jobs")
    )
