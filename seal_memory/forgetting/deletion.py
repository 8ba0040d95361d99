"""Deletion: text, self-edits, quizzes, shards and snapshots of an interaction go, and a report proves it.

A shard is dropped whole when one of its interactions goes; what else it held becomes pending and is retrained by the
next consolidation. Snapshots that hold the shard are destroyed, so no rollback brings it back. What goes is decided by
the ledger alone: a model is only asked for the report, and a forget without one is a whole forget. It waits for no
trainer: who trains meanwhile publishes nothing of it (`learning.publishing`, `Ledger.add_adapter`). Not here: replacing
a fact (`SealMemory.correct` = supersede + the same purge of derivatives), and telling beforehand (`consequences`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from seal_memory.errors import BaseModelMismatchError, BusyError, ModelUnavailableError, SealMemoryError
from seal_memory.forgetting.consequences import less, to_relearn, versions_with
from seal_memory.learning import grading
from seal_memory.learning.pruning import needed
from seal_memory.learning.workbench import Workbench
from seal_memory.ledger.leases import lease
from seal_memory.quizzes.metrics import mean
from seal_memory.records import Manifest, QuizItem, Snapshot, Status

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """What went, and recall of the forgotten items: before, after, and of the untouched base (0..1).

    `recall_*` are None when no quiz item asked about what was forgotten, or the model could not be asked: it is not
    to be had, or not the one that the adapters were trained on.

    `wiped`: whether the deleted bytes are overwritten in the file and its log. False while another process reads an
    older state or the disk has no room to rebuild the file: the background trainer and the next open try again
    (`Ledger.retry_wipe`, `Ledger.wiped`). `still_served`: adapters with which a vLLM server still answered after they
    were unloaded, or about which it could not be asked: restart it, or put it to sleep at level 2.
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
    wiped: bool = True
    still_served: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompletedForget:
    """A forget that is done, and what it takes to ask the model about it once more."""

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

    def forget(self, ids: Sequence[str]) -> CompletedForget:
        """Destroy the interactions, their earlier wordings and everything derived from them."""
        chain = self.ledger.with_predecessors(list(ids))
        items = self.ledger.quiz_items(interaction_ids=chain)
        before = self._recall(items, self.ledger.current())
        with self.ledger.atomic():
            purged_adapters = self.ledger.adapters_trained_on(chain)
            snapshot, destroyed, relearn = self._without(purged_adapters, chain)
            report = self.ledger.purge(chain)
            self.ledger.remove_adapters(purged_adapters)
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
        )
        return CompletedForget(done, tuple(items), before, snapshot)

    def measured(self, done: CompletedForget) -> ForgetReport:
        """The report with its recalls, all or none."""
        after = self._recall(done.items, done.snapshot) if done.recall_before is not None else None
        base = self._recall(done.items, None) if after is not None else None
        if base is None:
            return done.report
        return replace(done.report, recall_before=done.recall_before, recall_after=after, recall_base=base)

    def drop_derivatives(self, ids: Sequence[str]) -> tuple[list[str], list[int]]:
        """For a correction: shards and snapshots trained on `ids` go, the text stays in the history.

        Their files are the caller's to remove (`remove_files`), once its transaction has committed.
        """
        with self.ledger.atomic():
            adapters = self.ledger.adapters_trained_on(list(ids))
            _, destroyed, _ = self._without(adapters, ids)
            self.ledger.remove_adapters(adapters)
        return adapters, destroyed

    def remove_files(self, adapters: Sequence[str]) -> list[str]:
        """Delete adapters from the disk and the engine, when the ledger no longer holds them; those still served.

        An engine that cannot be had, because its model is missing or another one, is no error.
        """
        still_served = []
        for adapter_id in adapters:
            self.store.remove(adapter_id)
        for adapter_id in adapters:  # after all files: an engine may fail
            try:
                gone = self.drop(adapter_id)
            except (ModelUnavailableError, BaseModelMismatchError) as error:
                logger.warning("A server that answers may hold adapter %s until it is restarted: %s", adapter_id, error)
                gone = False
            if not gone:
                still_served.append(adapter_id)
        return still_served

    # -- steps ------------------------------------------------------------------------------------

    def _without(self, adapters: Sequence[str], ids: Sequence[str]) -> tuple[Snapshot | None, list[int], list[str]]:
        """Publish the current snapshot less `adapters`, destroy every one that holds them."""
        current = self.ledger.current()
        gone = set(adapters)
        holding = versions_with(self.ledger, gone)
        if not holding:
            return current, [], []
        snapshot = current
        if current is not None and gone & set(current.manifest.adapter_ids):
            known = self.ledger.adapters(ids=current.manifest.adapter_ids)
            gone |= {a.id for a in known if a.base_fingerprint != current.base_fingerprint}  # earlier releases mixed
            manifest = less(current.manifest, gone)
            snapshot = self.ledger.add_snapshot(
                manifest, parent=None, base_fingerprint=current.base_fingerprint, note="forget"
            )
        held = set(snapshot.manifest.holders) if snapshot is not None else set()
        relearn = to_relearn(self.ledger, gone, held.union(ids))
        self.ledger.destroy_snapshots(holding)
        self.ledger.set_status(relearn, Status.PENDING, "its shard was dropped by a forget or correction")
        return snapshot, holding, relearn

    def _sweep(self) -> None:
        """What a killed trainer left. One that runs has files that no row names yet, and removes its own."""
        try:
            with lease(self.ledger, "consolidate"):
                self.store.sweep(needed(self.ledger))
        except BusyError:
            return

    def _recall(self, items: Sequence[QuizItem], snapshot: Snapshot | None) -> float | None:
        """Closed-book recall of the items, routed as `snapshot` (None: the base) would; None where it cannot be had."""
        if not items:
            return None
        try:
            return self._asked(items, snapshot)
        except SealMemoryError as error:
            logger.warning("What the model recalls of the forgotten cannot be measured: %s", error)
            return None

    def _asked(self, items: Sequence[QuizItem], snapshot: Snapshot | None) -> float:
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
