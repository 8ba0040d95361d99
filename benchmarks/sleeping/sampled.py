"""Sampled world: a memory too large to train whole. Every episode is in the router; only asked shards are trained.

Shards are independent, so an answer does not depend on shards that it does not reach. Questions are about some
episodes, drawn by a seed; trained are the shards with their evidence, and those to which the routers send them or the
fixed text. A refused shard leaves the router, and the questions are routed again. Not here: merging and cores, which
need all shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

from benchmarks.sleeping.world import Record, World
from benchmarks.tasks.base import Task
from seal_memory._internal.progress import Progress
from seal_memory.config import Settings
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import InputError
from seal_memory.language.metrics import mean
from seal_memory.learning import drift
from seal_memory.records import Episode, Manifest, ShardEntry, Status

UNTRAINED = "untrained-"


class SampledWorld(World):
    """A `World` whose questions are about `asked` of its episodes. Raises `InputError` when it has fewer."""

    def __init__(
        self,
        folder: Path,
        task: Task,
        size: int,
        engine: TransformersEngine,
        settings: Settings,
        progress: Progress,
        *,
        asked: int,
    ) -> None:
        super().__init__(folder, task, size, engine, settings, progress)
        self._all: list[Episode] = self.episodes()
        if not 2 <= asked <= len(self._all):
            self.close()
            raise InputError(f"Cannot ask about {asked} episodes: expected 2 to {len(self._all)}.")
        drawn = Random(f"{settings.seed}:{size}").sample(self._all, asked)
        held = self.held_by({i for e in drawn for i in e.interaction_ids})
        self.questions = [q for q in self.questions if q.id in held]
        waiting = self.memory.ledger.interactions(status=Status.PENDING)  # new, or left by a killed run
        self.memory.ledger.set_status([i.id for i in waiting], Status.LEARNED)

    @property
    def manifest(self) -> Manifest:
        """Every episode that was not refused, in time order; untrained ones under a placeholder id."""
        trained = {s.episode_id: s for s in super().manifest.shards}
        learned = {i.id for i in self.memory.ledger.interactions(status=Status.LEARNED)}
        shards = []
        for e in self._all:
            if e.id in trained:
                shards.append(trained[e.id])
            elif learned.issuperset(e.interaction_ids):
                shards.append(ShardEntry(f"{UNTRAINED}{e.id}", e.id, e.interaction_ids))
        return Manifest(tuple(shards))

    def learn(self) -> Record:
        """Train the shards that hold the questions' evidence."""
        began = perf_counter()
        wanted = {i for q in self.questions for c in q.chunk_ids for i in self.ids_of.get(c, ())}
        found = self._train([s for s in self.manifest.shards if wanted.intersection(s.interaction_ids)])
        return {**found, "episodes": len(self._all), "seconds": perf_counter() - began}

    def routed(self, manifest: Manifest, *, max_tokens: int, **changes: Any) -> Record:
        """Like `World.routed`, after training the shards that the questions reach; `manifest`: the one before that."""
        began = perf_counter()
        trained = 0
        while missing := self._reached(changes):
            trained += self._train(missing)["shards"]
        seconds = perf_counter() - began
        found = super().routed(self.manifest, max_tokens=max_tokens, **changes)
        return {**found, "reached": {"shards": trained, "seconds": seconds}}

    def bytes_of(self, manifest: Manifest) -> int:
        """Estimated bytes of all shards: the mean of the trained ones, times their number."""
        known = self.memory.ledger.adapters(ids=[s.adapter_id for s in super().manifest.shards])
        return round(mean(r.bytes for r in known) * len(manifest.shards))

    def _reached(self, changes: Mapping[str, Any]) -> list[ShardEntry]:
        """Untrained shards to which a question or a paragraph of the fixed text is routed."""
        manifest = self.manifest
        router = self.router(manifest, **changes)
        texts = [*(q.text for q in self.questions), *drift.fixed_paragraphs()]
        reached = {router.route(t).adapter_id for t in texts}
        return [s for s in manifest.shards if s.adapter_id in reached and s.adapter_id.startswith(UNTRAINED)]

    def _train(self, shards: Sequence[ShardEntry]) -> Record:
        """Train the untrained shards; refused ones leave `manifest`."""
        ids = [i for s in shards if s.adapter_id.startswith(UNTRAINED) for i in s.interaction_ids]
        known = len(super().manifest.shards)
        self.memory.ledger.set_status(ids, Status.PENDING)
        report = self.memory.consolidate()
        return {"shards": len(super().manifest.shards) - known, "refused": report.refused}
