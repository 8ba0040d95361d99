"""Cues: which questions an adapter is asked about a request, and whom a follow-up is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.answering.cues import MOST_CLAUSES, MOST_NAMES, READ, SHORT, cues_of, cues_of_text

PHONE = "And his phone number?"


def _texts(*messages: str) -> list[str]:
    """The cues of a talk in which user and assistant take turns, the user last."""
    roles = ["user", "assistant"]
    first = (len(messages) - 1) % 2
    chat = [{"role": roles[(n + first) % 2], "content": m} for n, m in enumerate(messages)]
    return [c.text for c in cues_of(chat).cues]


def test_a_short_question_is_asked_as_it_stands_and_about_its_name() -> None:
    """Both are forms that a shard was trained on."""
    assert _texts("Where does Anton Pohl live?") == [
        "Where does Anton Pohl live?",
        "What do you know about Anton Pohl?",
    ]


def test_a_follow_up_takes_its_subject_from_the_turn_before() -> None:
    """From the user's words rather than the answer's; a question that names somebody takes no other subject."""
    asked = _texts("Where does Anton Pohl live?", "In Korrfell.", PHONE)
    assert asked == [PHONE, f"Anton Pohl: {PHONE}", "What do you know about Anton Pohl?"]
    assert "Pohl" not in " ".join(_texts("Where does Anton Pohl live?", "In Korrfell.", "And Ida Brandt?"))
    assert _texts("Hello!", "Anton Pohl has called.", PHONE)[1] == f"Anton Pohl: {PHONE}"


def test_a_subject_of_long_ago_is_left() -> None:
    """And the system's words are nobody's."""
    assert _texts("Where does Anton Pohl live?", "a", "b", "c", "d", "e", PHONE) == [PHONE]
    chat = [{"role": "system", "content": "You are Anton Pohl."}, {"role": "user", "content": PHONE}]
    assert [c.text for c in cues_of(chat).cues] == [PHONE]


def test_clauses_with_names_are_asked_one_by_one() -> None:
    asked = _texts("Tell me two things: where Anton Pohl lives, and what Ida Brandt's pet is called.")
    assert asked[:2] == ["where Anton Pohl lives", "what Ida Brandt's pet is called"]


@pytest.mark.parametrize("opening", ["Write", "Answer", "Draft", "Explain"])
def test_the_verb_of_a_request_is_no_name(opening: str) -> None:
    """Nor is a word in capitals, such as JSON."""
    cues = cues_of([{"role": "user", "content": f"{opening} a JSON object."}])
    assert [c.about for c in cues.cues] == [""]
    assert cues.stems == frozenset()


def test_a_message_without_text_has_no_cues() -> None:
    """A tool's results may be the last message: the user's last words are read."""
    assert cues_of([{"role": "user", "content": None}]).cues == ()
    chat = [{"role": "user", "content": "Where is Ida Brandt?"}, {"role": "tool", "content": "In Oslo."}]
    assert cues_of(chat).cues[0].text == "Where is Ida Brandt?"


@given(st.text(max_size=3000))
def test_cues_are_few_and_short(text: str) -> None:
    """Whatever the request; names may be as long as what is read."""
    cues = cues_of_text(text).cues
    own = [c for c in cues if not c.about]
    assert len(own) <= MOST_CLAUSES + 1
    assert len(cues) - len(own) <= MOST_NAMES
    assert all(len(c.text) <= SHORT for c in own)
    assert all(len(c.about) <= READ for c in cues)
    assert all(c.text.strip() for c in cues)
