"""Closed-book grading of adapters: recall by generation, and log-probability of the answers.

All quiz items go through the engine in one batch, each row with its own adapter; the base's part is computed once
(`engines.base_cache`). An answer is right when it contains the quiz's answer, which is a span of the source. Answers of
users' own items are free text, so for those the local grader may also find it equivalent. Not here: training, the
gate's verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seal_memory import prompts
from seal_memory.engines import base_cache
from seal_memory.engines.base import Engine, Prompt, Score
from seal_memory.language.metrics import contains, mean
from seal_memory.quizzes.grader import grade_answer
from seal_memory.quizzes.grader_forms import tokenise
from seal_memory.records import Grade, QuizItem

Question = tuple[QuizItem, str | None]
"""A quiz item and the adapter to ask; None is the base."""


@dataclass(frozen=True, slots=True)
class Result:
    """One adapter's grades: recall 0..1 by generation, mean answer log-probability in nats a token."""

    recall: float
    logprob: float
    grades: tuple[Grade, ...]


def score(questions: Sequence[Question], engine: Engine) -> list[Score]:
    """The log-probability of every answer, closed book, in one batch."""
    return base_cache.score(engine, [(_prompt(q), q[0].answer) for q in questions])


def ask(questions: Sequence[Question], engine: Engine, *, max_tokens: int) -> list[bool]:
    """Whether each question is answered right, closed book, in one batch."""
    answers = base_cache.complete(engine, [_prompt(q) for q in questions], max_tokens=max_tokens)
    return [is_right(item, a.text) for (item, _), a in zip(questions, answers, strict=True)]


def is_right(item: QuizItem, answer: str) -> bool:
    """True when the answer contains the item's, normalised; for users' items also when the local grader accepts it."""
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
