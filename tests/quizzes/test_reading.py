"""The reading test: its questions, and what counts as right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seal_memory.language.metrics import contains
from seal_memory.quizzes.reading import MIN_SHARE, reading_questions, reading_test


def test_every_answer_stands_in_its_text_and_not_in_its_question() -> None:
    for text, question, answer in reading_questions():
        assert contains(text, answer), answer
        assert not contains(question, answer), question
    assert len({q for _, q, _ in reading_questions()}) == len(reading_questions()) >= 24


@pytest.mark.parametrize("share", [0.0, MIN_SHARE - 0.05, MIN_SHARE, 1.0])
def test_the_share_is_that_of_right_answers(fake_engine: Callable[..., Any], share: float) -> None:
    """The text is in the prompt."""
    asked = reading_questions()
    known = {f"{text}\n{question}": answer for text, question, answer in asked[: round(len(asked) * share)]}
    result = reading_test(fake_engine(lambda p: known.get(p.messages[-1]["content"], "")))
    assert (result.share, result.questions) == (len(known) / len(asked), len(asked))
