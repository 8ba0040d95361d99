"""Rankings of a world's shards by each router for every question, and the evidence to fit the learned router on.

The search by words and the learned router's evidence are computed once per question. Not here: worlds, thresholds,
figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.routing.worlds import World
from seal_memory.records import Hit
from seal_memory.routing.builtin import OVERSAMPLING, STATUSES, build_index, hybrid_search
from seal_memory.routing.embeddings import Embedder
from seal_memory.routing.features import Evidence, evidence
from seal_memory.routing.rankers import CoverageRanker, Weights, rank_by_probability
from seal_memory.routing.router import CANDIDATES, SearchRouter

WORDS, LEARNED = "words", "learned"  # as the setting `router` calls them
Ranking = list[tuple[str, float]]  # episodes, best first, each with its score


@dataclass(frozen=True, slots=True)
class QuestionEvidence:
    """One question's hits with their evidence, for fitting."""

    hits: tuple[Hit, ...]
    evidence: tuple[Evidence, ...]


class Ranker:
    """Both routers over one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.age = {s.episode_id: n for n, s in enumerate(world.manifest.shards)}
        self.shard_of = {i: s.episode_id for s in world.manifest.shards for i in s.interaction_ids}
        self._words: dict[str, list[Hit]] = {}

    def by_words(self) -> list[Ranking]:
        """The router "words", which needs no fitting: one ranking per question."""
        router = SearchRouter(self.world.manifest, self.words, CoverageRanker(), threshold=0.0)
        return [[(str(r.episode_id), r.score) for r in router.ranked(a.text)] for a in self.world.asked]

    def evidence(self, embedder: Embedder) -> list[QuestionEvidence]:
        """The learned router's evidence, one per question."""
        held = sorted(self.shard_of)
        index = build_index(held, self.world.ledger, embedder)
        search = hybrid_search(self.words, index)
        found = []
        for asked in self.world.asked:
            hits = [h for h in search(asked.text, CANDIDATES) if h.interaction.id in self.shard_of]
            ages = [self.age[self.shard_of[h.interaction.id]] for h in hits]
            cosines, rest_cosines = index.cosines(asked.text, hits), index.rest_cosines(asked.text, hits)
            made = evidence(asked.text, hits, rows=len(held), ages=ages, cosines=cosines, rest_cosines=rest_cosines)
            found.append(QuestionEvidence(tuple(hits), tuple(made)))
        return found

    def rank_with(self, found: Sequence[QuestionEvidence], weights: Weights, *, least: float) -> list[Ranking]:
        """The learned router's rankings; `least`: its threshold of coverage."""
        rankings = []
        for one in found:
            episodes = [self.shard_of[h.interaction.id] for h in one.hits]
            judged = rank_by_probability(weights, one.evidence, min_coverage=least)
            best: dict[str, float] = {}
            for j in judged:
                best.setdefault(episodes[j.index], j.score)
            rankings.append(list(best.items()))
        return rankings

    def words(self, question: str, limit: int) -> list[Hit]:
        """BM25, each question searched once."""
        if question not in self._words:
            deep = OVERSAMPLING * CANDIDATES
            self._words[question] = self.world.ledger.search(question, limit=deep, statuses=STATUSES)
        return self._words[question][:limit]
