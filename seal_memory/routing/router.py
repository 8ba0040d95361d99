"""The router: for each question the shard that should answer, or none.

`SearchRouter` searches the ledger and puts no text in any prompt. The search ranks (`making`), a judge decides which
hit to trust and how far (`judges`); below the threshold it abstains to the core or the untouched base.

A router of your own is a class that takes a manifest and its ledger and has `route`:

    class Newest:
        def __init__(self, manifest: Manifest, ledger: Ledger) -> None:
            self.manifest = manifest

        def route(self, question: str) -> Route:
            return Route.to(self.manifest.shards[-1]) if self.manifest.shards else Route.abstain(self.manifest)

    SealMemory.open("memory", router=Newest)

It is made anew for every manifest: the published one, and at the gate the one that may be published. The same question
must get the same route. Not here: searching, judging.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from seal_memory.ledger import Ledger
from seal_memory.records import Hit, Manifest, ShardEntry
from seal_memory.routing.rankers import Ranker

SearchFn = Callable[[str, int], Sequence[Hit]]
CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Route:
    """Where a question goes. `adapter_id` None: the untouched base; `episode_id` None: no shard.

    `score`: how sure the router is of the shard, 0..1. `interaction_ids`: what speaks for it, named as an answer's
    sources.
    """

    adapter_id: str | None = None
    episode_id: str | None = None
    score: float = 0.0
    interaction_ids: tuple[str, ...] = ()
    is_core: bool = False

    @classmethod
    def to(cls, shard: ShardEntry, score: float = 1.0, interaction_ids: Sequence[str] | None = None) -> Route:
        """To a shard, because of these interactions; None: all that it holds."""
        found = shard.interaction_ids if interaction_ids is None else tuple(interaction_ids)
        return cls(shard.adapter_id, shard.episode_id, score, found)

    @classmethod
    def abstain(cls, manifest: Manifest, score: float = 0.0) -> Route:
        """To no shard: the manifest's core, or the base where it has none."""
        return cls(manifest.core, None, score, is_core=manifest.core is not None)


class Router(Protocol):
    """Routes questions over one manifest."""

    def route(self, question: str) -> Route: ...


MakeRouter = Callable[[Manifest, Ledger], Router]


class SearchRouter:
    """Routes to what a search finds and a judge trusts. `search(question, limit)` gives interactions, best first."""

    def __init__(self, manifest: Manifest, search: SearchFn, judge: Ranker, *, threshold: float) -> None:
        self._manifest, self._search, self._judge, self._threshold = manifest, search, judge, threshold
        self._age: dict[str, int] = {s.adapter_id: n for n, s in enumerate(manifest.shards)}
        # a later shard wins where two hold the same interaction
        self._shard_of = manifest.holders

    def route(self, question: str) -> Route:
        """The best shard for a question, else the core, else the base."""
        found = self.ranked(question)
        if found and found[0].score >= self._threshold:
            return found[0]
        return Route.abstain(self._manifest, found[0].score if found else 0.0)

    def ranked(self, question: str) -> list[Route]:
        """Every shard among the hits, the best first, each by its best hit, whatever the threshold says."""
        hits = [h for h in self._search(question, CANDIDATES) if h.interaction.id in self._shard_of]
        shards = [self._shard_of[h.interaction.id] for h in hits]
        found: dict[str, Route] = {}
        for judged in self._judge.judge(question, hits, [self._age[s.adapter_id] for s in shards]):
            shard, hit = shards[judged.place], hits[judged.place]
            found.setdefault(shard.adapter_id, Route.to(shard, judged.score, (hit.interaction.id,)))
        return list(found.values())
