"""Closed-book grading of candidates: generation for what is known, log-probability beside it.

All candidates' quiz items go through the engine in one batch, each row with its own adapter. Not here: training,
the gate's verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seal_memory import prompts
from seal_memory.engines.base import Engine, Prompt
from seal_memory.quizzes.grading import contains, mean
from seal_memory.records import Grade, QuizItem


@dataclass(frozen=True, slots=True)
class Result:
    """How one adapter did on some items: recall 0..1 by generation, mean answer log-probability."""

    recall: float
    logprob: float
    grades: tuple[Grade, ...]

    @property
    def reward(self) -> float:
        """Recall first; log-probability (nats) only breaks ties."""
        return self.recall + 0.01 * self.logprob


def grade(
    questions: Sequence[tuple[QuizItem, str | None]],
    engine: Engine,
    *,
    max_tokens: int,
    snapshot_version: int | None,
    clock: Callable[[], float],
) -> list[Grade]:
    """Ask every (item, adapter id) closed book; `correct` is normalised containment of the answer."""
    asked = [Prompt(prompts.direct(item.question), adapter) for item, adapter in questions]
    answers = engine.complete(asked, max_tokens=max_tokens)
    scores = engine.score([(p, item.answer) for p, (item, _) in zip(asked, questions, strict=True)])
    now = clock()
    return [
        Grade(item.id, adapter, snapshot_version, s.logprob, s.share_likely, contains(a.text, item.answer), now)
        for (item, adapter), a, s in zip(questions, answers, scores, strict=True)
    ]


def summarise(grades: Sequence[Grade]) -> Result:
    """The recall and mean log-probability of some grades."""
    return Result(mean(float(bool(g.correct)) for g in grades), mean(g.logprob for g in grades), tuple(grades))
