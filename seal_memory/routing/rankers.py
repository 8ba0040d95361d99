"""Judges: which of the hits is the memory that a question is about, and how sure that is.

`CoverageRanker` follows rules, `LearnedRanker` a logistic regression over `features`, fitted on questions about
something and about nothing remembered (`python -m benchmarks routing`). Not here: searching, shards, abstaining.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Protocol

from seal_memory.records import Hit
from seal_memory.routing.embeddings import EmbeddingIndex
from seal_memory.routing.features import FEATURES, Evidence, evidence
from seal_memory.routing.words import coverage, restates

FAR_MORE, EQUAL = 0.25, 0.02  # differences of coverage


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit by its place in what was judged, and its score, 0..1: what the router's threshold is held against."""

    place: int
    score: float


class Ranker(Protocol):
    """Puts hits in order. `ages[n]` grows with how late the shard of hit n was published."""

    def judge(self, question: str, hits: Sequence[Hit], ages: Sequence[int]) -> list[Ranked]: ...


class CoverageRanker:
    """The search's order, overruled where another hit covers far more of the question; the score is the coverage.

    Where two cover it alike, the newer wins if it says the same thing again (then it tells what became of it), else
    the older: what is new takes a question over only when it says more about it, so that learning does not make the
    old unreachable.
    """

    def judge(self, question: str, hits: Sequence[Hit], ages: Sequence[int]) -> list[Ranked]:
        """All hits, the best first, the others in the search's order."""
        if not hits:
            return []
        shares = [coverage(question, _text(h)) for h in hits]
        best = 0
        for n in range(1, len(hits)):
            same = restates(hits[n].interaction.text, hits[best].interaction.text)
            gain, later = shares[n] - shares[best], ages[n] - ages[best]
            if gain > FAR_MORE or (abs(gain) < EQUAL and (later > 0 if same else later < 0)):
                best = n
        return [Ranked(n, shares[n]) for n in (best, *(n for n in range(len(hits)) if n != best))]


@dataclass(frozen=True, slots=True)
class Weights:
    """A logistic regression over `Evidence`: a weight per feature (others count nothing) and a bias.

    `threshold`: the probability below which to abstain, of which at most a tenth of the questions about nothing in
    the calibration got more.
    """

    features: Mapping[str, float]
    bias: float
    threshold: float = 0.5

    def probability(self, found: Evidence) -> float:
        """That the hit answers the question, 0..1."""
        total = self.bias + sum(
            self.features.get(name, 0.0) * value for name, value in zip(FEATURES, found.values, strict=True)
        )
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total))))


@cache
def fitted() -> Weights:
    """The weights that ship, for words and MiniLM's cosines (lab log, row R10)."""
    found = json.loads((files("seal_memory") / "data" / "router.json").read_text(encoding="utf-8"))
    return Weights(dict(found["features"]), float(found["bias"]), float(found["threshold"]))


class LearnedRanker:
    """Orders by probability, which is 0 where less than `least` of the question is covered; see `by_weights`.

    `index` must hold every hit that is judged; `rows` is how many interactions may be found.
    """

    def __init__(self, weights: Weights, index: EmbeddingIndex, *, rows: int, least: float = 0.0) -> None:
        self._weights, self._index, self._rows, self._least = weights, index, rows, least

    def judge(self, question: str, hits: Sequence[Hit], ages: Sequence[int]) -> list[Ranked]:
        """All hits, the likeliest first."""
        cosines, rests = self._index.cosines(question, hits), self._index.rests(question, hits)
        found = evidence(question, hits, rows=self._rows, ages=ages, cosines=cosines, rests=rests)
        return by_weights(self._weights, found, least=self._least)


def by_weights(weights: Weights, found: Sequence[Evidence], *, least: float) -> list[Ranked]:
    """The hits by the probability of their evidence; of equal ones in the search's order.

    The score is that probability, or 0 where less than `least` of the question is covered: what is near in meaning and
    shares hardly a word is a text of the same kind, about something else (lab log, row R10).
    """
    sure = [weights.probability(e) for e in found]
    order = sorted(range(len(sure)), key=lambda n: -sure[n])
    return [Ranked(n, sure[n] if found[n].coverage >= least else 0.0) for n in order]


def _text(hit: Hit) -> str:
    return f"{hit.interaction.title or ''} {hit.interaction.text}"
