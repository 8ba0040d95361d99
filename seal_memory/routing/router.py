"""The router: for each question the shard that should answer, or none.

It searches the ledger and puts no text in any prompt. The search ranks (BM25, embeddings, or both: `embeddings`), a
judge decides which hit to trust and how far (`judges`); below the threshold the router abstains to the core or the
untouched base. The best shard answers alone, or the best few do together, each with a weight that follows from its
score. `making.make_router` puts the parts together as the settings say. Not here: applying a mix (`lora.stack`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from seal_memory.engines.mixes import mix_id
from seal_memory.records import Hit, Manifest
from seal_memory.routing.judges import CoverageJudge, Judge

SearchFn = Callable[[str, int], Sequence[Hit]]
CANDIDATES = 8
LEAST_WEIGHT = 0.02  # what would weigh less is left out of a mix


@dataclass(frozen=True, slots=True)
class Part:
    """One shard of an answer, its weight, the judge's score for it (0..1), and what it was found by."""

    adapter_id: str
    weight: float
    score: float
    interaction_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a question goes. `adapter_id` None: the untouched base. `coverage` is the judge's score, 0..1.

    `mix`: where several shards answer together all of them, the best first; `adapter_id` is the best one's.
    """

    adapter_id: str | None
    episode_id: str | None
    coverage: float
    interaction_ids: tuple[str, ...] = ()
    is_core: bool = False
    mix: tuple[Part, ...] = ()

    @property
    def applied(self) -> str | None:
        """The id under which the engine is asked: the adapter's, or the mix's."""
        return mix_id([(p.adapter_id, p.weight) for p in self.mix]) if self.mix else self.adapter_id

    @property
    def parts(self) -> tuple[Part, ...]:
        """The adapters that answer, the best first; none: the base."""
        if self.mix or self.adapter_id is None:
            return self.mix
        return (Part(self.adapter_id, 1.0, self.coverage, self.interaction_ids),)


class Router:
    """Routes questions over one manifest. `search(question, limit)` finds interactions, best first.

    `mix`: how many shards answer together at most; `temperature`: see `mix_weights`.
    """

    def __init__(
        self,
        manifest: Manifest,
        search: SearchFn,
        *,
        threshold: float,
        judge: Judge | None = None,
        mix: int = 1,
        temperature: float = 0.1,
    ) -> None:
        self._search = search
        self._mix, self._temperature = mix, temperature
        self._judge = judge if judge is not None else CoverageJudge()
        self._threshold = threshold
        self._core = manifest.core
        self._age: dict[str, int] = {s.adapter_id: n for n, s in enumerate(manifest.shards)}
        # a later shard wins where two hold the same interaction
        self._shard_of = manifest.holders

    def route(self, question: str) -> Route:
        """The best shard for a question, or the best few together, else the core, else the base."""
        found = self.ranked(question)
        if found and found[0].coverage >= self._threshold:
            return self._mixed(found[: self._mix])
        covered = found[0].coverage if found else 0.0
        return Route(self._core, None, covered, is_core=self._core is not None)

    def _mixed(self, best: Sequence[Route]) -> Route:
        weights = mix_weights([r.coverage for r in best], self._temperature)
        if len(weights) == 1:
            return best[0]
        parts = [
            Part(r.adapter_id, weight, r.coverage, r.interaction_ids)
            for r, weight in zip(best, weights, strict=False)
            if r.adapter_id is not None
        ]
        return replace(best[0], mix=tuple(parts))

    def ranked(self, question: str) -> list[Route]:
        """Every shard among the hits, the best first, each by its best hit, whatever the threshold says."""
        hits = [h for h in self._search(question, CANDIDATES) if h.interaction.id in self._shard_of]
        shards = [self._shard_of[h.interaction.id] for h in hits]
        found: dict[str, Route] = {}
        for judged in self._judge.judge(question, hits, [self._age[s.adapter_id] for s in shards]):
            shard, hit = shards[judged.place], hits[judged.place]
            route = Route(shard.adapter_id, shard.episode_id, judged.score, (hit.interaction.id,))
            found.setdefault(shard.adapter_id, route)
        return list(found.values())


def mix_weights(scores: Sequence[float], temperature: float) -> list[float]:
    """The softmax of scores / temperature of the ranked, the best first; sums to 1, and may leave out the last ones.

    Nobody weighs more than one who was ranked before: the judge had its reasons. At a temperature of 0.1 two that
    score alike share the answer, and one that scores 0.3 less has 5 % of it.
    """
    level, levels = math.inf, []
    for score in scores:
        level = min(level, score)
        levels.append(level)
    raised = [math.exp((x - levels[0]) / temperature) for x in levels]
    kept = [r for r in raised if r >= LEAST_WEIGHT * sum(raised)]
    return [r / sum(kept) for r in kept]
