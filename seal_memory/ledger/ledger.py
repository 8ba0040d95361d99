"""`Ledger`: all reads and writes of one namespace of a ledger file.

The methods only delegate; each family of tables has its module. Every method may raise `LedgerError` (the file cannot
be read or written) and `BusyError` (another process kept the write lock for too long); docstrings name further errors.
A method that writes is atomic by itself; `atomic()` joins several. Threads may share a `Ledger`, processes a file.

Not here: the records' meaning (`records`), making them (the packages above).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from seal_memory.errors import InputError
from seal_memory.ledger import grades, interactions, jobs, learning_rows, namespaces, policy_rows, purge, schema, search
from seal_memory.ledger import snapshots as snapshot_rows
from seal_memory.ledger.arguments import require_text
from seal_memory.ledger.audits import Audits
from seal_memory.ledger.browsing import Browsing
from seal_memory.ledger.connection import FILE_NAME, Scope, open_connection
from seal_memory.ledger.encoding import sortable_id
from seal_memory.ledger.quarantine import Quarantine
from seal_memory.ledger.queue import JobQueue
from seal_memory.ledger.quota import Quota
from seal_memory.ledger.sessions import Sessions
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
    """Database of one memory's namespace. Make one with `Ledger.open`; close it, or use it in `with`."""

    def __init__(self, scope: Scope, *, quota: int | None = None) -> None:
        self._scope, self._quota = scope, Quota(scope, quota)
        self.queue, self.audits = JobQueue(scope), Audits(scope)
        self.quarantine = Quarantine(scope)
        self.policy = policy_rows.PolicyRows(scope)
        self.namespaces, self.browsing, self.sessions = namespaces.Namespaces(scope), Browsing(scope), Sessions(scope)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        namespace: str = "default",
        clock: Callable[[], float] = time.time,
        make_id: Callable[[], str] = sortable_id,
        quota: int | None = None,
    ) -> Ledger:
        """Open or create the ledger of a memory folder (or a file, when `path` ends in .sqlite).

        `quota`: bytes of text that the namespace may hold; None: as many as there is room for.

        In a read-only folder the ledger opens for reading and every write raises `LedgerError`. An interrupted wipe
        after a purge is completed here.

        Raises:
            InputError: the namespace is empty or no string of valid Unicode.
            NewerSchemaError: a newer seal-memory wrote this ledger.
            LedgerError: the file is damaged or another program's, or the folder cannot be made.
        """
        if not require_text(namespace, "the namespace"):
            raise InputError("the namespace is empty: expected a name such as 'default'")
        file = path if path.suffix == ".sqlite" else path / FILE_NAME
        connection = open_connection(file)
        try:
            schema.prepare(connection)
            purge.wipe_if_due(connection)
        except BaseException:
            connection.close()
            raise
        return cls(Scope(connection, namespace, clock, make_id), quota=quota)

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
        """Transaction: all writes in the block or none; nested blocks join. Other threads and processes wait.

        The outermost block commits to disk. Keep it short: do not train or generate inside.
        """
        return self._scope.connection.atomic()

    # -- interactions ------------------------------------------------------------------------

    def observe(self, items: Sequence[NewInteraction]) -> list[Observed]:
        """Record interactions in one transaction; one result per item, in order.

        A known role, title and text (NFC, white space collapsed) is another sighting of that interaction: `new` is
        False and the status does not change. A known item with `replayed` set is a sighting only if its session (not
        None) has none of it yet.

        Raises:
            InputError: a text is empty or not valid Unicode, or metadata has no JSON form.
            QuotaError: the namespace would hold more than its quota.
        """
        self._quota.take(items)
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
        """Interactions that pass every filter, oldest first. Session and source match any sighting.

        Raises `UnknownIdError` naming an id that is not in this namespace.
        """
        return interactions.select(self._scope, ids=ids, session=session, source=source, status=status, limit=limit)

    def recent(self, limit: int, *, session: str | None = None) -> list[Interaction]:
        """The interactions last seen in a session, or last recorded in the namespace for None; newest first."""
        return interactions.recent(self._scope, session, limit)

    def set_status(self, ids: Collection[str], status: Status, reason: str | None = None) -> int:
        """Set status and reason; returns how many changed. Superseded, quarantined and rejected ones are skipped.

        Raises:
            UnknownIdError: an id is not in this namespace.
            InputError: the status is SUPERSEDED (use `supersede`), QUARANTINED or REJECTED (use `quarantine`).
        """
        return interactions.set_status(self._scope, ids, status, reason=reason)

    def supersede(self, id: str, new: NewInteraction) -> Observed:
        """Correct an interaction: `new` supersedes it, the old one stays in history.

        If `new` is known already, that interaction is used; if it was superseded itself, it becomes valid again.

        Raises:
            UnknownIdError: the id is not in this namespace.
            InputError: it was corrected before, or `new` says the same.
        """
        return interactions.supersede(self._scope, id, new)

    def successor(self, id: str) -> str | None:
        """The id of the interaction that superseded this one, if any."""
        return interactions.successor(self._scope, id)

    def with_predecessors(self, ids: Collection[str]) -> list[str]:
        """These ids and the ids of all earlier versions that they superseded. Raises `UnknownIdError`."""
        return interactions.with_predecessors(self._scope, ids)

    def learnable(self, ids: Collection[str]) -> set[str]:
        """Those of the ids that are here and neither superseded nor withheld."""
        return interactions.learnable(self._scope, ids)

    def edits(self) -> int:
        """A count that grows with every purge and correction: whether there was one since it was last asked for."""
        return interactions.edits(self._scope)

    def counts(self) -> dict[Status, int]:
        """Number of interactions per status; every status is a key."""
        return interactions.counts(self._scope)

    def search(self, query: str, *, limit: int = 5, statuses: Collection[Status] | None = None) -> list[Hit]:
        """Best BM25 matches, best first; any text is a valid query. Superseded and withheld texts are never found."""
        return search.search(self._scope, query, limit=limit, statuses=statuses)

    # -- self-edits, quiz items, adapters ----------------------------------------------------

    def add_self_edits(self, edits: Sequence[SelfEdit]) -> None:
        """Add self-edits; an equal one that exists is left alone.

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
        """Self-edits that pass every filter; `interaction_ids` matches any of their interactions, replayed ones too."""
        return learning_rows.self_edits(self._scope, ids=ids, episode_id=episode_id, interaction_ids=interaction_ids)

    def add_quiz_items(self, items: Sequence[QuizItem]) -> None:
        """Add quiz items; an equal one that exists (same id, question, answer) is left alone.

        Raises:
            UnknownIdError: an interaction is unknown or was forgotten.
            InputError: the id is taken, or one question would be both held out and trained on for the same
                interactions.
        """
        learning_rows.add_quiz_items(self._scope, items)

    def quiz_items(
        self,
        *,
        interaction_ids: Collection[str] | None = None,
        held_out: bool | None = None,
        ids: Collection[str] | None = None,
    ) -> list[QuizItem]:
        """Quiz items that pass every filter, in the order they were added."""
        return learning_rows.quiz_items(self._scope, interaction_ids=interaction_ids, held_out=held_out, ids=ids)

    def add_adapter(self, adapter: AdapterRecord) -> None:
        """Add a trained adapter; one with the same bytes is left alone.

        Raises:
            UnknownIdError: an interaction is unknown or was forgotten.
            ChangedError: an interaction was corrected.
            InputError: the id is taken by other bytes.
        """
        learning_rows.add_adapter(self._scope, adapter)

    def adapters(
        self, *, ids: Collection[str] | None = None, interaction_ids: Collection[str] | None = None
    ) -> list[AdapterRecord]:
        """Adapters that pass every filter, in the order they were added."""
        return learning_rows.adapters(self._scope, ids=ids, interaction_ids=interaction_ids)

    def adapters_trained_on(self, interaction_ids: Collection[str]) -> list[str]:
        """Ids of the adapters trained on any of these interactions; works after their purge, too."""
        return learning_rows.adapter_ids_trained_on(self._scope, interaction_ids)

    def remove_adapters(self, ids: Collection[str]) -> int:
        """Remove adapter rows; returns how many.

        Raises:
            InputError: a snapshot that is not destroyed still contains one of them.
        """
        return snapshot_rows.remove_adapters(self._scope, ids)

    # -- snapshots ---------------------------------------------------------------------------

    def add_snapshot(
        self, manifest: Manifest, *, parent: int | None, base_fingerprint: str, note: str = ""
    ) -> Snapshot:
        """Publish: store the manifest under the next version and make it current.

        Raises:
            UnknownIdError: an adapter or the parent is unknown, or an adapter was trained on an interaction that was
                forgotten meanwhile.
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
        """Make a version current (roll back or forward); 0 or None is the untouched base.

        Raises:
            UnknownIdError: there is none of that version, or a forget destroyed it.
        """
        snapshot_rows.set_current(self._scope, version)

    def destroy_snapshots(self, versions: Collection[int], *, note: str = snapshot_rows.DESTROYED_NOTE) -> int:
        """Erase manifests permanently; returns how many had one. Destroying the current one leaves the base.

        `note` is kept with each and becomes the error message of a rollback to it ("snapshot 3 was ...").

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
        adapter_id: str | grades.NoFilter | None = grades.ANY,
        snapshot_version: int | grades.NoFilter | None = grades.ANY,
    ) -> list[Grade]:
        """Grades that pass every filter, oldest first. The filter value None selects the untouched base."""
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
        """Take the lease on a kind of work, replacing an expired job.

        Raises:
            BusyError: another job of this kind is running; the message names its owner and lease.
        """
        return jobs.start_job(self._scope, kind, payload, owner=owner, lease_seconds=lease_seconds)

    def heartbeat(self, job_id: str, lease_seconds: float) -> Job:
        """Extend the lease to `lease_seconds` from now.

        Raises:
            BusyError: the job is no longer running: its lease expired and another process took over.
            UnknownIdError: there is no such job.
        """
        return jobs.heartbeat(self._scope, job_id, lease_seconds=lease_seconds)

    def finish_job(self, job_id: str, error: str | None = None) -> Job:
        """End a running job as done, or as failed with `error`. Raises like `heartbeat`."""
        return jobs.finish_job(self._scope, job_id, error=error)

    def jobs(self, limit: int | None = None) -> list[Job]:
        """Jobs, newest first."""
        return jobs.jobs(self._scope, limit=limit)

    # -- purge, meta -------------------------------------------------------------------------

    def purge(self, interaction_ids: Collection[str]) -> purge.PurgeReport:
        """Delete interactions and all text made from them, then overwrite the bytes.

        Inside `atomic()` the bytes are overwritten after the outermost commit. Ids that were purged before are
        accepted.

        Raises:
            UnknownIdError: an id was never in this namespace.
        """
        return purge.purge(self._scope, interaction_ids)

    def wipe(self) -> None:
        """Overwrite deleted bytes now, also in the log. Needed only after a purge that reported `wiped=False`.

        Raises:
            BusyError: another process is reading; the next `open` tries again.
        """
        purge.wipe(self._scope.connection)

    def retry_wipe(self) -> bool:
        """Finish a wipe that was prevented, at most twice a minute; whether all deleted bytes are overwritten.

        Never raises for a reader or a full disk: they are logged, and the wipe stays due.
        """
        return purge.retry_wipe(self._scope.connection)

    @property
    def wiped(self) -> bool:
        """Whether the bytes of all that was deleted from this file are overwritten, in its log too."""
        return not purge.is_wipe_due(self._scope.connection)

    def meta_get(self, key: str) -> str | None:
        """Value stored under `key` for this namespace, or None."""
        return namespaces.meta_get(self._scope, key)

    def meta_set(self, key: str, value: str | None) -> None:
        """Store a value under `key`; None deletes it. Never put observed text here: a purge does not look here."""
        namespaces.meta_set(self._scope, key, value)
