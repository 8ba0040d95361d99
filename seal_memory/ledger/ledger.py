"""`Ledger`: one namespace of a ledger file, with a verb for everything that may be done to it.

The methods only delegate; each table family has its module. Every method may raise `LedgerError`
(the file cannot be read or written) and `BusyError` (another process kept the write lock for too
long); docstrings name what else they raise. A method that writes is atomic by itself; several
become one with `atomic()`. A `Ledger` may be shared by threads, a file by processes.

Not covered: what the records mean and who makes them (`records.py`, the rooms above).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from seal_memory.errors import InputError
from seal_memory.ledger import grades, interactions, jobs, learning_rows, meta, policy_rows, purge, schema, search
from seal_memory.ledger import snapshots as snapshot_rows
from seal_memory.ledger.audits import Audits
from seal_memory.ledger.browsing import Browsing
from seal_memory.ledger.connection import FILE_NAME, Scope, open_connection
from seal_memory.ledger.encoding import sortable_id
from seal_memory.ledger.namespaces import Namespaces
from seal_memory.ledger.quarantine import Quarantine
from seal_memory.ledger.queue import JobQueue
from seal_memory.records import (
    AdapterRecord,
    Decision,
    Grade,
    Hit,
    Interaction,
    Job,
    Manifest,
    NewInteraction,
    Observed,
    QuizItem,
    SelfEdit,
    Snapshot,
    Status,
)


class Ledger:
    """The record of one memory. Make one with `Ledger.open`; close it, or use it in `with`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.queue, self.audits = JobQueue(scope), Audits(scope)  # the background trainer's
        self.quarantine = Quarantine(scope)
        self.policy = policy_rows.PolicyRows(scope)  # the note-writer's versions, examples, and what arms earned
        self.namespaces, self.browsing = Namespaces(scope), Browsing(scope)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        namespace: str = "default",
        clock: Callable[[], float] = time.time,
        make_id: Callable[[], str] = sortable_id,
    ) -> Ledger:
        """Open or create the ledger of a memory folder (or a file, when `path` ends in .sqlite).

        Where the folder cannot be written, the ledger opens for reading and every write raises
        `LedgerError`. A purge whose last step was interrupted is completed here.

        Raises:
            InputError: the namespace is empty.
            NewerSchemaError: a newer seal-memory wrote this ledger.
            LedgerError: the file is damaged, of another program, or the folder cannot be made.
        """
        if not namespace:
            raise InputError("the namespace is empty: expected a name such as 'default'")
        file = path if path.suffix == ".sqlite" else path / FILE_NAME
        connection = open_connection(file)
        try:
            schema.prepare(connection)
            purge.wipe_if_due(connection)
        except BaseException:
            connection.close()
            raise
        return cls(Scope(connection, namespace, clock, make_id))

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._scope.connection.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The database file."""
        return self._scope.connection.path

    @property
    def namespace(self) -> str:
        return self._scope.namespace

    @property
    def read_only(self) -> bool:
        return self._scope.connection.read_only

    def atomic(self) -> AbstractContextManager[None]:
        """All writes in the block or none; nested blocks join. Other threads and processes wait.

        The outermost block commits, to disk. Keep it short: do not train or generate inside.
        """
        return self._scope.connection.atomic()

    # -- interactions ------------------------------------------------------------------------

    def observe(self, items: Sequence[NewInteraction]) -> list[Observed]:
        """Record what was seen, in one transaction; one result per item, in order.

        The same role, title and text (NFC, white space collapsed) again is a further sighting of
        the known interaction: `new` is False and its status stays what it was. What is
        `replayed` and known is no sighting.

        Raises:
            InputError: a text is empty or not valid Unicode, or metadata has no JSON form.
        """
        return interactions.observe(self._scope, items)

    def interactions(
        self,
        *,
        ids: Collection[str] | None = None,
        session: str | None = None,
        source: str | None = None,
        status: Status | Collection[Status] | None = None,
        limit: int | None = None,
    ) -> list[Interaction]:
        """Interactions that meet every filter, oldest first. Session and source match any sighting.

        Raises `UnknownIdError` naming an id that is not in this namespace.
        """
        return interactions.select(self._scope, ids=ids, session=session, source=source, status=status, limit=limit)

    def set_status(self, ids: Collection[str], status: Status, reason: str | None = None) -> int:
        """Set status and reason; how many changed. What is superseded, quarantined or rejected stays so.

        Raises:
            UnknownIdError: an id is not in this namespace.
            InputError: the status is SUPERSEDED, which needs `supersede`, or QUARANTINED or REJECTED.
        """
        return interactions.set_status(self._scope, ids, status, reason=reason)

    def supersede(self, id: str, new: NewInteraction) -> Observed:
        """Correct an interaction: `new` takes its place, the old one stays in history.

        Where `new` is an interaction that is known already, that one takes its place; if it had
        been superseded itself, it is valid again.

        Raises:
            UnknownIdError: the id is not in this namespace.
            InputError: it was corrected before, or `new` says the same.
        """
        return interactions.supersede(self._scope, id, new)

    def successor(self, id: str) -> str | None:
        """The id of the interaction that superseded this one, if any."""
        return interactions.successor(self._scope, id)

    def with_predecessors(self, ids: Collection[str]) -> list[str]:
        """These ids and those of every earlier wording that they corrected. Raises `UnknownIdError`."""
        return interactions.with_predecessors(self._scope, ids)

    def counts(self) -> dict[Status, int]:
        """How many interactions have each status; every status is a key."""
        return interactions.counts(self._scope)

    def search(self, query: str, *, limit: int = 5, statuses: Collection[Status] | None = None) -> list[Hit]:
        """The best matches by BM25, best first; any text is a valid query. Never superseded or withheld."""
        return search.search(self._scope, query, limit=limit, statuses=statuses)

    # -- what learning makes -----------------------------------------------------------------

    def add_self_edits(self, edits: Sequence[SelfEdit]) -> None:
        """Add self-edits; one that is there already is left alone.

        Raises:
            UnknownIdError: an interaction is unknown or was forgotten.
            InputError: the id is taken by another self-edit.
        """
        learning_rows.add_self_edits(self._scope, edits)

    def self_edits(
        self,
        *,
        ids: Collection[str] | None = None,
        episode_id: str | None = None,
        interaction_ids: Collection[str] | None = None,
    ) -> list[SelfEdit]:
        """Self-edits that meet every filter; `interaction_ids` matches any of them, replay included."""
        return learning_rows.self_edits(self._scope, ids=ids, episode_id=episode_id, interaction_ids=interaction_ids)

    def add_quiz_items(self, items: Sequence[QuizItem]) -> None:
        """Add quiz items; one that is there already (same id, question, answer) is left alone.

        Raises:
            UnknownIdError: an interaction is unknown or was forgotten.
            InputError: the id is taken, or the same question of the same interactions is on the
                other side of the held-out line.
        """
        learning_rows.add_quiz_items(self._scope, items)

    def quiz_items(
        self,
        *,
        interaction_ids: Collection[str] | None = None,
        held_out: bool | None = None,
        ids: Collection[str] | None = None,
    ) -> list[QuizItem]:
        """Quiz items that meet every filter, in the order they were added."""
        return learning_rows.quiz_items(self._scope, interaction_ids=interaction_ids, held_out=held_out, ids=ids)

    def add_adapter(self, adapter: AdapterRecord) -> None:
        """Add a trained adapter; one with the same bytes is left alone.

        Raises:
            UnknownIdError: an interaction is unknown or was forgotten.
            InputError: the id is taken by other bytes.
        """
        learning_rows.add_adapter(self._scope, adapter)

    def adapters(
        self, *, ids: Collection[str] | None = None, interaction_ids: Collection[str] | None = None
    ) -> list[AdapterRecord]:
        """Adapters that meet every filter, in the order they were added."""
        return learning_rows.adapters(self._scope, ids=ids, interaction_ids=interaction_ids)

    def adapters_trained_on(self, interaction_ids: Collection[str]) -> list[str]:
        """Ids of the adapters trained on any of these; answers after a purge of them, too."""
        return learning_rows.adapter_ids_trained_on(self._scope, interaction_ids)

    def remove_adapters(self, ids: Collection[str]) -> int:
        """Remove adapter rows; how many there were.

        Raises:
            InputError: a snapshot that is not destroyed still holds one of them.
        """
        return snapshot_rows.remove_adapters(self._scope, ids)

    # -- snapshots ---------------------------------------------------------------------------

    def add_snapshot(
        self, manifest: Manifest, *, parent: int | None, base_fingerprint: str, note: str = ""
    ) -> Snapshot:
        """Publish: store the manifest under the next version and make it current.

        Raises:
            UnknownIdError: an adapter or the parent is unknown, or an adapter was trained on
                something that was forgotten meanwhile.
            BaseModelMismatchError: an adapter is of another base model than `base_fingerprint`.
        """
        return snapshot_rows.add_snapshot(
            self._scope, manifest, parent=parent, base_fingerprint=base_fingerprint, note=note
        )

    def current(self) -> Snapshot | None:
        """The published snapshot; None is the untouched base."""
        return snapshot_rows.current(self._scope)

    def snapshot(self, version: int) -> Snapshot:
        """One snapshot.

        Raises:
            UnknownIdError: there is none of that version, or a forget destroyed it.
        """
        return snapshot_rows.snapshot(self._scope, version)

    def history(self, *, include_destroyed: bool = False) -> list[Snapshot]:
        """Snapshots, newest first; destroyed ones have an empty manifest."""
        return snapshot_rows.history(self._scope, include_destroyed=include_destroyed)

    def set_current(self, version: int | None) -> None:
        """Roll back (or forth) to a version; 0 or None is the untouched base.

        Raises:
            UnknownIdError: there is none of that version, or a forget destroyed it.
        """
        snapshot_rows.set_current(self._scope, version)

    def destroy_snapshots(self, versions: Collection[int], *, note: str = snapshot_rows.DESTROYED_NOTE) -> int:
        """Erase their manifests for good; how many had one. Destroying the current one leaves the base.

        `note` is kept with each and is what a rollback to it is told ("snapshot 3 was ...").

        Raises:
            UnknownIdError: there is none of one of these versions.
        """
        return snapshot_rows.destroy_snapshots(self._scope, versions, note=note)

    # -- grades and decisions ----------------------------------------------------------------

    def add_grades(self, items: Sequence[Grade]) -> None:
        """Append grades.

        Raises:
            UnknownIdError: a quiz item is unknown.
            InputError: a number is NaN.
        """
        grades.add_grades(self._scope, items)

    def grades(
        self,
        *,
        quiz_item_ids: Collection[str] | None = None,
        adapter_id: str | grades.Anything | None = grades.ANY,
        snapshot_version: int | grades.Anything | None = grades.ANY,
    ) -> list[Grade]:
        """Grades that meet every filter, oldest first. None as a filter means "none": the base."""
        return grades.grades(
            self._scope,
            quiz_item_ids=quiz_item_ids,
            adapter_id=adapter_id,
            snapshot_version=snapshot_version,
        )

    def add_decision(self, decision: Decision) -> None:
        """Append a decision of the publish gate."""
        grades.add_decision(self._scope, decision)

    def decisions(self, limit: int | None = None) -> list[Decision]:
        """The gate's decisions, newest first."""
        return grades.decisions(self._scope, limit=limit)

    # -- jobs --------------------------------------------------------------------------------

    def start_job(self, kind: str, payload: Mapping[str, Any], *, owner: str, lease_seconds: float) -> Job:
        """Start the only running job of this kind, taking over an expired one: the lease on training.

        Raises:
            BusyError: another one is running; the message names its owner and lease.
        """
        return jobs.start_job(self._scope, kind, payload, owner=owner, lease_seconds=lease_seconds)

    def heartbeat(self, job_id: str, lease_seconds: float) -> Job:
        """Extend the lease to `lease_seconds` from now.

        Raises:
            BusyError: the job no longer runs: its lease expired and another process took over.
            UnknownIdError: there is no such job.
        """
        return jobs.heartbeat(self._scope, job_id, lease_seconds=lease_seconds)

    def finish_job(self, job_id: str, error: str | None = None) -> Job:
        """End a running job as done, or as failed with `error`. Raises like `heartbeat`."""
        return jobs.finish_job(self._scope, job_id, error=error)

    def jobs(self, limit: int | None = None) -> list[Job]:
        """Jobs, newest first."""
        return jobs.jobs(self._scope, limit=limit)

    # -- purge and the rest ------------------------------------------------------------------

    def purge(self, interaction_ids: Collection[str]) -> purge.PurgeReport:
        """Delete interactions and all text made from them, then overwrite the bytes.

        Inside `atomic()` the overwriting follows the outermost commit. Running it again with ids
        that are already gone is fine.

        Raises:
            UnknownIdError: an id was never in this namespace.
        """
        return purge.purge(self._scope, interaction_ids)

    def wipe(self) -> None:
        """Overwrite deleted bytes now, also in the log. Needed only where a purge said `wiped=False`.

        Raises:
            BusyError: another process is reading; the wipe stays due for the next open.
        """
        purge.wipe(self._scope.connection)

    def meta_get(self, key: str) -> str | None:
        """A fact about this memory, or None."""
        return meta.meta_get(self._scope, key)

    def meta_set(self, key: str, value: str | None) -> None:
        """Remember a fact about this memory; None forgets it. Never put observed text here."""
        meta.meta_set(self._scope, key, value)
