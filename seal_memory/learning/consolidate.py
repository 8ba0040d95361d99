"""Consolidation: pending interactions become shards in a new published snapshot, or stay answerable by text.

`SealMemory.consolidate` calls `training.trainer`, which runs `Consolidator.run`. Per wave of episodes: make quizzes
and self-edits, train one candidate an episode, all in one stack, check, publish. To publish, adapter files are written
to a temporary folder, fsynced and renamed; then one ledger transaction records adapters, snapshot, grades and statuses.
After a kill at any point, the next open shows the last published snapshot.

Forgetting, correcting and rolling back wait for no trainer. What one of them took away while a wave ran is left out of
it, and what one published is judged against.

`reopen` makes the interactions of a weakened shard pending, so that it is trained again. The old shard answers until a
new one replaces it in the manifest, or for good where the new one is refused.
Not here: the core (`sleep.core`), finding weakened shards (`forgetting.audits`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from seal_memory._internal import commit_points
from seal_memory.errors import ChangedError, CorruptAdapterError, UnknownIdError
from seal_memory.learning import gate, grading
from seal_memory.learning.canaries import ask_canaries
from seal_memory.learning.candidates import Candidates, ChooseArms, TrainedCandidate, default_arms
from seal_memory.learning.episodes import group_episodes
from seal_memory.learning.gate import GateVerdict
from seal_memory.learning.publishing import Publisher, without_replaced
from seal_memory.learning.workbench import Workbench
from seal_memory.ledger import Ledger
from seal_memory.records import (
    AdapterKind,
    AdapterRecord,
    Decision,
    Episode,
    Genre,
    GenreYield,
    Manifest,
    ShardEntry,
    Snapshot,
    Status,
)

logger = logging.getLogger(__name__)

LOOKED_AT = 64  # interactions for each episode of a limited consolidation
REOPENED = "its shard weakened and is trained again"


@dataclass(frozen=True, slots=True)
class ConsolidateReport:
    """Result of a consolidation. `version`: the published one, None when nothing was published. Recalls are 0..1."""

    version: int | None
    episodes: int
    published: int
    refused: int
    decisions: tuple[Decision, ...]
    yields: tuple[GenreYield, ...]
    recall_before: float
    recall_after: float
    held_out_items: int
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Totals:
    decisions: list[Decision] = field(default_factory=list)
    yields: Counter[tuple[Genre, str]] = field(default_factory=Counter)
    trained: list[TrainedCandidate] = field(default_factory=list)
    episodes: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    version: int | None = None


class Consolidator:
    """Runs the consolidations of one memory, under its lease."""

    def __init__(self, bench: Workbench, *, arms: ChooseArms = default_arms, note_writer: str | None = None) -> None:
        self.bench, self.ledger, self.engine, self.settings = bench, bench.ledger, bench.engine, bench.settings
        self.candidates = Candidates(bench, arms=arms, note_writer=note_writer)
        self.publisher = Publisher(bench)

    def run(self, *, limit: int | None = None) -> ConsolidateReport:
        """Learn everything pending (at most `limit` episodes), wave by wave; each wave publishes its own snapshot.

        With a limit only the oldest are looked at, so that a backlog is not read again for each of its parts.
        """
        totals = _Totals()
        oldest = None if limit is None else limit * LOOKED_AT
        pending = self.ledger.interactions(status=Status.PENDING, limit=oldest)
        episodes = group_episodes(
            pending, max_tokens=self.settings.learning.episode_max_tokens, count_tokens=self.engine.count_tokens
        )
        for wave in _waves(episodes[:limit], self.settings.learning.stack_size):
            self._wave(wave, totals)
        return _report(totals)

    def _wave(self, episodes: Sequence[Episode], totals: _Totals) -> None:
        """Learn the episodes; anew, less what is gone, where a forget or correction came between."""
        while episodes:
            edits = self.ledger.edits()
            try:
                return self._learn(episodes, totals)
            except (UnknownIdError, CorruptAdapterError, ChangedError):
                if self.ledger.edits() == edits:
                    raise
                logger.info("something was forgotten or corrected meanwhile: the rest is learned again")
                pending = {i.id for i in self.ledger.interactions(status=Status.PENDING)}
                episodes = [e for e in episodes if pending.issuperset(e.interaction_ids)]

    def _is_there(self, ids: Sequence[str]) -> bool:
        return len(self.ledger.learnable(ids)) == len(set(ids))

    def _learn(self, episodes: Sequence[Episode], totals: _Totals) -> None:
        clock = time.perf_counter
        began = clock()
        studies = self.candidates.study(episodes)
        self._skip_empty(episodes, {s.episode.id for s in studies})
        studied = clock()
        trained = self.candidates.train_and_grade(studies) if studies else []
        finished = clock()
        self._publish(trained, {t.edit.id: v for t, v in zip(trained, self._verdicts(trained), strict=True)}, totals)
        totals.episodes += len(studies)
        totals.trained.extend(trained)
        for study in studies:
            for y in study.edits[0].yields:
                totals.yields[y.genre, "made"] += y.made
                totals.yields[y.genre, "kept"] += y.kept
        totals.seconds["study"] += studied - began
        totals.seconds["train and grade"] += finished - studied
        totals.seconds["publish"] += clock() - finished

    def _skip_empty(self, episodes: Sequence[Episode], studied: set[str]) -> None:
        for episode in episodes:
            if episode.id not in studied:
                self.ledger.set_status(
                    list(episode.interaction_ids), Status.SKIPPED, "no sentence in it states anything"
                )

    # -- publishing -------------------------------------------------------------------------------

    def _publish(
        self, trained: Sequence[TrainedCandidate], verdicts: Mapping[str, GateVerdict], totals: _Totals
    ) -> None:
        """Check every shard (`verdicts`, by self-edit id), then the whole memory; write files; commit once.

        A refused memory is checked again shard by shard, each beside the shards published by then, as if its episodes
        had come one after the other. So a shard that attracts questions of earlier memories does not hold up the
        others, and `gate.max_old_loss` is the loss allowed per publication.
        """
        while trained := self._still_valid(trained):
            records: dict[str, AdapterRecord] = {}
            edits, current = self.ledger.edits(), self.ledger.current()
            try:
                known = [verdicts[t.edit.id] for t in trained]
                if self._check_and_commit(trained, known, current, records, totals):
                    return
                break
            except (UnknownIdError, CorruptAdapterError, ChangedError):
                self.publisher.discard(records.values())
                if self.ledger.edits() == edits and self.ledger.current() == current:
                    raise
                logger.info("something was forgotten, corrected or rolled back meanwhile: checked again")
        for t in trained:
            self._publish([t], verdicts, totals)

    def _still_valid(self, trained: Sequence[TrainedCandidate]) -> list[TrainedCandidate]:
        """Those whose texts, replayed ones too, are all still there; the others leave the engine."""
        valid = [t for t in trained if self._is_valid(t)]
        for edit_id in {t.temporary_id for t in trained} - {t.temporary_id for t in valid}:
            self.engine.drop(edit_id)
        return valid

    def _is_valid(self, t: TrainedCandidate) -> bool:
        return self._is_there([*t.edit.interaction_ids, *(i for item in t.edit.items for i in item.interaction_ids)])

    def _check_and_commit(
        self,
        trained: Sequence[TrainedCandidate],
        verdicts: Sequence[GateVerdict],
        current: Snapshot | None,
        records: dict[str, AdapterRecord],
        totals: _Totals,
    ) -> bool:
        """False where the whole is refused and its shards are to be checked singly; `records` receives the files."""
        accepted = [t for t, v in zip(trained, verdicts, strict=True) if v.accepted]
        records |= {t.edit.id: self.publisher.store(t.edit, t.adapter, AdapterKind.SHARD) for t in accepted}
        manifest = _with_shards(current, accepted, records)
        whole = self.publisher.check_memory(current, manifest) if accepted else GateVerdict(True, (), {})
        if not whole.accepted and len(accepted) > 1:
            return False
        if not whole.accepted:
            verdicts = [replace(v, accepted=False, reasons=whole.reasons) if v.accepted else v for v in verdicts]
            accepted = []
        self._commit(trained, verdicts, whole, records, manifest if accepted else None, current, totals)
        for t in trained:
            self.engine.drop(t.temporary_id)
        if not whole.accepted:
            self.publisher.discard(records.values())
        return True

    def _verdicts(self, trained: Sequence[TrainedCandidate]) -> list[GateVerdict]:
        """The verdict on each shard by itself; only those that know the new are asked the canaries."""
        settings = self.settings.gate
        verdicts = [gate.check_new(t.base, t.result, settings, finite=t.adapter.is_finite()) for t in trained]
        asked = [n for n, v in enumerate(verdicts) if v.accepted and settings.max_canary_share < 1.0]
        sources = {trained[n].temporary_id: [i.text for i in trained[n].study.episode.interactions] for n in asked}
        changes = ask_canaries(self.engine, sources) if asked else []
        for n, change in zip(asked, changes, strict=True):
            new, kept = verdicts[n], gate.check_canaries(change, settings)
            reasons = new.reasons if kept.accepted else kept.reasons
            verdicts[n] = GateVerdict(kept.accepted, reasons, {**new.measures, **kept.measures})
        return verdicts

    def _commit(
        self,
        trained: Sequence[TrainedCandidate],
        verdicts: Sequence[GateVerdict],
        whole: GateVerdict,
        records: dict[str, AdapterRecord],
        manifest: Manifest | None,
        current: Snapshot | None,
        totals: _Totals,
    ) -> None:
        """One transaction: adapters, snapshot, decisions, grades, statuses. All or nothing."""
        commit_points.reached("snapshot-before-commit")
        decisions = []
        with self.ledger.atomic():
            self.bench.heartbeat()  # raises when another process took the lease over: then nothing is published
            self.publisher.require_current(current)
            if not all(map(self._is_valid, trained)):
                raise ChangedError("something was forgotten or corrected while it was trained on")
            version = None
            if manifest is not None:
                for t, v in zip(trained, verdicts, strict=True):
                    if v.accepted:
                        self.ledger.add_adapter(records[t.edit.id])
                        commit_points.reached("adapter-recorded")
                version = self.ledger.add_snapshot(
                    manifest,
                    parent=current.version if current else None,
                    base_fingerprint=self.engine.fingerprint,
                ).version
            for t, v in zip(trained, verdicts, strict=True):
                decision = self._decision(t, v, whole, records.get(t.edit.id), version)
                self.ledger.add_decision(decision)
                decisions.append(decision)
                self._add_grades(t, decision)
                self._mark(t.study.episode.interaction_ids, v, current)
                commit_points.reached("interactions-marked")
            self.ledger.audits.schedule(self.settings.background.audit_interval)
        commit_points.reached("snapshot-committed")
        totals.decisions += decisions
        totals.version = version if version is not None else totals.version

    def _mark(self, ids: Sequence[str], verdict: GateVerdict, current: Snapshot | None) -> None:
        """Set the status to learned or refused; a refused rebuild stays learned, since its old shard holds it."""
        held = set(current.manifest.holders) if current is not None else set()
        learned = [i for i in ids if verdict.accepted or i in held]
        self.ledger.set_status(learned, Status.LEARNED)
        self.ledger.set_status([i for i in ids if i not in learned], Status.REFUSED, (*verdict.reasons, None)[0])

    def _decision(
        self, t: TrainedCandidate, v: GateVerdict, whole: GateVerdict, record: AdapterRecord | None, version: int | None
    ) -> Decision:
        return Decision(
            self.bench.make_id(),
            record.id if record is not None and v.accepted else None,
            t.study.episode.id,
            v.accepted,
            v.reasons,
            {**v.measures, **whole.measures},
            version if v.accepted else None,
            self.bench.clock(),
        )

    def _add_grades(self, t: TrainedCandidate, decision: Decision) -> None:
        """Held-out grades of the base and, under its lasting id, of a published shard."""
        grades = list(t.base.grades)
        if decision.accepted:
            grades += [
                replace(g, adapter_id=decision.adapter_id, snapshot_version=decision.snapshot_version)
                for g in t.result.grades
            ]
        self.ledger.add_grades(grades)


def _waves(episodes: Sequence[Episode], size: int) -> list[Sequence[Episode]]:
    return [episodes[i : i + size] for i in range(0, len(episodes), size)]


def _with_shards(
    current: Snapshot | None, accepted: Sequence[TrainedCandidate], records: dict[str, AdapterRecord]
) -> Manifest:
    old = current.manifest if current is not None else Manifest()
    new = tuple(
        ShardEntry(records[t.edit.id].id, t.study.episode.id, t.study.episode.interaction_ids) for t in accepted
    )
    return replace(old, shards=without_replaced((*old.shards, *new)))


def _report(totals: _Totals) -> ConsolidateReport:
    grades_before = [g for t in totals.trained for g in t.base.grades]
    grades_after = [g for t in totals.trained for g in t.result.grades]
    genres = dict.fromkeys(genre for genre, _ in totals.yields)
    published = sum(d.accepted for d in totals.decisions)
    return ConsolidateReport(
        totals.version,
        totals.episodes,
        published,
        len(totals.decisions) - published,
        tuple(totals.decisions),
        tuple(GenreYield(g, totals.yields[g, "made"], totals.yields[g, "kept"]) for g in genres),
        grading.summarise(grades_before).recall,
        grading.summarise(grades_after).recall,
        len(grades_after),
        {k: round(v, 2) for k, v in totals.seconds.items()},
    )


def reopen(ledger: Ledger, adapter_ids: Sequence[str]) -> int:
    """Make the interactions that these shards answer for pending again.

    Interactions that a later shard holds, too, stay with that shard. Returns how many adapters were trained on them, 0
    where none of the shards is published; it is added to the seed, since the same seed would make the same adapter.
    """
    with ledger.atomic():
        current = ledger.current()
        wanted = set(adapter_ids)
        holders = current.manifest.holders if current is not None else {}
        held = {i for i, shard in holders.items() if shard.adapter_id in wanted}
        if not held:
            return 0
        known = ledger.interactions(ids=sorted(held))
        again = [i.id for i in known if i.status in (Status.LEARNED, Status.PENDING)]
        ledger.set_status(again, Status.PENDING, REOPENED)
        return len(ledger.adapters(interaction_ids=again))
