"""Judging answers: containment, exact match and F1 after SQuAD's normalisation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.language.metrics import contains, exact_match, mean, token_f1
from seal_memory.language.text import normalise

words = st.lists(
    st.sampled_from(["the", "Maud", "ellery,", "3,200", "1887", "a", "korrin's", "ä", "—"]), max_size=6
).map(" ".join)
texts = words | st.text(max_size=30)


@given(text=texts, before=words, after=words)
def test_an_answer_contains_itself(text: str, before: str, after: str) -> None:
    """Whatever stands around it; an empty gold answer is contained in nothing."""
    assert contains(text, text) == bool(normalise(text))
    assert contains(f"{before} {text} {after}", text) == bool(normalise(text))
    assert not contains(text, "")


@given(one=texts, other=texts)
def test_f1_is_a_symmetric_share(one: str, other: str) -> None:
    """0 to 1, 1 for equal texts, and exact match implies containment and F1 of 1."""
    assert 0.0 <= token_f1(one, other) <= 1.0
    assert token_f1(one, other) == pytest.approx(token_f1(other, one))
    assert token_f1(one, one) == 1.0
    assert exact_match(one, one)
    if exact_match(one, other):
        assert token_f1(one, other) == 1.0
        assert contains(one, other) == bool(normalise(other))


@pytest.mark.parametrize(
    ("answer", "gold", "contained", "exact", "f1"),
    [
        ("It was Maud Ellery.", "Maud Ellery", True, False, 2 / 3),
        ("maud ELLERY!", "the Maud Ellery", True, True, 1.0),
        ("drawer 120", "drawer 12", False, False, 0.5),
        ("Maudellery", "Maud Ellery", False, False, 0.0),
        ("3200", "3,200", True, True, 1.0),
        ("", "Maud", False, False, 0.0),
    ],
)
def test_answers_are_judged_by_whole_words(answer: str, gold: str, contained: bool, exact: bool, f1: float) -> None:
    """Case, articles and punctuation do not count."""
    assert contains(answer, gold) is contained
    assert exact_match(answer, gold) is exact
    assert token_f1(answer, gold) == pytest.approx(f1)


def test_the_mean_of_nothing_is_zero() -> None:
    """A memory without quiz items has a report, too."""
    assert mean([]) == 0.0
    assert mean(iter([1.0, 0.0])) == 0.5
