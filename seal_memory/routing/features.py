"""What speaks for a hit being the memory that a question is about: a few figures, all about 0..1.

`judges.LearnedJudge` weighs them. Not here: searching, embedding (a hit's cosine is handed in).
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import astuple, dataclass, fields

from seal_memory.language.text import sentences
from seal_memory.records import Hit
from seal_memory.routing.words import Query, stems


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
    older     share of the words that a newer hit about the same names says again, the question's names left out: it
              may tell what was
    cosine    of the embeddings, less that of the best other hit in `nearer`; both 0 where there are none
    rest      the same without the names and numbers that both have (`rest_nearer` against the others): of ten texts
              about somebody it tells the one about what is asked
    """

    coverage: float
    sentence: float
    names: float
    unnamed: float
    found: float
    score: float
    lead: float
    size: float
    older: float = 0.0
    cosine: float = 0.0
    nearer: float = 0.0
    rest: float = 0.0
    rest_nearer: float = 0.0

    @property
    def values(self) -> tuple[float, ...]:
        """In the order of `FEATURES`."""
        return astuple(self)


FEATURES = tuple(f.name for f in fields(Evidence))


def evidence(
    question: str,
    hits: Sequence[Hit],
    *,
    rows: int,
    ages: Sequence[int] = (),
    cosines: Sequence[float] = (),
    rests: Sequence[float] = (),
) -> list[Evidence]:
    """The figures of every hit.

    `rows` is how many interactions may be found; `ages`, `cosines` and `rests` have one figure per hit or none. An age
    grows with how late a hit's shard was published.
    """
    query = Query.of(question)
    most = max(1, len(query.weight)) * math.log(2 + 2 * rows)
    scores = [h.score for h in hits]
    said = [stems(h.interaction.text) for h in hits]
    outdated = _outdated(said, query.named, ages)
    made = []
    for n, hit in enumerate(hits):
        known = stems(hit.interaction.title or "") | said[n]
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
                outdated[n] if ages else 0.0,
                cosines[n] if cosines else 0.0,
                _ahead(cosines, n),
                rests[n] if rests else 0.0,
                _ahead(rests, n),
            )
        )
    return made


def _outdated(said: Sequence[set[str]], named: Set[str], ages: Sequence[int]) -> list[float]:
    """Per text the largest share of words that one of the newer texts about the same of the names has, too."""
    about, rest = [s & named for s in said], [s - named for s in said]

    def again(n: int, k: int) -> float:
        same = about[n] == about[k] and bool(about[n] or not named)
        return len(rest[n] & rest[k]) / max(1, min(len(rest[n]), len(rest[k]))) if same else 0.0

    return [max((again(n, k) for k, a in enumerate(ages) if a > age), default=0.0) for n, age in enumerate(ages)]


def _ahead(values: Sequence[float], n: int) -> float:
    """By how much the n-th is more than the best of the others; 0 where there are none."""
    return values[n] - max((*values[:n], *values[n + 1 :]), default=0.0) if values else 0.0
