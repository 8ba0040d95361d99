"""Grading: one grade per question, in order; the base's part is computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from seal_memory import prompts
from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.base import Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.language.metrics import contains
from seal_memory.learning import grading
from seal_memory.learning.grading import Question
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.quizzes.generator import filter_answerable
from seal_memory.records import QuizItem

ITEMS = [
    QuizItem("q0", ("i0",), "Who built the lighthouse at Korrin Bay?", "Maud Ellery", True),
    QuizItem("q1", ("i0",), "When was it built?", "1887", True),
    QuizItem("q2", ("i1",), "Where is the quarterly report kept?", "drawer 12", True),
]
QUESTIONS: list[Question] = [(item, adapter) for item in ITEMS for adapter in (None, "a")]


def _grade(engine: Any) -> list[Any]:
    return grading.grade(QUESTIONS, engine, max_tokens=4, snapshot_version=3, clock=lambda: 7.0)


def test_a_grade_is_what_the_engine_says_row_by_row(
    load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter]
) -> None:
    """Cached or not, split into batches or not: the rows that the ledger gets are the same."""
    engine = TransformersEngine(load_tiny())
    engine.put("a", random_adapter(engine.stack, 2, LLAMA_LINEAR, 1))
    asked = [Prompt(prompts.direct(item.question), adapter) for item, adapter in QUESTIONS]
    answers = engine.complete(asked, max_tokens=4)
    scores = engine.score([(p, item.answer) for p, (item, _) in zip(asked, QUESTIONS, strict=True)])
    first, again = _grade(engine), _grade(engine)
    assert first == again
    for grade, (item, adapter), answer, score in zip(first, QUESTIONS, answers, scores, strict=True):
        assert (grade.quiz_item_id, grade.adapter_id) == (item.id, adapter)
        assert (grade.snapshot_version, grade.time) == (3, 7.0)
        assert grade.correct == contains(answer.text, item.answer)
        assert grade.share_likely == score.share_likely
        assert grade.logprob == pytest.approx(score.logprob, abs=1e-5)


def test_the_quiz_gate_has_scored_the_base_already(fake_engine: Callable[..., Any]) -> None:
    """What it measured closed book is what grading reads; only the shard's rows are scored then."""
    scored: list[tuple[str, str | None]] = []

    def likely(prompt: Prompt, target: str) -> float:
        scored.append((prompt.messages[-1]["content"], prompt.adapter))
        return -5.0 if prompt.messages == prompts.direct(prompt.messages[-1]["content"]) else -1.0

    engine = fake_engine(likely=likely)
    filter_answerable(ITEMS, ["the text"] * 3, engine)
    assert [adapter for _, adapter in scored] == [None] * 6
    scored.clear()
    grades = _grade(engine)
    assert scored == [(item.question, "a") for item in ITEMS]
    assert [g.logprob for g in grades] == [-5.0] * 6


def test_what_people_hand_in_may_be_answered_in_other_words() -> None:
    """The local grader reads numbers and dates; a generated item's answer is a span that has to be there."""
    told = "It was finished in three years."
    theirs = QuizItem("u", (), "How long did it take?", "3 years", True, origin="user")
    assert grading.is_right(theirs, told)
    assert not grading.is_right(replace(theirs, origin="generated"), told)
    assert not grading.is_right(theirs, "It took five years.")
    assert not grading.is_right(replace(theirs, answer="+"), told)  # nothing to compare with


def test_correct_is_containment(fake_engine: Callable[..., Any]) -> None:
    """An answer that contains the quiz's counts."""
    engine = fake_engine(say=lambda p: "It was Maud Ellery, in 1887." if p.adapter else "Nobody knows.")
    grades = _grade(engine)
    base, shard = grading.summarise(grades[0::2]), grading.summarise(grades[1::2])
    assert base.recall == 0.0
    assert shard.recall == pytest.approx(2 / 3)
    assert (grading.summarise([]).recall, grading.summarise([]).logprob) == (0.0, 0.0)
