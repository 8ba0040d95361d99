"""How each way of routing ranks the shards of a world for every question; and what the learned judge is fitted on.

Words are searched once a question; the learned judges' evidence is taken once, too, and weighed later. Not here:
worlds, thresholds, figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.routing.worlds import World
from seal_memory.records import Hit
from seal_memory.routing.embeddings import Embedder, EmbeddingIndex, fused
from seal_memory.routing.features import Evidence, evidence
from seal_memory.routing.judges import Judged, Weights, by_weights
from seal_memory.routing.making import DEEPER, STANDINGS
from seal_memory.routing.router import CANDIDATES, Router

NOW, BM25 = "bm25, coverage", "bm25"
Ranking = list[tuple[str, float]]  # episodes, best first, each with its score


@dataclass(frozen=True, slots=True)
class Found:
    """One question's hits with their evidence, for a judge that is not fitted yet."""

    hits: tuple[Hit, ...]
    evidence: tuple[Evidence, ...]


class InOrder:
    """The search's own order and score."""

    def judge(self, question: str, hits: Sequence[Hit], ages: Sequence[int]) -> list[Judged]:
        return [Judged(n, h.score) for n, h in enumerate(hits)]


class Ranker:
    """All ways over one world; `embedders` by name."""

    def __init__(self, world: World, embedders: Mapping[str, Embedder]) -> None:
        self.world = world
        self.age = {s.episode_id: n for n, s in enumerate(world.manifest.shards)}
        self.shard_of = {i: s.episode_id for s in world.manifest.shards for i in s.interaction_ids}
        held = world.ledger.interactions(ids=sorted(self.shard_of))
        self.rows = len(held)
        self.indexes = {k: EmbeddingIndex(held, e, centred=k != "minilm") for k, e in embedders.items()}
        self._words: dict[str, list[Hit]] = {}

    def plain(self) -> dict[str, list[Ranking]]:
        """Every way that needs no fitting, one ranking per question."""
        found = {NOW: self._routed(self.words, None), BM25: self._routed(self.words, InOrder())}
        for name, index in self.indexes.items():
            found[name] = self._routed(index.search, InOrder())
            found[f"bm25 + {name}, coverage"] = self._routed(self._both(index), None)
        return found

    def evidence(self, embedder: str | None) -> list[Found]:
        """What a learned judge weighs, one per question."""
        index = self.indexes[embedder] if embedder is not None else None
        search = self._both(index) if index is not None else self.words
        found = []
        for asked in self.world.asked:
            hits = [h for h in search(asked.text, CANDIDATES) if h.interaction.id in self.shard_of]
            ages = [self.age[self.shard_of[h.interaction.id]] for h in hits]
            cosines = index.cosines(asked.text, hits) if index is not None else ()
            rests = index.rests(asked.text, hits) if index is not None else ()
            made = evidence(asked.text, hits, rows=self.rows, ages=ages, cosines=cosines, rests=rests)
            found.append(Found(tuple(hits), tuple(made)))
        return found

    def weighed(self, found: Sequence[Found], weights: Weights, *, least: float) -> list[Ranking]:
        """The learned judge's rankings; `least`: the coverage it wants, too."""
        rankings = []
        for one in found:
            episodes = [self.shard_of[h.interaction.id] for h in one.hits]
            judged = by_weights(weights, one.evidence, least=least)
            best: dict[str, float] = {}
            for j in judged:
                best.setdefault(episodes[j.place], j.score)
            rankings.append(list(best.items()))
        return rankings

    def words(self, question: str, limit: int) -> list[Hit]:
        """BM25, each question searched once."""
        if question not in self._words:
            deep = DEEPER * CANDIDATES
            self._words[question] = self.world.ledger.search(question, limit=deep, standings=STANDINGS)
        return self._words[question][:limit]

    def _both(self, index: EmbeddingIndex) -> Callable[[str, int], list[Hit]]:
        return lambda q, n: fused([self.words(q, DEEPER * n), index.search(q, DEEPER * n)], n)

    def _routed(self, search: Callable[[str, int], Sequence[Hit]], judge: InOrder | None) -> list[Ranking]:
        router = Router(self.world.manifest, search, threshold=0.0, judge=judge)
        return [[(str(r.episode_id), r.coverage) for r in router.ranked(a.text)] for a in self.world.asked]
