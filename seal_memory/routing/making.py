"""The routers that ship, `answering.router`: "words" (BM25 and coverage), or "learned" (BM25 and embeddings
together, weighed by the learned judge).

Not here: the parts themselves, and what a router of your own needs (`router`).
"""

from __future__ import annotations

from collections.abc import Sequence

from seal_memory.config import AnsweringSettings
from seal_memory.ledger import Ledger
from seal_memory.records import Hit, Manifest, Status
from seal_memory.routing.embeddings import CachedEmbedder, Embedder, EmbeddingIndex, fused
from seal_memory.routing.rankers import CoverageRanker, LearnedRanker, fitted
from seal_memory.routing.router import MakeRouter, SearchFn, SearchRouter

STATUSES = (
    Status.PENDING,
    Status.LEARNED,
    Status.REFUSED,
)  # what is only recorded leads nowhere
DEEPER = 2  # times as many hits of each ranking are fused


def router_maker(settings: AnsweringSettings) -> MakeRouter:
    """The maker of the routers that the settings name. One for "learned" keeps vectors: make it once per memory.

    That one raises `ModelUnavailableError` at each router it shall make where MiniLM's wheel is not installed.
    """
    return LearnedRouters(settings) if settings.router == "learned" else WordRouters(settings)


class WordRouters:
    """Makes routers that search by words and judge by coverage."""

    def __init__(self, settings: AnsweringSettings) -> None:
        self._threshold = settings.router_threshold

    def __call__(self, manifest: Manifest, ledger: Ledger) -> SearchRouter:
        return SearchRouter(manifest, by_words(ledger), CoverageRanker(), threshold=self._threshold)


class LearnedRouters:
    """Makes routers that search by words and embeddings and judge by fitted weights. `embedder`: None for MiniLM."""

    def __init__(self, settings: AnsweringSettings, embedder: Embedder | None = None) -> None:
        self._least_coverage = settings.router_threshold
        self._embedder = None if embedder is None else CachedEmbedder(embedder)

    def __call__(self, manifest: Manifest, ledger: Ledger) -> SearchRouter:
        held = sorted(manifest.holders)
        index = index_of(held, ledger, self._embeds())
        weights = fitted()
        judge = LearnedRanker(weights, index, rows=len(held), least=self._least_coverage)
        return SearchRouter(manifest, by_both(by_words(ledger), index), judge, threshold=weights.threshold)

    def _embeds(self) -> Embedder:
        if self._embedder is None:
            from seal_memory.engines.minilm import MiniLM

            self._embedder = CachedEmbedder(MiniLM.find())
        return self._embedder


def by_words(ledger: Ledger) -> SearchFn:
    """BM25 over what may have a shard."""
    return lambda question, limit: ledger.search(question, limit=limit, statuses=STATUSES)


def by_both(words: SearchFn, index: EmbeddingIndex) -> SearchFn:
    """Both rankings, fused."""

    def search(question: str, limit: int) -> Sequence[Hit]:
        return fused([words(question, DEEPER * limit), index.search(question, DEEPER * limit)], limit)

    return search


def index_of(held: Sequence[str], ledger: Ledger, embedder: Embedder) -> EmbeddingIndex:
    """Embeddings of the interactions that shards hold."""
    interactions = ledger.interactions(ids=held) if held else []
    return EmbeddingIndex([i for i in interactions if i.status is not Status.SUPERSEDED], embedder)
