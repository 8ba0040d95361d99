"""Statements: sentences that stand alone, with who said them in front where that matters."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from seal_memory.records import Episode, Role
from seal_memory.self_edits.statements import statements_of


def _texts(episode: Episode) -> list[str]:
    return [s.text for s in statements_of(episode)]


def test_a_speaker_stands_in_front_of_what_is_said_of_oneself(episode_of: Callable[..., Episode]) -> None:
    """In speech; a document speaks for itself, and a statement about others needs nobody in front."""
    mine, others = "My sister Runa lives in Bergen.", "The ferry Lindragon sails at 6:40."
    assert _texts(episode_of(mine, others, role=Role.USER)) == [f"The user said: {mine}", others]
    assert _texts(episode_of(mine, role=Role.DOCUMENT)) == [mine]


def test_what_states_nothing_is_left_out(episode_of: Callable[..., Episode]) -> None:
    """Questions, greetings and thanks between the statements of a message."""
    said = "Good morning! The ferry Lindragon sails at 6:40. Could you write that down? Thanks!"
    assert _texts(episode_of(said, role=Role.USER)) == ["The ferry Lindragon sails at 6:40."]


def test_the_same_sentence_twice_is_one_statement(episode_of: Callable[..., Episode]) -> None:
    """It keeps its first source."""
    text = "The ferry Lindragon sails at 6:40."
    (statement,) = statements_of(episode_of(f"{text} {text}", text))
    assert (statement.text, statement.interaction_id) == (text, "i0")


def test_statements_know_their_title_source_and_spans(episode_of: Callable[..., Episode]) -> None:
    """Spans are slices of the statement's own text, markup is gone."""
    episode = episode_of("# Rules\n\n* The winch at Dunmorrow Quay pulls 3,200 kilograms.", title="Slipway rules")
    statement = statements_of(episode)[-1]
    assert statement.text == "The winch at Dunmorrow Quay pulls 3,200 kilograms."
    assert (statement.title, statement.interaction_id) == ("Slipway rules", "i0")
    assert {"Dunmorrow Quay", "3,200 kilograms"} <= {s.text for s in statement.spans}
    assert all(statement.text[s.start : s.end] == s.text for s in statement.spans)
    assert all(s.text in statement.target_for(s) for s in statement.spans)


@given(text=st.text(max_size=150))
def test_any_text_can_be_looked_through(episode_of: Callable[..., Episode], text: str) -> None:
    """What comes out is one line, comes from the text, and its telling clauses hold their spans."""
    for statement in statements_of(episode_of(text)):
        assert statement.text == " ".join(statement.text.split())
        assert statement.text in " ".join(text.split())
        assert all(s.text in statement.target_for(s) for s in statement.spans)
