"""Choosing one candidate per episode: all are screened by log-probability, only finalists generate.

The candidates of all episodes of a wave are screened in one batch, and their finalists answer in one. Practice items
only: what is held out is left for the gate, which judges who was chosen here. Not here: training, the gate.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seal_memory.engines.base import Engine
from seal_memory.learning import grading
from seal_memory.quizzes.metrics import mean
from seal_memory.records import QuizItem


@dataclass(frozen=True, slots=True)
class Contest:
    """One episode's candidates, by adapter id, and the practice items that choose between them."""

    adapters: tuple[str, ...]
    practice: tuple[QuizItem, ...]

    @property
    def is_open(self) -> bool:
        return len(self.adapters) > 1 and bool(self.practice)


@dataclass(frozen=True, slots=True)
class Choice:
    """The adapter chosen, and the practice recall of each finalist, the screen's best first (none generated: empty)."""

    adapter: str
    recalls: tuple[float, ...] = ()

    @property
    def screen_agreed(self) -> bool | None:
        """Whether no finalist recalled more than the screen's best; None where there was none to compare with."""
        return self.recalls[0] == max(self.recalls) if self.recalls else None


def choose(contests: Sequence[Contest], engine: Engine, *, finalists: int, max_tokens: int) -> list[Choice]:
    """The finalist with the highest practice reward; the first candidate where nothing tells them apart."""
    contested = [c for c in contests if c.is_open]
    logprob = _screen(contested, engine)
    finals = [Contest(_best(c, logprob, finalists), c.practice) for c in contested]
    recall = _recall([f for f in finals if f.is_open], engine, max_tokens)
    chosen = iter(finals)
    return [_choice(next(chosen), logprob, recall) if c.is_open else Choice(c.adapters[0]) for c in contests]


def _screen(contests: Sequence[Contest], engine: Engine) -> dict[str, float]:
    """Mean log-probability of the practice answers, by adapter; a diverged candidate's is the lowest."""
    pairs = _pairs(contests)
    found = _means(pairs, (s.logprob for s in grading.score(pairs, engine)))
    return {adapter: -math.inf if math.isnan(value) else value for adapter, value in found.items()}


def _recall(contests: Sequence[Contest], engine: Engine, max_tokens: int) -> dict[str, float]:
    """Practice recall by generation, by adapter."""
    pairs = _pairs(contests)
    return _means(pairs, map(float, grading.ask(pairs, engine, max_tokens=max_tokens)))


def _best(contest: Contest, logprob: dict[str, float], count: int) -> tuple[str, ...]:
    """The `count` candidates with the likeliest answers, best first; of equals the first."""
    return tuple(sorted(contest.adapters, key=lambda a: -logprob[a])[:count])


def _choice(final: Contest, logprob: dict[str, float], recall: dict[str, float]) -> Choice:
    if not final.is_open:
        return Choice(final.adapters[0])
    best = max(final.adapters, key=lambda a: grading.reward(recall[a], logprob[a]))
    return Choice(best, tuple(recall[a] for a in final.adapters))


def _pairs(contests: Sequence[Contest]) -> list[tuple[QuizItem, str]]:
    return [(item, adapter) for c in contests for adapter in c.adapters for item in c.practice]


def _means(pairs: Sequence[tuple[QuizItem, str]], values: Iterable[float]) -> dict[str, float]:
    by_adapter: dict[str, list[float]] = defaultdict(list)
    for (_, adapter), value in zip(pairs, values, strict=True):
        by_adapter[adapter].append(value)
    return {adapter: mean(own) for adapter, own in by_adapter.items()}
