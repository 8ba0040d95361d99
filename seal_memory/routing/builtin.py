"""Built-in routers of the setting `answering.router`.

"words" searches by BM25 and ranks by coverage; "learned" searches by BM25 and embeddings and ranks by fitted weights.
Not here: their parts, and the protocol for routers of your own (`router`).
"""

from __future__ import annotations

from collections.abc import Sequence

from seal_memory.config import AnsweringSettings
from seal_memory.ledger import Ledger
from seal_memory.records import Hit, Manifest, Status
from seal_memory.routing.embeddings import CachedEmbedder, Embedder, EmbeddingIndex, fuse_rankings
from seal_memory.routing.rankers import CoverageRanker, LearnedRanker, shipped_weights
from seal_memory.routing.router import MakeRouter, SearchFn, SearchRouter

STATUSES = (Status.PENDING, Status.LEARNED, Status.REFUSED)  # others have no shard
OVERSAMPLING = 2  # each ranking gives this many times the hits wanted


def router_maker(settings: AnsweringSettings) -> MakeRouter:
    """Maker of the routers that the settings name. "learned" caches vectors: make one maker per memory.

    Its calls raise `ModelUnavailableError` where MiniLM's wheel is not installed.
    """
    return LearnedRouterMaker(settings) if settings.router == "learned" else WordRouterMaker(settings)


class WordRouterMaker:
    """Makes routers that search by BM25 and rank by coverage."""

    def __init__(self, settings: AnsweringSettings) -> None:
        self._threshold = settings.router_threshold

    def __call__(self, manifest: Manifest, ledger: Ledger) -> SearchRouter:
        return SearchRouter(manifest, bm25_search(ledger), CoverageRanker(), threshold=self._threshold)


class LearnedRouterMaker:
    """Makes routers that search by BM25 and embeddings and rank by fitted weights. `embedder` None: MiniLM."""

    def __init__(self, settings: AnsweringSettings, embedder: Embedder | None = None) -> None:
        self._min_coverage = settings.router_threshold
        self._embedder = None if embedder is None else CachedEmbedder(embedder)

    def __call__(self, manifest: Manifest, ledger: Ledger) -> SearchRouter:
        held = sorted(manifest.holders)
        index = build_index(held, ledger, self._get_embedder())
        weights = shipped_weights()
        ranker = LearnedRanker(weights, index, rows=len(held), min_coverage=self._min_coverage)
        return SearchRouter(manifest, hybrid_search(bm25_search(ledger), index), ranker, threshold=weights.threshold)

    def _get_embedder(self) -> Embedder:
        if self._embedder is None:
            from seal_memory.engines.minilm import MiniLM

            self._embedder = CachedEmbedder(MiniLM.find())
        return self._embedder


def bm25_search(ledger: Ledger) -> SearchFn:
    """BM25 over interactions that may have a shard."""
    return lambda question, limit: ledger.search(question, limit=limit, statuses=STATUSES)


def hybrid_search(words: SearchFn, index: EmbeddingIndex) -> SearchFn:
    """BM25 and embedding rankings, fused."""

    def search(question: str, limit: int) -> Sequence[Hit]:
        return fuse_rankings(
            [words(question, OVERSAMPLING * limit), index.search(question, OVERSAMPLING * limit)], limit
        )

    return search


def build_index(held: Sequence[str], ledger: Ledger, embedder: Embedder) -> EmbeddingIndex:
    """Embedding index of the interactions that shards hold."""
    interactions = ledger.interactions(ids=held) if held else []
    return EmbeddingIndex([i for i in interactions if i.status is not Status.SUPERSEDED], embedder)
