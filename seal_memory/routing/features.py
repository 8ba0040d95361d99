"""Features of a search hit for the learned ranker: evidence that it answers a question, each about 0..1.

`rankers.LearnedRanker` weighs them. Not here: searching, embedding (a hit's cosine is passed in).
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
    """One hit's features.

    coverage  weighted share of the question's content words found in the text
    sentence  the same of its best sentence: words that meet by chance stand apart
    names     share of the question's names and numbers found; `unnamed` is 1 where it has none
    found     content words found, on a logarithmic scale
    score     BM25 relative to the maximum for a text with every word of the question
    lead      BM25 lead over the best other hit, as a share; negative for the others
    size      number of searchable interactions, on a logarithmic scale: chance hits grow with it
    older     share of its words that a newer hit about the same names repeats, the question's names left out: the
              text may be out of date
    cosine    of the embeddings; `nearer`: its lead over the best other hit; both 0 without embeddings
    rest      the cosine without the names and numbers that both share (`rest_nearer`: its lead): among ten texts about
              one person it finds the one that is asked about
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
    rest_cosines: Sequence[float] = (),
) -> list[Evidence]:
    """Features of every hit.

    `rows`: number of searchable interactions. `ages`, `cosines`, `rest_cosines`: one number per hit, or empty. An age
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
                _lead_over_others(cosines, n),
                rest_cosines[n] if rest_cosines else 0.0,
                _lead_over_others(rest_cosines, n),
            )
        )
    return made


def _outdated(said: Sequence[set[str]], named: Set[str], ages: Sequence[int]) -> list[float]:
    """Per text, the largest share of its words that a newer text about the same names repeats."""
    about, rest = [s & named for s in said], [s - named for s in said]

    def again(n: int, k: int) -> float:
        same = about[n] == about[k] and bool(about[n] or not named)
        return len(rest[n] & rest[k]) / max(1, min(len(rest[n]), len(rest[k]))) if same else 0.0

    return [max((again(n, k) for k, a in enumerate(ages) if a > age), default=0.0) for n, age in enumerate(ages)]


def _lead_over_others(values: Sequence[float], n: int) -> float:
    """The n-th value minus the best of the others; 0 without any."""
    return values[n] - max((*values[:n], *values[n + 1 :]), default=0.0) if values else 0.0
