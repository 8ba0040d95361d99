"""Closed-book grading of candidates: generation for what is known, log-probability beside it.

All candidates' quiz items go through the engine in one batch, each row with its own adapter; the base's part is
computed once (`engines.base_cache`). An answer is right when it holds the quiz's answer, which is a span of the source;
what people hand in is free text, so there the local grader may also say that it means the same. Not here: training,
choosing (`screen`), the gate's verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seal_memory import prompts
from seal_memory.engines import base_cache
from seal_memory.engines.base import Engine, Prompt, Score
from seal_memory.quizzes.grader import grade_answer
from seal_memory.quizzes.grader_forms import tokenise
from seal_memory.quizzes.metrics import contains, mean
from seal_memory.records import Grade, QuizItem

Question = tuple[QuizItem, str | None]
"""A quiz item and the adapter that is asked; None is the base."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one adapter did on some items: recall 0..1 by generation, mean answer log-probability."""

    recall: float
    logprob: float
    grades: tuple[Grade, ...]

    @property
    def reward(self) -> float:
        """See `reward`."""
        return reward(self.recall, self.logprob)


def reward(recall: float, logprob: float) -> float:
    """Recall first; log-probability (nats) only breaks ties."""
    return recall + 0.01 * logprob


def score(questions: Sequence[Question], engine: Engine) -> list[Score]:
    """The log-probability of every answer, closed book, in one batch."""
    return base_cache.score(engine, [(_prompt(q), q[0].answer) for q in questions])


def ask(questions: Sequence[Question], engine: Engine, *, max_tokens: int) -> list[bool]:
    """Whether each question is answered right, closed book, in one batch."""
    answers = base_cache.complete(engine, [_prompt(q) for q in questions], max_tokens=max_tokens)
    return [is_right(item, a.text) for (item, _), a in zip(questions, answers, strict=True)]


def is_right(item: QuizItem, answer: str) -> bool:
    """Normalised containment; of items that people handed in also what the local grader accepts."""
    if contains(answer, item.answer):
        return True
    free = item.origin == "user" and tokenise(item.answer)
    return bool(free) and grade_answer(item.question, item.answer, answer).correct


def _prompt(question: Question) -> Prompt:
    item, adapter = question
    return Prompt(prompts.direct(item.question), adapter)


def grade(
    questions: Sequence[Question],
    engine: Engine,
    *,
    max_tokens: int,
    snapshot_version: int | None,
    clock: Callable[[], float],
) -> list[Grade]:
    """Ask and score every (item, adapter id) closed book."""
    right = ask(questions, engine, max_tokens=max_tokens)
    scores = score(questions, engine)
    now = clock()
    return [
        Grade(item.id, adapter, snapshot_version, s.logprob, s.share_likely, correct, now)
        for (item, adapter), correct, s in zip(questions, right, scores, strict=True)
    ]


def summarise(grades: Sequence[Grade]) -> Result:
    """The recall and mean log-probability of some grades."""
    return Result(mean(float(bool(g.correct)) for g in grades), mean(g.logprob for g in grades), tuple(grades))
