"""Embedding search: cosine similarity of texts, and its fusion with another ranking.

Vectors are computed on first use and cached in this process, by text; nothing is stored on disk, so a forget leaves
nothing there. Not here: the model (`engines.minilm`), ranking of hits (`rankers`).
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
MAX_VECTORS = 20_000  # vectors in memory: 30 MB of 384 numbers each


class Embedder(Protocol):
    """Maps texts to vectors (N, D) of length 1, deterministically."""

    def embed(self, texts: Sequence[str]) -> Vectors: ...


class CachedEmbedder:
    """An embedder with an in-memory cache of the last `keep` vectors. Threads may share it."""

    def __init__(self, embedder: Embedder, *, keep: int = MAX_VECTORS) -> None:
        self._embedder, self._keep = embedder, keep
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors (N, D) of the texts, each computed once."""
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
    """Cosines between questions and a set of interactions."""

    def __init__(self, interactions: Sequence[Interaction], embedder: Embedder) -> None:
        self._interactions = list(interactions)
        self._embedder = embedder
        self._place = {i.id: n for n, i in enumerate(self._interactions)}
        self._vectors: Vectors | None = None

    def search(self, question: str, limit: int) -> list[Hit]:
        """The nearest interactions first; a hit's score is its cosine."""
        if not self._interactions or limit < 1:
            return []
        near = self._all_cosines(question)
        order = sorted(range(len(near)), key=lambda n: (-near[n], n))[:limit]
        return [Hit(self._interactions[n], near[n]) for n in order]

    def cosines(self, question: str, hits: Sequence[Hit]) -> list[float]:
        """One cosine per hit; every hit must be in the index."""
        near = self._all_cosines(question) if hits else []
        return [near[self._place[h.interaction.id]] for h in hits]

    def rest_cosines(self, question: str, hits: Sequence[Hit]) -> list[float]:
        """One cosine per hit, computed without the names and numbers it shares with the question (`words`)."""
        query = Query.of(question)
        pairs = [without_names(query, question, h.interaction.text) for h in hits]
        if not pairs:
            return []
        vectors = self._embedder.embed([text for pair in pairs for text in pair])
        found: list[float] = (vectors[0::2] * vectors[1::2]).sum(1).tolist()
        return found

    def _all_cosines(self, question: str) -> list[float]:
        if self._vectors is None:
            self._vectors = self._embedder.embed([_text(i) for i in self._interactions])
        (vector,) = self._embedder.embed([question])
        found: list[float] = (self._vectors @ vector).tolist()
        return found


def fuse_rankings(rankings: Sequence[Sequence[Hit]], limit: int) -> list[Hit]:
    """Reciprocal rank fusion; each hit keeps its score in the first ranking, 0 where absent there."""
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
