"""The router of a manifest as the settings want it: which index searches, which judge decides, when it abstains.

Not here: the parts themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seal_memory.config import Settings
from seal_memory.errors import InputError
from seal_memory.ledger import Ledger
from seal_memory.records import Hit, Manifest, Standing
from seal_memory.routing.embeddings import Embedder, EmbeddingIndex, fused
from seal_memory.routing.judges import Judge, LearnedJudge, fitted
from seal_memory.routing.router import Router, SearchFn

STANDINGS = (Standing.PENDING, Standing.LEARNED, Standing.REFUSED)  # what is only recorded leads nowhere
DEEPER = 2  # times as many hits of each index are fused

EmbedderOf = Callable[[str], Embedder]  # by the name in `router_embedder`


def make_router(
    manifest: Manifest, ledger: Ledger, settings: Settings, *, embedders: EmbedderOf | None = None
) -> Router:
    """The router over the ledger's search.

    Raises `InputError` where the settings want embeddings and nobody handed in `embedders`.
    """
    held = [i for shard in manifest.shards for i in shard.interaction_ids]
    words = _by_words(ledger)
    index = _index(held, ledger, settings, embedders)
    judge, threshold = _judge(index, len(set(held)), settings)
    return Router(manifest, _search(words, index, settings), threshold=threshold, judge=judge)


def _judge(index: EmbeddingIndex | None, rows: int, settings: Settings) -> tuple[Judge | None, float]:
    """Who decides (None: the router's own), and below which score it abstains."""
    if settings.router_judge != "learned":
        return None, settings.router_threshold
    if settings.router_index == "embeddings":
        raise InputError("router_judge=learned weighs words too; expected router_index=bm25 or both, not embeddings")
    weights = fitted("words" if index is None else settings.router_embedder)
    threshold = weights.threshold if settings.router_confidence is None else settings.router_confidence
    least = settings.router_threshold
    if index is None:
        return LearnedJudge(weights, rows=rows, least=least), threshold
    judge = LearnedJudge(weights, rows=rows, least=least, cosines=index.cosines, rests=index.rests)
    return judge, threshold


def _by_words(ledger: Ledger) -> SearchFn:
    return lambda question, limit: ledger.search(question, limit=limit, standings=STANDINGS)


def _search(words: SearchFn, index: EmbeddingIndex | None, settings: Settings) -> SearchFn:
    if index is None:
        return words
    if settings.router_index == "embeddings":
        return index.search

    def both(question: str, limit: int) -> Sequence[Hit]:
        return fused([words(question, DEEPER * limit), index.search(question, DEEPER * limit)], limit)

    return both


def _index(
    held: Sequence[str], ledger: Ledger, settings: Settings, embedders: EmbedderOf | None
) -> EmbeddingIndex | None:
    """Over what the shards hold; None where words alone are asked for."""
    if settings.router_index == "bm25":
        return None
    if embedders is None:
        raise InputError(
            f"router_index is {settings.router_index!r}, and no embedder is at hand; expected one, or router_index=bm25"
        )
    interactions = ledger.interactions(ids=sorted(set(held))) if held else []
    known = [i for i in interactions if i.standing is not Standing.SUPERSEDED]
    kind = settings.router_embedder
    return EmbeddingIndex(known, embedders(kind), centred=kind != "minilm")
