"""Audits: ask a published shard's held-out items again, closed book through the published router.

Grades and the result are appended to the ledger. The next audit is later when the shard holds, soon when it weakens; a
shard that lost more than `background.audit_max_loss` is to be rebuilt. Not here: the schedule's rows (`ledger.audits`),
evaluating the results (`retention`), rebuilding (`training.worker`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seal_memory.engines.base import Engine
from seal_memory.language.metrics import mean
from seal_memory.learning import grading
from seal_memory.learning.workbench import Workbench
from seal_memory.records import Audit, AuditDue, QuizItem, Snapshot

SHARDS_PER_BATCH = 8  # shards asked in one batch; each batch is recorded before the next


@dataclass(frozen=True, slots=True)
class AuditOutcome:
    """One shard's audit; `loss`: its first recall less this one."""

    audit: Audit
    loss: float
    too_weak: bool


class Auditor:
    """Audits the shards of one memory's published snapshot; `engine` answers, in process or as a server's."""

    def __init__(self, bench: Workbench, engine: Engine) -> None:
        self.bench, self.ledger, self.engine = bench, bench.ledger, engine
        self.settings, self.gate = bench.settings.background, bench.settings.gate

    def run(self, *, limit: int | None = None) -> list[AuditOutcome]:
        """Audit the (`limit` most overdue) shards due now. One without held-out items only gets a new date."""
        now = self.bench.clock()
        self.ledger.audits.schedule(self.settings.audit_interval)
        due = self.ledger.audits.due(now)[:limit]
        found: list[AuditOutcome] = []
        for at in range(0, len(due), SHARDS_PER_BATCH):
            snapshot = self.ledger.current()
            if snapshot is not None:
                found += self._audit_batch(due[at : at + SHARDS_PER_BATCH], snapshot, now)
        return found

    def _audit_batch(self, due: Sequence[AuditDue], snapshot: Snapshot, now: float) -> list[AuditOutcome]:
        items = {d.adapter_id: self._items(d.adapter_id, snapshot) for d in due}
        router = self.bench.routers(snapshot.manifest, self.ledger)
        asked = [(item, router.route(item.question).adapter_id) for own in items.values() for item in own]
        grades = grading.grade(
            asked,
            self.engine,
            max_tokens=self.gate.quiz_answer_tokens,
            snapshot_version=snapshot.version,
            clock=lambda: now,
        )
        right = {g.quiz_item_id: float(bool(g.correct)) for g in grades}
        with self.ledger.atomic():
            self.ledger.add_grades(grades)
            return [self._record(d, [right[i.id] for i in items[d.adapter_id]], snapshot, now) for d in due]

    def _items(self, adapter_id: str, snapshot: Snapshot) -> list[QuizItem]:
        """Held-out items about interactions that this shard answers for, and no later one."""
        held = {i for i, shard in snapshot.manifest.holders.items() if shard.adapter_id == adapter_id}
        found = self.ledger.quiz_items(interaction_ids=held, held_out=True) if held else []
        return [item for item in found if held.issuperset(item.interaction_ids)]

    def _record(self, due: AuditDue, right: Sequence[float], snapshot: Snapshot, now: float) -> AuditOutcome:
        earlier = [a.recall for a in self.ledger.audits.results(adapter_id=due.adapter_id) if a.items]
        recall = mean(right) if right else (earlier[-1] if earlier else 0.0)
        audit = Audit(due.adapter_id, due.episode_id, snapshot.version, now, recall, len(right))
        loss = earlier[0] - recall if earlier else 0.0
        weakened = bool(earlier) and recall < earlier[-1]
        self.ledger.audits.record(audit, weakened=weakened, first_interval=self.settings.audit_interval)
        return AuditOutcome(audit, loss, loss > self.settings.audit_max_loss)
