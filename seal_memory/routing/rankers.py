"""Rankers: order search hits by how likely each is the memory that a question is about, with a score.

`CoverageRanker` follows rules; `LearnedRanker` is a logistic regression over `features`, fitted on questions with and
without a remembered answer (`python -m benchmarks routing`). Not here: searching, shards, abstaining.
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

MIN_LEAD, SAME_COVERAGE = 0.25, 0.02  # differences of coverage


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit by its index in the ranked list, and its score, 0..1, which the router compares with its threshold."""

    index: int
    score: float


class Ranker(Protocol):
    """Orders hits, best first. `ages[n]` grows with how late the shard of hit n was published."""

    def rank(self, question: str, hits: Sequence[Hit], ages: Sequence[int]) -> list[Ranked]: ...


class CoverageRanker:
    """The search's order, unless another hit covers far more of the question; the score is the coverage.

    At equal coverage the newer hit wins if it restates the other (it may be an update), else the older: a new memory
    takes a question over only when it covers more of it, so that learning does not make old memories unreachable.
    """

    def rank(self, question: str, hits: Sequence[Hit], ages: Sequence[int]) -> list[Ranked]:
        """All hits: the best first, the others in the search's order."""
        if not hits:
            return []
        shares = [coverage(question, _text(h)) for h in hits]
        best = 0
        for n in range(1, len(hits)):
            same = restates(hits[n].interaction.text, hits[best].interaction.text)
            gain, later = shares[n] - shares[best], ages[n] - ages[best]
            if gain > MIN_LEAD or (abs(gain) < SAME_COVERAGE and (later > 0 if same else later < 0)):
                best = n
        return [Ranked(n, shares[n]) for n in (best, *(n for n in range(len(hits)) if n != best))]


@dataclass(frozen=True, slots=True)
class Weights:
    """Logistic regression over `Evidence`: a weight per feature (missing ones count 0) and a bias.

    `threshold`: the probability below which to abstain; at calibration at most a tenth of the questions without a
    remembered answer scored higher.
    """

    features: Mapping[str, float]
    bias: float
    threshold: float = 0.5

    def probability(self, found: Evidence) -> float:
        """Probability that the hit answers the question, 0..1."""
        total = self.bias + sum(
            self.features.get(name, 0.0) * value for name, value in zip(FEATURES, found.values, strict=True)
        )
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total))))


@cache
def shipped_weights() -> Weights:
    """The shipped weights, for words and MiniLM's cosines (lab log, row R10)."""
    found = json.loads((files("seal_memory") / "data" / "router.json").read_text(encoding="utf-8"))
    return Weights(dict(found["features"]), float(found["bias"]), float(found["threshold"]))


class LearnedRanker:
    """Orders by probability; 0 where less than `min_coverage` of the question is covered (`rank_by_probability`).

    `index` must hold every ranked hit; `rows`: number of searchable interactions.
    """

    def __init__(self, weights: Weights, index: EmbeddingIndex, *, rows: int, min_coverage: float = 0.0) -> None:
        self._weights, self._index, self._rows, self._min_coverage = weights, index, rows, min_coverage

    def rank(self, question: str, hits: Sequence[Hit], ages: Sequence[int]) -> list[Ranked]:
        """All hits, the likeliest first."""
        cosines, rest_cosines = self._index.cosines(question, hits), self._index.rest_cosines(question, hits)
        found = evidence(question, hits, rows=self._rows, ages=ages, cosines=cosines, rest_cosines=rest_cosines)
        return rank_by_probability(self._weights, found, min_coverage=self._min_coverage)


def rank_by_probability(weights: Weights, found: Sequence[Evidence], *, min_coverage: float) -> list[Ranked]:
    """The hits by the probability of their evidence; ties in the search's order.

    The score is that probability, or 0 where less than `min_coverage` of the question is covered: a text close in
    meaning that shares hardly a word is of the same kind, but about something else (lab log, row R10).
    """
    sure = [weights.probability(e) for e in found]
    order = sorted(range(len(sure)), key=lambda n: -sure[n])
    return [Ranked(n, sure[n] if found[n].coverage >= min_coverage else 0.0) for n in order]


def _text(hit: Hit) -> str:
    return f"{hit.interaction.title or ''} {hit.interaction.text}"
