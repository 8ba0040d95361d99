"""Searching by meaning: cosine over text embeddings, and its fusion with another ranking.

Vectors are computed when first needed and kept in this process, by text: nothing about them is stored, so a forget
leaves none on disk. Not here: the model (`engines.minilm`), what is done with hits (`judges`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from seal_memory.records import Hit, Interaction
from seal_memory.routing.words import Query, without_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

RANK_OFFSET = 60  # of reciprocal rank fusion (Cormack et al., 2009)
KEPT = 20_000  # vectors in memory: 30 MB of 384 numbers each


class Embedder(Protocol):
    """Texts to vectors (N, D) of length 1; the same text, the same vector."""

    def embed(self, texts: Sequence[str]) -> Vectors: ...


class CachedEmbedder:
    """An embedder that keeps the vectors of the texts it saw last; in this process only. Threads may share it."""

    def __init__(self, embedder: Embedder, *, keep: int = KEPT) -> None:
        self._embedder, self._keep = embedder, keep
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors (N, D) of the texts, each computed once."""
        import numpy as np

        with self._lock:
            new = [t for t in dict.fromkeys(texts) if t not in self._known]
            made = dict(zip(new, self._embedder.embed(new), strict=True)) if new else {}
            found = [made[t] if t in made else self._known[t] for t in texts]
            self._known.update(made)
            while len(self._known) > self._keep:
                self._known.popitem(last=False)
        return np.stack(found) if found else np.zeros((0, 1), np.float32)


class EmbeddingIndex:
    """Cosines between questions and some interactions."""

    def __init__(self, interactions: Sequence[Interaction], embedder: Embedder) -> None:
        self._interactions = list(interactions)
        self._embedder = embedder
        self._place = {i.id: n for n, i in enumerate(self._interactions)}
        self._vectors: Vectors | None = None

    def search(self, question: str, limit: int) -> list[Hit]:
        """The nearest interactions, the nearest first; a hit's score is its cosine."""
        if not self._interactions or limit < 1:
            return []
        near = self._all(question)
        order = sorted(range(len(near)), key=lambda n: (-near[n], n))[:limit]
        return [Hit(self._interactions[n], near[n]) for n in order]

    def cosines(self, question: str, hits: Sequence[Hit]) -> list[float]:
        """One per hit, which must be among the index's interactions."""
        near = self._all(question) if hits else []
        return [near[self._place[h.interaction.id]] for h in hits]

    def rests(self, question: str, hits: Sequence[Hit]) -> list[float]:
        """One cosine per hit, without the names and numbers that it shares with the question (`words`)."""
        query = Query.of(question)
        pairs = [without_names(query, question, h.interaction.text) for h in hits]
        if not pairs:
            return []
        vectors = self._embedder.embed([text for pair in pairs for text in pair])
        found: list[float] = (vectors[0::2] * vectors[1::2]).sum(1).tolist()
        return found

    def _all(self, question: str) -> list[float]:
        if self._vectors is None:
            self._vectors = self._embedder.embed([_text(i) for i in self._interactions])
        (asked,) = self._embedder.embed([question])
        found: list[float] = (self._vectors @ asked).tolist()
        return found


def fused(rankings: Sequence[Sequence[Hit]], limit: int) -> list[Hit]:
    """Reciprocal rank fusion; each hit keeps the score of the first ranking, 0 where that has it not."""
    points: dict[str, float] = {}
    hits: dict[str, Hit] = {}
    for number, ranking in enumerate(rankings):
        for rank, hit in enumerate(ranking):
            id = hit.interaction.id
            points[id] = points.get(id, 0.0) + 1.0 / (RANK_OFFSET + rank)
            hits.setdefault(id, hit if number == 0 else Hit(hit.interaction, 0.0))
    return [hits[id] for id in sorted(points, key=lambda id: -points[id])[:limit]]


def _text(interaction: Interaction) -> str:
    return f"{interaction.title}: {interaction.text}" if interaction.title else interaction.text
