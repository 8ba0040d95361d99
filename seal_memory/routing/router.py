"""The router: for each question the shard that should answer, or none.

It searches the ledger and puts no text in any prompt. The search ranks (BM25, embeddings, or both: `embeddings`), a
judge decides which hit to trust and how far (`judges`); below the threshold the router abstains to the core or the
untouched base. `making.make_router` puts the parts together as the settings say. Not here: any of the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seal_memory.records import Hit, Manifest
from seal_memory.routing.judges import CoverageJudge, Judge

SearchFn = Callable[[str, int], Sequence[Hit]]
CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Route:
    """Where a question goes. `adapter_id` None: the untouched base. `coverage` is the judge's score, 0..1."""

    adapter_id: str | None
    episode_id: str | None
    coverage: float
    interaction_ids: tuple[str, ...] = ()
    is_core: bool = False


class Router:
    """Routes questions over one manifest. `search(question, limit)` finds interactions, best first."""

    def __init__(
        self,
        manifest: Manifest,
        search: SearchFn,
        *,
        threshold: float,
        judge: Judge | None = None,
    ) -> None:
        self._search = search
        self._judge = judge if judge is not None else CoverageJudge()
        self._threshold = threshold
        self._core = manifest.core
        self._age: dict[str, int] = {s.adapter_id: n for n, s in enumerate(manifest.shards)}
        # a later shard wins where two hold the same interaction
        self._shard_of = manifest.holders

    def route(self, question: str) -> Route:
        """The best shard for a question, else the core, else the base."""
        found = self.ranked(question)
        if found and found[0].coverage >= self._threshold:
            return found[0]
        covered = found[0].coverage if found else 0.0
        return Route(self._core, None, covered, is_core=self._core is not None)

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
