"""Deletion: destroys an interaction's text, self-edits, quizzes, shards and snapshots, and reports it.

A shard is dropped whole when one of its interactions is forgotten; its other interactions become pending and are
learned again by the next consolidation. Snapshots that hold the shard are destroyed, so no rollback brings it back. The
ledger alone decides what is destroyed; the model only measures recall for the report, and a forget without a model is
complete. It waits for no trainer: what one trains on it meanwhile is not published (`learning.publishing`,
`Ledger.add_adapter`). Not here: replacing a fact (`SealMemory.correct` = supersede + the same purge of derivatives),
the consequences beforehand (`consequences`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from seal_memory.errors import AdapterError, BaseModelMismatchError, BusyError, ModelUnavailableError, SealMemoryError
from seal_memory.forgetting.consequences import to_relearn, versions_with
from seal_memory.language.metrics import mean
from seal_memory.learning import grading
from seal_memory.learning.pruning import needed
from seal_memory.learning.workbench import Workbench
from seal_memory.ledger.leases import lease
from seal_memory.records import Manifest, QuizItem, Snapshot, Status

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """Result of a forget: counts and ids destroyed, and recall (0..1) of the forgotten: before, after, by the base.

    `recall_*` are None when no quiz item asked about it, or the model cannot be asked: it is missing, or not the one
    that the adapters were trained on. `kept`: interactions of the session or source that were seen elsewhere, too; they
    stay, without their sightings there.

    `wiped`: whether the deleted bytes are overwritten in the file and its log. False while another process reads an
    older state, the disk has no room to rebuild the file, or a large file was rebuilt just before: the background
    trainer and the next open try again (`Ledger.retry_wipe`, `Ledger.wiped`). `still_served`: adapters with which a
    vLLM server still answered after they were unloaded, or about which it could not be asked: restart it, or put it to
    sleep at level 2.
    """

    interactions: int
    self_edits: int
    quiz_items: int
    adapters: tuple[str, ...]
    snapshots: tuple[int, ...]
    version: int | None
    to_relearn: tuple[str, ...]
    recall_before: float | None
    recall_after: float | None
    recall_base: float | None
    kept: int = 0
    wiped: bool = True
    still_served: tuple[str, ...] = ()

    @property
    def left(self) -> str:
        """What could not be destroyed yet, in sentences for people; empty where nothing is left."""
        said = []
        if not self.wiped:
            said.append("The deleted bytes are not overwritten in the ledger's files yet; that is tried again.")
        if self.still_served:
            said.append(f"A vLLM server may still answer with {', '.join(self.still_served)} until it is restarted.")
        return " ".join(said)


@dataclass(frozen=True, slots=True)
class CompletedForget:
    """A finished forget, with the items and snapshot to measure recall afterwards."""

    report: ForgetReport
    items: tuple[QuizItem, ...]
    recall_before: float | None
    snapshot: Snapshot | None


class Deletion:
    """Forgets and corrects in one memory. The model is loaded only to report recall.

    `drop(adapter_id)` lets the engines go of an adapter, and loads no model; False where one may still answer with it.
    """

    def __init__(self, bench: Workbench, *, drop: Callable[[str], bool]) -> None:
        self.bench, self.ledger, self.store, self.drop = bench, bench.ledger, bench.store, drop

    def forget(self, ids: Sequence[str], *, session: str | None = None, source: str | None = None) -> CompletedForget:
        """Destroy the interactions, their earlier wordings and everything derived from them.

        A session or source is left: what was seen elsewhere, too, stays without its sightings there.
        """
        chain = self.ledger.with_predecessors(list(ids))
        items = self.ledger.quiz_items(interaction_ids=chain)
        before = self._recall(items, self.ledger.current())
        with self.ledger.atomic():
            purged_adapters = self.ledger.adapters_trained_on(chain)
            snapshot, destroyed, relearn = self._unpublish(purged_adapters, chain)
            report = self.ledger.purge(chain)
            self.ledger.remove_adapters(purged_adapters)
            named = session is not None or source is not None
            kept = self.ledger.sessions.leave(session=session, source=source) if named else 0
        still_served = self.remove_files(purged_adapters)
        self._sweep()
        done = ForgetReport(
            report.interactions,
            report.self_edits,
            report.quiz_items,
            tuple(purged_adapters),
            tuple(destroyed),
            snapshot.version if snapshot else None,
            tuple(relearn),
            None,
            None,
            None,
            wiped=self.ledger.wiped,
            still_served=tuple(still_served),
            kept=kept,
        )
        return CompletedForget(done, tuple(items), before, snapshot)

    def with_recall(self, done: CompletedForget) -> ForgetReport:
        """The report with all three recalls, or none of them."""
        after = self._recall(done.items, done.snapshot) if done.recall_before is not None else None
        base = self._recall(done.items, None) if after is not None else None
        if base is None:
            return done.report
        return replace(done.report, recall_before=done.recall_before, recall_after=after, recall_base=base)

    def drop_derivatives(self, ids: Sequence[str]) -> tuple[list[str], list[int]]:
        """Drop shards and snapshots trained on `ids`, and keep the text (for a correction). Returns both.

        The caller removes the files (`remove_files`) once its transaction has committed.
        """
        with self.ledger.atomic():
            adapters = self.ledger.adapters_trained_on(list(ids))
            _, destroyed, _ = self._unpublish(adapters, ids)
            self.ledger.remove_adapters(adapters)
        return adapters, destroyed

    def remove_files(self, adapters: Sequence[str]) -> list[str]:
        """Delete adapters from the disk and the engine, once the ledger no longer holds them; the ids still served.

        A missing or different model is no error. Raises `AdapterError` where a file cannot be deleted, once all others
        are and no engine holds any.
        """
        still_served, failed = [], None
        for adapter_id in adapters:
            try:
                self.store.remove(adapter_id)
            except AdapterError as error:
                logger.error("%s", error)
                failed = error
        for adapter_id in adapters:  # after all files: an engine may fail
            try:
                gone = self.drop(adapter_id)
            except (ModelUnavailableError, BaseModelMismatchError) as error:
                logger.warning("A server that answers may hold adapter %s until it is restarted: %s", adapter_id, error)
                gone = False
            if not gone:
                still_served.append(adapter_id)
        if failed is not None:
            raise AdapterError(f"{failed} The text is forgotten; delete this folder yourself.") from failed
        return still_served

    # -- steps ------------------------------------------------------------------------------------

    def _unpublish(self, adapters: Sequence[str], ids: Sequence[str]) -> tuple[Snapshot | None, list[int], list[str]]:
        """Publish the current snapshot without `adapters`, and destroy every snapshot that holds them."""
        current = self.ledger.current()
        gone = set(adapters)
        holding = versions_with(self.ledger, gone)
        if not holding:
            return current, [], []
        snapshot = current
        if current is not None and gone & set(current.manifest.adapter_ids):
            known = self.ledger.adapters(ids=current.manifest.adapter_ids)
            gone |= {a.id for a in known if a.base_fingerprint != current.base_fingerprint}  # earlier releases mixed
            manifest = current.manifest.without(gone)
            snapshot = self.ledger.add_snapshot(
                manifest, parent=None, base_fingerprint=current.base_fingerprint, note="forget"
            )
        held = set(snapshot.manifest.holders) if snapshot is not None else set()
        relearn = to_relearn(self.ledger, gone, held.union(ids))
        self.ledger.destroy_snapshots(holding)
        self.ledger.set_status(relearn, Status.PENDING, "its shard was dropped by a forget or correction")
        return snapshot, holding, relearn

    def _sweep(self) -> None:
        """Delete files of a killed trainer, unless one runs: its new files have no rows yet, and it removes its own."""
        try:
            with lease(self.ledger, "consolidate"):
                self.store.sweep(needed(self.ledger))
        except BusyError:
            return

    def _recall(self, items: Sequence[QuizItem], snapshot: Snapshot | None) -> float | None:
        """Closed-book recall of the items under `snapshot` (None: the base); None where it cannot be measured."""
        if not items:
            return None
        try:
            return self._ask(items, snapshot)
        except SealMemoryError as error:
            logger.warning("The recall of the forgotten items cannot be measured: %s", error)
            return None

    def _ask(self, items: Sequence[QuizItem], snapshot: Snapshot | None) -> float:
        manifest = snapshot.manifest if snapshot is not None else Manifest()
        engine = self.bench.engine
        router = self.bench.routers(manifest, self.ledger)
        pairs = [(item, router.route(item.question).adapter_id) for item in items]
        grades = grading.grade(
            pairs,
            engine,
            max_tokens=self.bench.settings.gate.quiz_answer_tokens,
            snapshot_version=snapshot.version if snapshot else None,
            clock=self.bench.clock,
        )
        return mean(float(bool(g.correct)) for g in grades)
