"""Router: chooses for each question the shard that should answer, or none.

`SearchRouter` searches the ledger and puts no text in any prompt. A ranker (`rankers`) orders the hits of a search
(`builtin`); below the threshold the router abstains to the core or the untouched base.

A router of your own is a class that takes a manifest and its ledger and has `route`:

    from seal_memory import Route, SealMemory
    from seal_memory.ledger import Ledger
    from seal_memory.records import Manifest
    from seal_memory.routing.words import coverage

    class Mine:
        def __init__(self, manifest: Manifest, ledger: Ledger) -> None:
            self.manifest, self.ledger = manifest, ledger

        def route(self, question: str) -> Route:
            for hit in self.ledger.search(question, limit=3):  # BM25, best first
                shard = self.manifest.holders.get(hit.interaction.id)
                if shard and coverage(question, hit.interaction.text) >= 0.5:  # of the question's words
                    return Route.to(shard, 1.0, (hit.interaction.id,))
            return Route.abstain(self.manifest)

    SealMemory.open("memory", router=Mine)

One is made for every manifest: the published one, and at the gate the one to be published. The same question must get
the same route. A router that sends over half of everyday prompts to a shard gets every publication refused.
Not here: searching, ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from seal_memory.ledger import Ledger
from seal_memory.records import Hit, Manifest, ShardEntry
from seal_memory.routing.rankers import Ranker

SearchFn = Callable[[str, int], Sequence[Hit]]
CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Route:
    """Destination of a question. `adapter_id` None: the untouched base; `episode_id` None: no shard.

    `score`: the router's confidence in the shard, 0..1. `interaction_ids`: the evidence for it, named as an answer's
    sources.
    """

    adapter_id: str | None = None
    episode_id: str | None = None
    score: float = 0.0
    interaction_ids: tuple[str, ...] = ()
    is_core: bool = False

    @classmethod
    def to(cls, shard: ShardEntry, score: float = 1.0, interaction_ids: Sequence[str] | None = None) -> Route:
        """Route to a shard, on the evidence of these interactions; None: all that it holds."""
        found = shard.interaction_ids if interaction_ids is None else tuple(interaction_ids)
        return cls(shard.adapter_id, shard.episode_id, score, found)

    @classmethod
    def abstain(cls, manifest: Manifest, score: float = 0.0) -> Route:
        """Route to no shard: to the manifest's core, or the base where it has none."""
        return cls(manifest.core, None, score, is_core=manifest.core is not None)


class Router(Protocol):
    """Routes questions over one manifest."""

    def route(self, question: str) -> Route: ...


@runtime_checkable
class SeveralRouter(Protocol):
    """A router that can also name the best few shards of a question, best first."""

    def routes(self, question: str, limit: int) -> list[Route]: ...


def routes_of(router: Router, question: str, *, limit: int) -> list[Route]:
    """At most `limit` routes of a question, best first; the one of `route` where the router names no several."""
    if limit > 1 and isinstance(router, SeveralRouter):
        return router.routes(question, limit)
    return [router.route(question)]


class LoadableRouter:
    """A router that abstains to the base where the adapter it would choose cannot be loaded.

    `loads(adapter_id)` is asked before anything is generated, so that a damaged file ends no answer, and in a shared
    batch nobody else's.
    """

    def __init__(self, router: Router, loads: Callable[[str], bool]) -> None:
        self._router, self._loads = router, loads

    def route(self, question: str) -> Route:
        return self._loadable(self._router.route(question))

    def routes(self, question: str, limit: int) -> list[Route]:
        """The routes whose adapters can be loaded; one to the base where none can."""
        found = [self._loadable(r) for r in routes_of(self._router, question, limit=limit)]
        return [r for r in found if r.adapter_id is not None] or found[:1]

    def _loadable(self, found: Route) -> Route:
        return found if found.adapter_id is None or self._loads(found.adapter_id) else Route()


MakeRouter = Callable[[Manifest, Ledger], Router]


class SearchRouter:
    """Routes by a search and a ranker. `search(question, limit)` returns interactions, best first."""

    def __init__(self, manifest: Manifest, search: SearchFn, ranker: Ranker, *, threshold: float) -> None:
        self._manifest, self._search, self._ranker, self._threshold = manifest, search, ranker, threshold
        self._age: dict[str, int] = {s.adapter_id: n for n, s in enumerate(manifest.shards)}
        # a later shard wins where two hold the same interaction
        self._shard_of = manifest.holders

    def route(self, question: str) -> Route:
        """The best shard for a question, else the core, else the base."""
        found = self.ranked(question)
        if found and found[0].score >= self._threshold:
            return found[0]
        return Route.abstain(self._manifest, found[0].score if found else 0.0)

    def routes(self, question: str, limit: int) -> list[Route]:
        """The shards that reach the threshold, best first; where none does, the core or the base."""
        found = self.ranked(question)
        sure = [r for r in found if r.score >= self._threshold][:limit]
        return sure or [Route.abstain(self._manifest, found[0].score if found else 0.0)]

    def ranked(self, question: str) -> list[Route]:
        """Every shard among the hits, best first, each by its best hit, regardless of the threshold."""
        hits = [h for h in self._search(question, CANDIDATES) if h.interaction.id in self._shard_of]
        shards = [self._shard_of[h.interaction.id] for h in hits]
        found: dict[str, Route] = {}
        for ranked in self._ranker.rank(question, hits, [self._age[s.adapter_id] for s in shards]):
            shard, hit = shards[ranked.index], hits[ranked.index]
            found.setdefault(shard.adapter_id, Route.to(shard, ranked.score, (hit.interaction.id,)))
        return list(found.values())
