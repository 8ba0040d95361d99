"""Rule-made genres: nothing in them that is not in the source."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from seal_memory import prompts
from seal_memory.records import Episode, Genre
from seal_memory.self_edits.genres import rule_items
from seal_memory.self_edits.rules import PASSAGE_CHARACTERS, passages
from seal_memory.self_edits.statements import Statement, statements_of

RNG = random.Random(0)
FREE = {Genre.PASSAGE, Genre.SENTENCES, Genre.ENTITY_STATEMENT, Genre.CLOZE, Genre.CLOZE_QUESTION}


def test_every_target_occurs_in_its_source(episode_of: Callable[..., Episode]) -> None:
    """And every item names the interaction it comes from."""
    episode = episode_of(title="The harbour")
    sources = {i.id: i.text for i in episode.interactions}
    items = rule_items(statements_of(episode), title=episode.title, seed=0)
    assert {i.genre for i in items} == FREE
    for item in items:
        assert item.target.strip()
        if item.genre is Genre.PASSAGE:
            continue
        (source,) = item.interaction_ids
        assert item.target in sources[source]
        assert item.prompt.strip()


def test_the_text_itself_is_read_under_its_title(episode_of: Callable[..., Episode]) -> None:
    """All of its statements, in order, without a question; it names every interaction it comes from."""
    episode = episode_of(title="The harbour")
    statements = statements_of(episode)
    (passage,) = passages(statements, "The harbour", RNG)
    assert passage.prompt == ""
    assert passage.target == "The harbour\n" + " ".join(s.text for s in statements)
    assert passage.interaction_ids == episode.interaction_ids
    untitled_statements = statements_of(episode_of())
    (untitled,) = passages(untitled_statements, None, RNG)
    assert untitled.target == " ".join(s.text for s in untitled_statements)


@given(sizes=st.lists(st.integers(1, 1200), min_size=1, max_size=12))
def test_a_long_text_is_read_in_pieces(sizes: list[int]) -> None:
    """Cut between statements, none lost, none twice; only a single statement may be over the limit."""
    statements = [Statement("x" * size, None, f"i{n}", ()) for n, size in enumerate(sizes)]
    pieces = list(passages(statements, None, RNG))
    assert " ".join(p.target for p in pieces) == " ".join(s.text for s in statements)
    assert [i for p in pieces for i in p.interaction_ids] == [s.interaction_id for s in statements]
    assert all(len(p.target) <= PASSAGE_CHARACTERS or len(p.interaction_ids) == 1 for p in pieces)


def test_a_statement_gets_every_genre_it_allows(episode_of: Callable[..., Episode]) -> None:
    """An entity's item for each span; sentences only where there is a title to ask by."""
    statements = statements_of(episode_of())
    items = rule_items(statements, title=None, seed=0)
    assert {i.genre for i in items} == FREE - {Genre.SENTENCES}
    cues = {i.prompt for i in items if i.genre is Genre.ENTITY_STATEMENT}
    assert cues == {prompts.about(span.text) for s in statements for span in s.spans}


def test_a_cloze_leaves_its_answer_out(episode_of: Callable[..., Episode]) -> None:
    """A blank stands where the target was."""
    items = rule_items(statements_of(episode_of()), title=None, seed=0)
    clozes = [i for i in items if i.genre is Genre.CLOZE]
    assert clozes
    assert all("____" in i.prompt and i.target not in i.prompt for i in clozes)


def test_items_repeat_themselves_by_seed(episode_of: Callable[..., Episode]) -> None:
    """The same seed, the same items; another one, other questions."""
    statements = statements_of(episode_of())
    first, again, other = (rule_items(statements, title="T", seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_nothing_makes_nothing() -> None:
    assert rule_items([], title="T", seed=0) == []
