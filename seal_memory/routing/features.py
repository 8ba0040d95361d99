"""What speaks for a hit being the memory that a question is about: a few figures, all about 0..1.

`judges.LearnedJudge` weighs them. Not here: searching, embedding (a hit's cosine is handed in).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from seal_memory.records import Hit
from seal_memory.routing.words import Query, stems
from seal_memory.text import sentences


@dataclass(frozen=True, slots=True)
class Evidence:
    """One hit's figures.

    coverage  weighted share of the question's content words found in the text
    sentence  the same of its best sentence: words that meet by chance stand apart
    names     share of the question's names and numbers found; `unnamed` is 1 where it has none
    found     content words found, on a logarithmic scale
    score     BM25 over what a text with every word of the question could get at most
    lead      by how much BM25 prefers it to the best other hit, as a share; negative for the others
    size      how much may be found at all, on a logarithmic scale: chance hits grow with it
    cosine    of the embeddings, less that of the best other hit in `nearer`; both 0 where nothing embeds
    """

    coverage: float
    sentence: float
    names: float
    unnamed: float
    found: float
    score: float
    lead: float
    size: float
    cosine: float = 0.0
    nearer: float = 0.0

    @property
    def values(self) -> tuple[float, ...]:
        """In the order of `FEATURES`."""
        return astuple(self)


FEATURES = tuple(f.name for f in fields(Evidence))
EMBEDDED = ("cosine", "nearer")


def evidence(question: str, hits: Sequence[Hit], *, rows: int, cosines: Sequence[float] = ()) -> list[Evidence]:
    """The figures of every hit; `rows` is how many interactions may be found, `cosines` one per hit or none."""
    query = Query.of(question)
    most = max(1, len(query.weight)) * math.log(2 + 2 * rows)
    scores = [h.score for h in hits]
    made = []
    for n, hit in enumerate(hits):
        known = stems(f"{hit.interaction.title or ''} {hit.interaction.text}")
        shared = query.named & query.weight.keys()
        other = max((*scores[:n], *scores[n + 1 :], 0.0))
        made.append(
            Evidence(
                query.covered(known),
                max((query.covered(stems(s)) for s in sentences(hit.interaction.text)), default=0.0),
                len(shared & known) / len(shared) if shared else 0.0,
                float(not shared),
                math.log1p(len(query.weight.keys() & known)) / 2,
                hit.score / most,
                (hit.score - other) / max(hit.score, other, 1e-9),
                math.log1p(rows) / 8,
                cosines[n] if cosines else 0.0,
                cosines[n] - max((*cosines[:n], *cosines[n + 1 :]), default=0.0) if cosines else 0.0,
            )
        )
    return made
