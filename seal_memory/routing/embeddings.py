"""Searching by meaning: cosine over text embeddings, and its fusion with another ranking.

Vectors are computed when first needed and kept in this process, by text: nothing about them is stored, so a forget
leaves none on disk. Not here: the models (`engines.embedders`, `engines.minilm`), what is done with hits (`judges`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from seal_memory.records import Hit, Interaction
from seal_memory.routing.words import Query, without_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

LEAST_CENTRED = 16  # texts
RANK_OFFSET = 60  # of reciprocal rank fusion (Cormack et al., 2009)


class Embedder(Protocol):
    """Texts to vectors (N, D) of length 1; the same text, the same vector."""

    def embed(self, texts: Sequence[str]) -> Vectors: ...


class EmbeddingIndex:
    """Cosines between questions and some interactions."""

    def __init__(self, interactions: Sequence[Interaction], embedder: Embedder, *, centred: bool = False) -> None:
        """`centred`: take the texts' mean off, for embeddings that lie in a narrow cone."""
        self._centred = centred
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
            vectors = self._embedder.embed([_text(i) for i in self._interactions])
            # what all texts have in common tells none of them apart; a few texts have too much else in common
            self._centre = vectors.mean(0) if self._centred and len(vectors) >= LEAST_CENTRED else 0.0 * vectors[0]
            self._vectors = _unit(vectors - self._centre)
        (asked,) = _unit(self._embedder.embed([question]) - self._centre)
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


def _unit(vectors: Vectors) -> Vectors:
    """Each of length 1, or zero."""
    lengths = (vectors * vectors).sum(1, keepdims=True) ** 0.5
    found: Vectors = vectors / (lengths + 1e-12)
    return found


def _text(interaction: Interaction) -> str:
    return f"{interaction.title}: {interaction.text}" if interaction.title else interaction.text
