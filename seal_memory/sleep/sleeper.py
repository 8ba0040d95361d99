"""Sleep: merges shards of one topic, then builds the core; each is published only if nothing is lost.

Every merge is a publication of its own: adapter files first, then one transaction. A killed sleep keeps the merges it
published, and the next one goes on. A merge that the gate refuses is recorded with its reasons, and not tried again
unless asked for. Not here: topics (`topics`), training and checks (`merging`, `core`), the lease (`training`), when to
sleep (`schedule`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from seal_memory._internal import commit_points
from seal_memory.learning import grading
from seal_memory.learning.candidates import Candidates, candidate_id
from seal_memory.learning.gate import GateVerdict
from seal_memory.learning.old_recall import by_route
from seal_memory.learning.publishing import Publisher
from seal_memory.learning.workbench import Workbench
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.records import (
    AdapterKind,
    AdapterRecord,
    Decision,
    Grade,
    Manifest,
    SelfEdit,
    ShardEntry,
    Snapshot,
)
from seal_memory.sleep import core as core_room
from seal_memory.sleep import merging
from seal_memory.sleep.schedule import EPISODES, merged_sizes
from seal_memory.sleep.subjects import subject_topics
from seal_memory.sleep.topics import Topic, topics

MIN_SIMILARITY = 0.25  # of every two shards of a topic: set by hand; the gate refuses a merge that harms
SLEEP = "sleep"  # phase of the progress reported between two merges, where the worker may preempt


@dataclass(frozen=True, slots=True)
class SleepReport:
    """Result of a sleep. `version`: the last published one, None when nothing was; `core` None: none was built.

    `decisions`: one per topic and, last, the core's. `shards`, `adapter_bytes`: published ones, before and after.
    """

    version: int | None
    topics: int
    merged: int
    refused: int
    core: bool | None
    decisions: tuple[Decision, ...]
    shards: tuple[int, int]
    adapter_bytes: tuple[int, int]
    seconds: float


class Sleeper:
    """Merges one memory's published shards and builds its core, under its lease."""

    def __init__(self, bench: Workbench) -> None:
        self.bench, self.ledger, self.engine, self.settings = bench, bench.ledger, bench.engine, bench.settings
        self.candidates, self.publisher = Candidates(bench), Publisher(bench)

    def run(self, *, merge: bool, core: bool, again: bool) -> SleepReport:
        """Merge topics, then build the core; `again`: also topics that were refused before."""
        began, before = time.perf_counter(), self._size()
        decisions = self.merge(again=again) if merge else []
        found = len(decisions)
        if core:
            self.bench.progress(SLEEP, found, found + 1)
        built = self.build_core() if core else None
        decisions += [built] if built is not None else []
        after = self._size()
        merged = sum(d.accepted for d in decisions[:found])
        return SleepReport(
            max((d.snapshot_version for d in decisions if d.snapshot_version is not None), default=None),
            found,
            merged,
            found - merged,
            built.accepted if built is not None else None,
            tuple(decisions),
            (before[0], after[0]),
            (before[1], after[1]),
            time.perf_counter() - began,
        )

    def _size(self) -> tuple[int, int]:
        """Number of published shards, and their bytes."""
        current = self.ledger.current()
        ids = [s.adapter_id for s in current.manifest.shards] if current is not None else []
        return len(ids), sum(r.bytes for r in self.ledger.adapters(ids=ids))

    # -- merging ----------------------------------------------------------------------------------

    def merge(self, *, again: bool = False) -> list[Decision]:
        """Merge topic by topic; one decision for each that was tried."""
        edits = [(t, e) for t in self.topics() if (e := merging.merge_edit(t, self.candidates)) is not None]
        if not again:
            tried = {d.episode_id for d in self.ledger.decisions()}
            edits = [(t, e) for t, e in edits if e.episode_id not in tried]
        done: list[Decision] = []
        for n, (topic, edit) in enumerate(edits):
            self.bench.progress(SLEEP, n, len(edits))
            adapter = self.candidates.train([edit])[edit.id]
            current = self.ledger.current()
            if current is not None and set(topic.shards) <= set(current.manifest.shards):
                done.append(self._settle(topic, edit, adapter, current))
            self.engine.drop(candidate_id(edit))
        return done

    def topics(self) -> list[Topic]:
        """The topics that may be merged now, as the settings say."""
        current = self.ledger.current()
        if current is None or len(current.manifest.shards) < 2:
            return []
        if self.settings.sleep.by == "subjects":
            return subject_topics(
                current.manifest.shards,
                self.ledger,
                max_tokens=self.settings.learning.episode_max_tokens,
                count_tokens=self.engine.count_tokens,
            )
        return topics(
            current.manifest.shards,
            self.ledger,
            self.publisher.router(replace(current.manifest, core=None)),
            min_similarity=MIN_SIMILARITY,
            largest=self.settings.sleep.group_size,
            sizes=merged_sizes(self.ledger),
        )

    def _settle(self, topic: Topic, edit: SelfEdit, adapter: LoraAdapter, current: Snapshot) -> Decision:
        """Check a merge by itself, then the whole memory under the next router; publish or refuse."""
        verdict, grades = self.check(topic, edit, current.manifest, finite=adapter.is_finite())
        record: AdapterRecord | None = None
        manifest = current.manifest
        if verdict.accepted:
            record = self.publisher.store(edit, adapter, AdapterKind.SHARD)
            manifest = self._with(topic, record.id, edit, manifest)
            whole = self.publisher.check_memory(current, manifest)
            reasons = verdict.reasons if whole.accepted else whole.reasons
            verdict = GateVerdict(whole.accepted, reasons, {**verdict.measures, **whole.measures})
        sizes, taken = merged_sizes(self.ledger), set(topic.interaction_ids)
        episodes = sum(
            sizes.get(s.episode_id, 1.0) * len(taken.intersection(s.interaction_ids)) / len(s.interaction_ids)
            for s in topic.shards
        )
        reasons, measures = (*verdict.reasons, f"Alike: {topic.why}."), {**verdict.measures, EPISODES: episodes}
        verdict = GateVerdict(verdict.accepted, reasons, measures)
        return self._commit_merge(edit, record, verdict, manifest, current, grades)

    def _with(self, topic: Topic, adapter_id: str, edit: SelfEdit, manifest: Manifest) -> Manifest:
        entry = ShardEntry(adapter_id, edit.episode_id, edit.interaction_ids)
        return merging.with_merged(manifest, topic, entry)

    def check(
        self, topic: Topic, edit: SelfEdit, manifest: Manifest, *, finite: bool
    ) -> tuple[GateVerdict, list[Grade]]:
        """The verdict on this edit's candidate in the engine, as if added to `manifest`, and its grades."""
        bench, settings = self.bench, self.settings.gate
        adapter = candidate_id(edit)
        if not topic.split:
            members = merging.compare(topic, adapter, bench)
            verdict = merging.check_merge(members, settings, finite=finite)
            return verdict, [g for m in members for g in m.grades]
        items = merging.held_out_items(topic.interaction_ids, self.ledger)
        grades = grading.grade(
            [(item, adapter) for item in items],
            self.engine,
            max_tokens=settings.quiz_answer_tokens,
            snapshot_version=None,
            clock=bench.clock,
        )
        old, new = (self.publisher.router(m) for m in (manifest, self._with(topic, adapter, edit, manifest)))
        routes = [(item, old.route(item.question), new.route(item.question)) for item in items]
        asked = by_route(routes, bench, graded=grades)
        return merging.check_split(asked, settings, finite=finite), grades

    def _commit_merge(
        self,
        edit: SelfEdit,
        record: AdapterRecord | None,
        verdict: GateVerdict,
        manifest: Manifest,
        current: Snapshot,
        grades: Sequence[Grade],
    ) -> Decision:
        """One transaction: adapter, snapshot, decision, grades, audits. Files of a refused merge are deleted."""
        commit_points.reached("snapshot-before-commit")
        with self.ledger.atomic():
            self.bench.heartbeat()
            self.publisher.require_current(current)
            self.ledger.add_self_edits([edit])
            version = None
            if record is not None and verdict.accepted:
                self.ledger.add_adapter(record)
                commit_points.reached("adapter-recorded")
                version = self._publish(manifest, current, "sleep: shards of one topic merged")
                self.ledger.add_grades([replace(g, adapter_id=record.id, snapshot_version=version) for g in grades])
            adapter_id = record.id if record is not None and verdict.accepted else None
            decision = self._decision(edit, adapter_id, verdict, version)
            self.ledger.audits.schedule(self.settings.background.audit_interval)
        commit_points.reached("snapshot-committed")
        if record is not None and not verdict.accepted:
            self.publisher.discard([record])
        return decision

    # -- the core ---------------------------------------------------------------------------------

    def build_core(self) -> Decision | None:
        """Train the core, check it, and publish it if it passes; None where nothing is published to train it on."""
        current = self.ledger.current()
        if current is None or not current.manifest.shards:
            return None
        edit = core_room.core_edit(self.ledger, current.manifest, self.candidates)
        self.ledger.add_self_edits([edit])
        core = core_room.train_core(edit, self.candidates)
        strength = core_room.scale_to_drift_limit(edit, core, self.candidates)
        self.bench.heartbeat()
        verdict = core_room.check_core(edit, core, self.ledger, self.candidates, published=current.manifest.core)
        verdict = replace(verdict, measures={**verdict.measures, "core_strength": strength})
        return self._commit_core(edit, core, verdict, current)

    def _commit_core(self, edit: SelfEdit, core: LoraAdapter, verdict: GateVerdict, current: Snapshot) -> Decision:
        record = self.publisher.store(edit, core, AdapterKind.CORE) if verdict.accepted else None
        with self.ledger.atomic():
            self.bench.heartbeat()
            self.publisher.require_current(current)
            version = None
            if record is not None:
                self.ledger.add_adapter(record)
                version = self._publish(core_room.with_core(current.manifest, record.id), current, "core")
            decision = self._decision(edit, record.id if record is not None else None, verdict, version)
        self.engine.drop(candidate_id(edit))
        return decision

    # -- steps ------------------------------------------------------------------------------------

    def _publish(self, manifest: Manifest, current: Snapshot, note: str) -> int:
        return self.ledger.add_snapshot(
            manifest, parent=current.version, base_fingerprint=self.engine.fingerprint, note=note
        ).version

    def _decision(self, edit: SelfEdit, adapter_id: str | None, verdict: GateVerdict, version: int | None) -> Decision:
        """Record the verdict."""
        made = Decision(
            self.bench.make_id(),
            adapter_id,
            edit.episode_id,
            verdict.accepted,
            verdict.reasons,
            verdict.measures,
            version,
            self.bench.clock(),
        )
        self.ledger.add_decision(made)
        return made
