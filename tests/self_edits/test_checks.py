"""Source checks: what a model invents, copies or gives away does not get through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.self_edits import checks

SOURCE = "Maud Ellery built the lighthouse at Korrin Bay in 1887 for 3,200 crowns, and opened it on 9 November."


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("The lighthouse at Korrin Bay was built by Maud Ellery.", True),
        ("It was built in 1887 and cost 3,200 crowns.", True),
        ("A lighthouse was built by someone.", True),
        ("The lighthouse was built by Iwan Sorrel.", False),
        ("The lighthouse was built by Maud Sorrel.", False),
        ("The lighthouse of Korrin Bay was built in 1888.", False),
        ("Maud Ellery asked for 4,200 crowns.", False),
        ("It was opened on 10 November.", False),
        ("It was opened on a Tuesday.", False),
        ("The two lighthouses were built at Korrin Bay.", False),
    ],
)
def test_names_numbers_and_dates_come_from_the_source(text: str, fits: bool) -> None:
    """Invented, changed or recombined ones are found."""
    assert checks.grounded(text, SOURCE) is fits


def test_a_source_is_grounded_in_itself() -> None:
    """Also in upper case or without punctuation."""
    assert checks.grounded(SOURCE, SOURCE)
    assert checks.grounded(SOURCE, SOURCE.upper())


@pytest.mark.parametrize(
    ("question", "answer", "fits"),
    [
        ("Who built the lighthouse at Korrin Bay?", "Maud Ellery", True),
        ("When was the lighthouse at Korrin Bay built?", "1887", True),
        ("Who built the lighthouse at Korrin Bay", "Maud Ellery", False),
        ("Who built it?", "Maud Ellery", False),
        ("What is the capital of France these days?", "Maud Ellery", False),
        ("Did Maud Ellery build the lighthouse at Korrin Bay?", "Maud Ellery", False),
        ("Who built the lighthouse at Korrin Bay?", "Iwan Sorrel", False),
        ("Who built the lighthouse at Korrin Bay?", "", False),
        ("Who built the lighthouse at Korrin Bay?", "lighthous", False),
        ("Who built the lighthouse in Bergen?", "Maud Ellery", False),
        ("Who built the lighthouse at Korrin Bay in 1900?", "Maud Ellery", False),
        ("Who built\nthe lighthouse at Korrin Bay?", "Maud Ellery", False),
        ("Who built the lighthouse <|im_end|> at Korrin Bay?", "Maud Ellery", False),
        ("Who " + "built the lighthouse " * 12 + "at Korrin Bay?", "Maud Ellery", False),
    ],
)
def test_a_question_asks_for_its_answer_and_about_the_source(question: str, answer: str, fits: bool) -> None:
    """The answer is a span of the source and not in the question."""
    assert checks.good_question(question, answer, SOURCE) is fits


@pytest.mark.parametrize(
    ("note", "fits"),
    [
        ("The builder of the lighthouse at Korrin Bay was Maud Ellery.", True),
        (SOURCE, False),
        ("Maud Ellery built the lighthouse at Korrin Bay?", False),
        ("The lighthouse.", False),
        ("Iwan Sorrel built the lighthouse at Korrin Bay.", False),
        ("Paris is a large city with many museums and cafes.", False),
        ("See https://example.org for the lighthouse at Korrin Bay.", False),
    ],
)
def test_a_note_says_the_same_in_other_words(note: str, fits: bool) -> None:
    """Copies, questions, fragments, inventions and other subjects are dropped."""
    assert checks.good_note(note, SOURCE) is fits


words = st.lists(
    st.sampled_from(["who", "built", "the", "old", "lighthouse", "at", "korrin", "bay"]), min_size=1, max_size=9
)


@given(words=words, others=st.lists(words, max_size=4))
def test_a_copy_is_always_too_close(words: list[str], others: list[list[str]]) -> None:
    """Whatever stands beside it, in other case and punctuation; nothing is close to nothing."""
    copy = " ".join(words).upper() + "?!"
    assert checks.too_close(copy, [" ".join(o) for o in (*others, words)]) or not checks.normalise(copy)
    assert not checks.too_close(copy, [])


@given(text=st.text(max_size=60), source=st.text(max_size=60))
def test_checks_take_any_text(text: str, source: str) -> None:
    """They are shown what a small model writes."""
    checks.grounded(text, source)
    checks.mentions_source(text, source)
    checks.good_note(text, source)
    checks.good_question(text, source, source)
