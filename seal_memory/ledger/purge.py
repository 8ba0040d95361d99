"""Purge: delete interactions and everything made from them, and overwrite their bytes in the file.

Rows are deleted in one transaction. After its commit the file is *wiped*: the database is rebuilt (`secure_delete` has
overwritten deleted rows; rebuilding leaves no other remains), and the log emptied. The same transaction marks the wipe
as due; one that was interrupted, blocked by another process or short of disk space is finished by the next `open`,
`wipe` or `retry_wipe` (which the background trainer calls), and where only the log is left by any later commit. A
database that is rebuilt already is not rebuilt again for the sake of its log. Rebuilding takes time by the size of the
whole file, and all writers wait for it, so forgets one after another share a rebuild where it is long.

Not here: adapter rows, adapter files and snapshots (the report names them, the caller destroys them); copies outside
the ledger, such as backups, file system snapshots and remapped disk blocks.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from seal_memory.errors import BusyError, LedgerError
from seal_memory.ledger.connection import Connection, Scope
from seal_memory.ledger.encoding import id_list, to_json
from seal_memory.ledger.interactions import count_edit, require_interactions
from seal_memory.ledger.learning_rows import adapter_ids_trained_on
from seal_memory.ledger.snapshots import versions_holding
from seal_memory.ledger.terms import remove_from_index

logger = logging.getLogger(__name__)

REMOVED = "removed by a forget"
_WHOLE_FILE = ""  # namespace of `meta` rows about the whole file
_WIPE_DUE = "wipe_due"
_LOG = "log"  # value of that row when only the log has to be emptied; any other one names the deletion
WAIT = 2.0  # seconds that a wipe waits for the readers of older states
RETRY_SECONDS = 30.0  # between two tries of `retry_wipe`
LONG, REST = 1.0, 9.0  # after a rebuild of over `LONG` seconds, the next one comes after `REST` times as long

_IN_IDS = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """Counts of removed rows, and the adapters and snapshots that the caller still has to destroy.

    `decisions` and `jobs` count rows that stay and lost their free text. `wiped` is False while the bytes are not yet
    overwritten: inside an outer `atomic()`, when another process was reading, or soon after a long rebuild.
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
        count_edit(scope)
        mark_wipe_due(scope.connection)
    return PurgeReport(
        interactions, sightings, self_edits, quiz_items, grades, decisions, jobs,
        tuple(adapter_ids), tuple(versions), wiped=not is_wipe_due(scope.connection),
    )  # fmt: skip


def mark_wipe_due(connection: Connection) -> None:
    """Schedule a wipe for after the commit of the running transaction, or else for the next `open`."""
    connection.run(
        "INSERT OR REPLACE INTO meta (namespace, key, value) VALUES (?, ?, ?)",
        (_WHOLE_FILE, _WIPE_DUE, uuid.uuid4().hex),
    )
    connection.after_commit(lambda: wipe_if_due(connection))


def is_wipe_due(connection: Connection) -> bool:
    return _due(connection) is not None


def retry_wipe(connection: Connection) -> bool:
    """Wipe if one is due, at most every `RETRY_SECONDS`; whether deleted bytes are overwritten now."""
    if time.monotonic() >= connection.wipe_after:
        connection.wipe_after = time.monotonic() + RETRY_SECONDS
        wipe_if_due(connection)
    return not is_wipe_due(connection)


def wipe_if_due(connection: Connection) -> None:
    """Wipe if one is due and the last long one is a while ago; on failure log a warning and leave it due."""
    due = None if connection.read_only else _due(connection)
    if due is None or (due != _LOG and time.monotonic() < connection.rebuild_after):
        return
    try:
        wipe(connection)
    except LedgerError as error:
        connection.wipe_after = time.monotonic() + RETRY_SECONDS
        connection.unfinished = partial(_retry_log, connection)
        logger.warning("deleted rows are not overwritten yet, will try again: %s", error)


def _retry_log(connection: Connection) -> None:
    """Finish a wipe of which only the log is left, where no trainer does; a rebuild would hold up the commit."""
    due = _due(connection)
    if due is None:
        connection.unfinished = None
    elif due == _LOG:
        retry_wipe(connection)


def wipe(connection: Connection) -> None:
    if _due(connection) != _LOG:
        try:
            _rebuild(connection)
        except LedgerError:
            connection.empty_log(wait=WAIT)  # the rows themselves are overwritten in the file
            raise
    if not connection.empty_log(wait=WAIT):
        raise BusyError(
            f"another process is reading {connection.path}, whose log cannot be emptied: "
            "stop it, or call wipe() again later"
        )
    with connection.atomic():
        connection.run("DELETE FROM meta WHERE namespace = ? AND key = ? AND value = ?", (_WHOLE_FILE, _WIPE_DUE, _LOG))


def _rebuild(connection: Connection) -> None:
    deletion, began = _due(connection), time.monotonic()
    connection.run_outside_transaction("VACUUM")
    took = time.monotonic() - began
    connection.rebuild_after = time.monotonic() + REST * took if took > LONG else 0.0
    with connection.atomic():  # unless something else was deleted meanwhile
        connection.run(
            "UPDATE meta SET value = ? WHERE namespace = ? AND key = ? AND value = ?",
            (_LOG, _WHOLE_FILE, _WIPE_DUE, deletion),
        )


def _due(connection: Connection) -> str | None:
    rows = connection.rows("SELECT value FROM meta WHERE namespace = ? AND key = ?", (_WHOLE_FILE, _WIPE_DUE))
    return rows[0][0] if rows else None


def _require_known(scope: Scope, interaction_ids: Collection[str]) -> None:
    """Raise UnknownIdError for unknown ids; purged ones are accepted, so that a forget can be repeated."""
    rows = scope.connection.rows(
        f"SELECT interaction_id FROM tombstones WHERE namespace = ? AND interaction_id {_IN_IDS}",
        (scope.namespace, id_list(interaction_ids)),
    )
    require_interactions(scope, set(interaction_ids) - {row[0] for row in rows})


def _delete_interactions(scope: Scope, interaction_ids: Collection[str]) -> tuple[int, int]:
    ids = id_list(interaction_ids)
    scope.connection.run(  # hashes of histories that may hold the texts
        "DELETE FROM conversations WHERE namespace = ? AND session IN (SELECT s.session FROM sightings s"
        f" JOIN interactions i ON i.seq = s.interaction_seq WHERE i.namespace = ? AND i.id {_IN_IDS})",
        (scope.namespace, scope.namespace, ids),
    )
    sightings = scope.connection.run(
        "DELETE FROM sightings WHERE interaction_seq IN"
        f" (SELECT seq FROM interactions WHERE namespace = ? AND id {_IN_IDS})",
        (scope.namespace, ids),
    )
    scope.connection.run(
        "INSERT OR IGNORE INTO tombstones (namespace, interaction_id, time) SELECT ?, value, ? FROM json_each(?)",
        (scope.namespace, scope.clock(), ids),
    )
    scope.connection.run(
        f"UPDATE interactions SET superseded_by = NULL WHERE namespace = ? AND superseded_by {_IN_IDS}",
        (scope.namespace, ids),
    )
    remove_from_index(scope, interaction_ids)
    interactions = scope.connection.run(
        f"DELETE FROM interactions WHERE namespace = ? AND id {_IN_IDS}", (scope.namespace, ids)
    )
    return sightings, interactions


def _delete_made_from(scope: Scope, kind: str, interaction_ids: Collection[str]) -> int:
    return scope.connection.run(
        f"DELETE FROM {kind}s WHERE namespace = ? AND seq IN"
        f" (SELECT owner FROM {kind}_links WHERE interaction_id {_IN_IDS})",
        (scope.namespace, id_list(interaction_ids)),
    )


def _count_grades(scope: Scope, interaction_ids: Collection[str]) -> int:
    """Number of grades that ON DELETE CASCADE will remove with their quiz items."""
    rows = scope.connection.rows(
        "SELECT count(*) FROM grades g JOIN quiz_items q ON q.seq = g.quiz_item WHERE q.namespace = ?"
        f" AND q.seq IN (SELECT owner FROM quiz_item_links WHERE interaction_id {_IN_IDS})",
        (scope.namespace, id_list(interaction_ids)),
    )
    return int(rows[0][0])


def _blank_decisions(scope: Scope, interaction_ids: Collection[str], adapter_ids: Collection[str]) -> int:
    """Replace the reasons, which may quote the text, of decisions on these adapters or their episodes."""
    episodes = scope.connection.rows(
        f"SELECT episode_id FROM self_edits WHERE namespace = ? AND seq IN"
        f" (SELECT owner FROM self_edit_links WHERE interaction_id {_IN_IDS})"
        f" UNION SELECT episode_id FROM adapters WHERE namespace = ? AND id {_IN_IDS}",
        (scope.namespace, id_list(interaction_ids), scope.namespace, id_list(adapter_ids)),
    )
    return scope.connection.run(
        "UPDATE decisions SET reasons = ?"
        f" WHERE namespace = ? AND (adapter_id {_IN_IDS} OR episode_id {_IN_IDS})",
        (
            to_json([REMOVED], "reasons"), scope.namespace, id_list(adapter_ids),
            id_list(row[0] for row in episodes if row[0] is not None),
        ),
    )  # fmt: skip


def _blank_jobs(scope: Scope, interaction_ids: Collection[str]) -> int:
    """Erase payload and error text of jobs whose payload names one of the interactions."""
    return sum(
        scope.connection.run(
            f"UPDATE {table} SET payload = '{{}}', error = CASE WHEN error IS NULL THEN NULL ELSE ? END"
            f" WHERE namespace = ? AND EXISTS (SELECT 1 FROM json_each(?) j WHERE instr({table}.payload, j.value))",
            (REMOVED, scope.namespace, id_list(interaction_ids)),
        )
        for table in ("jobs", "queued_jobs")
    )
