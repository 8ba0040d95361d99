"""Deletion: text, self-edits, quizzes, shards and snapshots of an interaction go, and a report proves it.

A shard is dropped whole when one of its interactions goes; what else it held becomes pending and is retrained by the
next consolidation. Snapshots that hold the shard are destroyed, so no rollback brings it back. Not here: replacing
a fact (`SealMemory.correct` = supersede + the same purge of derivatives), and telling beforehand (`consequences`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seal_memory.config import Settings
from seal_memory.engines.local import TransformersEngine
from seal_memory.forgetting.consequences import less, to_relearn, versions_with
from seal_memory.learning import grading
from seal_memory.learning.pruning import needed
from seal_memory.ledger import Ledger
from seal_memory.lora.store import AdapterStore
from seal_memory.quizzes.grading import mean
from seal_memory.records import Manifest, QuizItem, Snapshot, Standing
from seal_memory.routing.making import make_router


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """What went, and recall of the forgotten items: before, after, and of the untouched base (0..1).

    `recall_*` are None when no quiz item asked about what was forgotten.
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


class Deletion:
    """Forgets and corrects in one ledger and adapter store. `engine` may load the model late, `drop` never does."""

    def __init__(
        self,
        ledger: Ledger,
        store: AdapterStore,
        settings: Settings,
        *,
        engine: Callable[[], TransformersEngine],
        drop: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.ledger, self.store, self.settings = ledger, store, settings
        self.engine, self.drop, self.clock = engine, drop, clock

    def forget(self, ids: Sequence[str]) -> ForgetReport:
        """Destroy the interactions, their earlier wordings and everything derived from them."""
        chain = self.ledger.with_predecessors(list(ids))
        items = self.ledger.quiz_items(interaction_ids=chain)
        before = self._recall(items, self.ledger.current())
        with self.ledger.atomic():
            purged_adapters = self.ledger.adapters_trained_on(chain)
            snapshot, destroyed, relearn = self._without(purged_adapters, chain)
            report = self.ledger.purge(chain)
            self.ledger.remove_adapters(purged_adapters)
        self.remove_files(purged_adapters)
        self.store.sweep(needed(self.ledger))  # and what a killed trainer left
        after = self._recall(items, snapshot)
        base = self._recall(items, None)
        return ForgetReport(
            report.interactions,
            report.self_edits,
            report.quiz_items,
            tuple(purged_adapters),
            tuple(destroyed),
            snapshot.version if snapshot else None,
            tuple(relearn),
            before,
            after,
            base,
        )

    def drop_derivatives(self, ids: Sequence[str]) -> tuple[list[str], list[int]]:
        """For a correction: shards and snapshots trained on `ids` go, the text stays in the history.

        Their files are the caller's to remove (`remove_files`), once its transaction has committed.
        """
        with self.ledger.atomic():
            adapters = self.ledger.adapters_trained_on(list(ids))
            _, destroyed, _ = self._without(adapters, ids)
            self.ledger.remove_adapters(adapters)
        return adapters, destroyed

    def remove_files(self, adapters: Sequence[str]) -> None:
        """Delete adapters from the disk and the engine; call it when the ledger no longer holds them."""
        for adapter_id in adapters:
            self.store.remove(adapter_id)
        for adapter_id in adapters:  # after all files: an engine may fail
            self.drop(adapter_id)

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
            manifest = less(current.manifest, gone)
            snapshot = self.ledger.add_snapshot(
                manifest, parent=None, base_fingerprint=current.base_fingerprint, note="forget"
            )
        held = {i for s in snapshot.manifest.shards for i in s.interaction_ids} if snapshot is not None else set()
        relearn = to_relearn(self.ledger, gone, held.union(ids))
        self.ledger.destroy_snapshots(holding)
        self.ledger.set_standing(relearn, Standing.PENDING, "its shard was dropped by a forget or correction")
        return snapshot, holding, relearn

    def _recall(self, items: Sequence[QuizItem], snapshot: Snapshot | None) -> float | None:
        """Closed-book recall of the items, routed as `snapshot` (None: the base) would."""
        if not items:
            return None
        manifest = snapshot.manifest if snapshot is not None else Manifest()
        engine = self.engine()
        router = make_router(manifest, self.ledger, self.settings, embedders=engine.embedder)
        pairs = [(item, router.route(item.question).applied) for item in items]
        grades = grading.grade(
            pairs,
            engine,
            max_tokens=self.settings.recite_max_tokens,
            snapshot_version=snapshot.version if snapshot else None,
            clock=self.clock,
        )
        return mean(float(bool(g.correct)) for g in grades)
