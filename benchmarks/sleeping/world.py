"""World: a memory of a given size with trained shards, its questions, and ways to answer them.

The gate's comparisons with the previous state are off, as the tiers are compared, not the gate. Not here: the ways
(`tiers`), journals and results (`command`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.experiments.asking import questions_of
from benchmarks.systems.on_base import reading
from benchmarks.tasks.base import Question, Task, Unit
from seal_memory import prompts
from seal_memory._internal.progress import Progress
from seal_memory.answering import best_of_n
from seal_memory.config import Settings
from seal_memory.engines.base import Decoding, Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import InputError
from seal_memory.language.metrics import contains
from seal_memory.learning import drift
from seal_memory.learning.episodes import group_episodes
from seal_memory.learning.workbench import Workbench
from seal_memory.memory import SealMemory
from seal_memory.records import Manifest, Status
from seal_memory.routing.builtin import router_maker
from seal_memory.routing.router import Router

Record = dict[str, Any]
LIFTED = {
    "gate.min_gain": 0.0,
    "gate.max_old_loss": 1.0,
    "gate.max_perplexity_increase": 10.0,
    "gate.max_canary_share": 1.0,
}


@dataclass(frozen=True, slots=True)
class RoutedAnswer:
    """An answer's text, and whether the asked shard holds the evidence (None: not routed)."""

    text: str
    first: bool | None = None


class World:
    """A memory folder of `size` episodes or the first few more, opened with an engine that others share."""

    def __init__(
        self, folder: Path, task: Task, size: int, engine: TransformersEngine, settings: Settings, progress: Progress
    ) -> None:
        self.settings, self.progress, self.size = settings, progress, size
        lifted = settings.changed(**LIFTED)
        self.memory = SealMemory.open(folder, settings=lifted, engine=engine, progress=progress)
        self.engine = self.memory.engine  # now finds this memory's adapters
        self.chunk_of: dict[str, str] = {}
        self.units = self._observed(task)
        held = questions_of(self.units, len(self.units) - 1)
        self.questions: list[Question] = [q for _, q in held if q.answers and q.chunk_ids]
        self.text_of = {c.id: c.text for u in self.units for c in u.chunks}
        self.ids_of: dict[str, set[str]] = {}
        for interaction, chunk in self.chunk_of.items():
            self.ids_of.setdefault(chunk, set()).add(interaction)

    def close(self) -> None:
        self.memory.close()

    def _observed(self, task: Task) -> list[Unit]:
        """Units until they make enough episodes; observing again in a known folder only finds the ids."""
        taken: list[Unit] = []
        for unit in task.units:
            if len(self.episodes()) >= self.size:
                break
            self._observe(unit)
            taken.append(unit)
        if len(self.episodes()) < self.size:
            raise InputError(f"Task {task.name!r} makes {len(self.episodes())} episodes; {self.size} are asked for.")
        return taken

    def _observe(self, unit: Unit) -> None:
        for chunk in unit.chunks:
            session = None if chunk.role == "document" else unit.id
            seen = self.memory.observe(
                chunk.text, role=chunk.role, title=chunk.title, source=chunk.source, session=session
            )
            self.chunk_of.update((o.id, chunk.id) for o in seen)

    def episodes(self) -> list[Any]:
        """The episodes of everything observed in this process, learned or not."""
        learnable = (Status.PENDING, Status.LEARNED, Status.REFUSED)
        seen = [i for i in self.memory.ledger.interactions(status=learnable) if i.id in self.chunk_of]
        return group_episodes(
            seen, max_tokens=self.settings.learning.episode_max_tokens, count_tokens=self.engine.count_tokens
        )

    def learn(self) -> Record:
        """Train all shards that are not published yet.

        Raises `InputError` when fewer than two are published, for want of quiz items.
        """
        began = perf_counter()
        report = self.memory.consolidate()
        shards = self.manifest.shards
        if len(shards) < 2:
            raise InputError(f"Only {len(shards)} of {len(self.episodes())} episodes were published; 2 are needed.")
        records = self.memory.ledger.adapters(ids=[s.adapter_id for s in shards])
        return {
            "episodes": len(self.episodes()),
            "shards": len(shards),
            "refused": report.refused,
            "bytes": sum(r.bytes for r in records),
            "seconds": perf_counter() - began,
        }

    @property
    def manifest(self) -> Manifest:
        """The published manifest without a core: the shards that `learn` trained."""
        current = self.memory.ledger.current()
        return replace(current.manifest, core=None) if current is not None else Manifest()

    def workbench(self, **changes: Any) -> Workbench:
        """The memory's workbench with changed settings."""
        return replace(self.memory.workbench, settings=self.settings.changed(**changes), progress=self.progress)

    def router(self, manifest: Manifest, **changes: Any) -> Router:
        """The router of a manifest, with other settings."""
        make = router_maker(self.settings.changed(**changes).answering) if changes else self.memory.routers
        return make(manifest, self.memory.ledger)

    def bytes_of(self, manifest: Manifest) -> int:
        """What a manifest's adapters take on disk."""
        return sum(r.bytes for r in self.memory.ledger.adapters(ids=[s.adapter_id for s in manifest.shards]))

    def held_by(self, interaction_ids: set[str]) -> set[str]:
        """Ids of the questions whose evidence is among these interactions."""
        return {q.id for q in self.questions if any(self.ids_of.get(c, set()) & interaction_ids for c in q.chunk_ids)}

    # -- answering --------------------------------------------------------------------------------

    def routed(self, manifest: Manifest, *, max_tokens: int, **changes: Any) -> Record:
        """Ask through the router of a manifest; `changes` are settings of the router."""
        router = self.router(manifest, **changes)
        held = {s.adapter_id: set(s.interaction_ids) for s in manifest.shards}
        routes = [router.route(q.text) for q in self.questions]
        began = perf_counter()
        texts = self._ask([r.adapter_id for r in routes], max_tokens)
        seconds = perf_counter() - began
        replied = []
        for question, route, text in zip(self.questions, routes, texts, strict=True):
            wanted = {i for c in question.chunk_ids for i in self.ids_of.get(c, ())}
            replied.append(RoutedAnswer(text, bool(held.get(route.adapter_id or "", set()) & wanted)))
        paragraphs = [router.route(p).adapter_id for p in drift.fixed_paragraphs()]
        return self.record(replied, seconds, self.increase(paragraphs))

    def right_shard(self, manifest: Manifest, *, max_tokens: int) -> Record:
        """Ask the shard that holds the evidence, as a perfect router would."""
        shard_of = {i: s.adapter_id for s in manifest.shards for i in s.interaction_ids}
        adapters = []
        for question in self.questions:
            wanted = sorted(i for c in question.chunk_ids for i in self.ids_of.get(c, ()))
            adapters.append(next((shard_of[i] for i in wanted if i in shard_of), None))
        began = perf_counter()
        texts = self._ask(adapters, max_tokens)
        return self.record([RoutedAnswer(t) for t in texts], perf_counter() - began, 0.0)

    def one_adapter(self, adapter: str | None, *, max_tokens: int) -> Record:
        """Ask one adapter (None: the base) everything."""
        began = perf_counter()
        texts = self._ask([adapter] * len(self.questions), max_tokens)
        seconds = perf_counter() - began
        increase = self.increase([adapter] * len(drift.fixed_paragraphs())) if adapter is not None else 0.0
        return self.record([RoutedAnswer(t) for t in texts], seconds, increase)

    def with_the_text(self, *, max_tokens: int) -> Record:
        """Ask the untouched base with the evidence in its prompt: the oracle."""
        asked = [Prompt(reading([self.text_of[c] for c in q.chunk_ids], q.text)) for q in self.questions]
        began = perf_counter()
        done = self.engine.complete(asked, max_tokens=max_tokens)
        return self.record([RoutedAnswer(c.text) for c in done], perf_counter() - began, 0.0)

    def _ask(self, adapters: Sequence[str | None], max_tokens: int) -> list[str]:
        asked = [(Prompt(prompts.direct(q.text), a), q.text) for q, a in zip(self.questions, adapters, strict=True)]
        done = best_of_n.complete(
            asked, self.engine, Decoding(max_tokens), best_of_n.sample_options(self.settings.answering)
        )
        return [c.text for c in done]

    def increase(self, adapters: Sequence[str | None]) -> float:
        """Relative increase of perplexity on the fixed text over the base's."""
        if all(a is None for a in adapters):
            return 0.0
        return drift.perplexity(self.engine, adapters) / drift.perplexity(self.engine, [None] * len(adapters)) - 1.0

    def record(self, replied: Sequence[RoutedAnswer], seconds: float, increase: float) -> Record:
        """The journal record of one way; answers are graded when the results are made."""
        return {
            "answers": [
                {"question": q.id, "text": r.text, "first": r.first}
                for q, r in zip(self.questions, replied, strict=True)
            ],
            "answering_seconds": seconds,
            "perplexity_increase": increase,
        }


def is_right(question: Question, text: str) -> bool:
    """Whether the normalised answer holds one of the gold answers."""
    return any(contains(text, gold) for gold in question.answers)
