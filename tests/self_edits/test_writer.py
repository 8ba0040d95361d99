"""The model as note-writer, played by hand-written engines that parrot, invent, or do it well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seal_memory.engines.base import Prompt
from seal_memory.records import Episode, Genre, TrainingItem
from seal_memory.self_edits import checks
from seal_memory.self_edits.genres import MODEL_GENRES
from seal_memory.self_edits.statements import Statement, statements_of
from seal_memory.self_edits.writer import write_items

Say = Callable[[Prompt], str]


@pytest.fixture
def statements(episode_of: Callable[..., Episode]) -> list[Statement]:
    return statements_of(episode_of())


@pytest.fixture
def write(
    fake_engine: Callable[..., Any], statements: list[Statement]
) -> Callable[..., tuple[list[TrainingItem], Any]]:
    """Four texts per statement (one of each genre) by an engine that says `say(prompt)`."""

    def run(say: Say, *, held_out: tuple[str, ...] = (), per_statement: int = 4) -> tuple[list[TrainingItem], Any]:
        (written,) = write_items(
            [statements], fake_engine(say), per_statement=per_statement, held_out=[held_out], seed=0
        )
        return written

    return run


def _statement_in(prompt: Prompt) -> str:
    """What the last message is about; questions are asked for as "Text: ...\\nAnswer: ..."."""
    return prompt.messages[-1]["content"].removeprefix("Text: ").split("\nAnswer: ")[0]


def _answer_in(prompt: Prompt) -> str | None:
    return prompt.messages[-1]["content"].partition("\nAnswer: ")[2] or None


def _ask_well(prompt: Prompt) -> str:
    """A question of the statement's own words without the answer, or a turned-round sentence."""
    statement, answer = _statement_in(prompt).rstrip("."), _answer_in(prompt)
    if answer:
        return "Which is it: " + statement.replace(answer, "which").strip() + "?"
    return f"It is known here that {statement}."


@pytest.mark.parametrize(
    "say",
    [
        lambda p: p.messages[1]["content"],  # the example
        lambda p: p.messages[2]["content"],  # the example's own answer
        lambda p: _statement_in(p),
        lambda p: "",
        lambda p: "Sure! Here is a question about the text",
        lambda p: "Who is the president of the United States of America?",
        lambda p: "Iwan Sorrel painted the lighthouse at Korrin Bay in 1999.",
        lambda p: "Who built the lighthouse at Korrin Bay for Iwan Sorrel in 1999?",
        lambda p: "The winch at Dunmorrow Quay must never pull more than 4,500 kilograms.",
        lambda p: (_answer_in(p) or "x") + " is what, the lighthouse at Korrin Bay?",
    ],
)
def test_parrots_and_inventors_teach_nothing(write: Callable[..., tuple[list[TrainingItem], Any]], say: Say) -> None:
    """Not one item survives that the source does not hold."""
    items, yields = write(say)
    for item in items:  # a question that happens to fit one statement may stay; an invention may not
        assert "Sorrel" not in item.prompt + item.target
        assert "1999" not in item.prompt + item.target
        assert "4,500" not in item.prompt + item.target
        assert "Rosa Klein" not in item.prompt + item.target
        assert "president" not in item.prompt
    assert sum(y.kept for y in yields) == len(items)
    assert sum(y.made for y in yields) == 4 * 4


def test_whatever_survives_is_grounded(
    write: Callable[..., tuple[list[TrainingItem], Any]], statements: list[Statement]
) -> None:
    """Names, numbers and dates of prompt and target are the source's; each item names its interaction."""
    items, _ = write(_ask_well)
    source = " ".join(s.text for s in statements)
    assert {i.genre for i in items} & {Genre.QA, Genre.REVERSED}
    assert {i.genre for i in items} & {Genre.REWRITE, Genre.IMPLICATIONS}
    for item in items:
        assert checks.grounded(item.prompt.removeprefix("Which is it: "), source)
        assert checks.grounded(item.target, source)
        (interaction,) = item.interaction_ids
        assert interaction in {s.interaction_id for s in statements}


def test_only_the_first_line_counts(write: Callable[..., tuple[list[TrainingItem], Any]]) -> None:
    """A small model goes on talking."""
    chatty, _ = write(lambda p: _ask_well(p) + "\nAnswer: Iwan Sorrel\nText: more")
    assert chatty == write(_ask_well)[0]


def test_held_out_questions_are_not_copied(write: Callable[..., tuple[list[TrainingItem], Any]]) -> None:
    """Nor said with a word more."""
    items, _ = write(_ask_well)
    questions = tuple(i.prompt for i in items if i.genre in (Genre.QA, Genre.REVERSED))
    left, _ = write(_ask_well, held_out=tuple(q.upper() for q in questions))
    assert questions
    assert not [i for i in left if i.genre in (Genre.QA, Genre.REVERSED)]


def test_groups_keep_their_own_items(fake_engine: Callable[..., Any], statements: list[Statement]) -> None:
    """One batch for all; each group is checked against its own held-out questions."""
    groups = [[s] for s in statements]
    written = write_items(groups, fake_engine(_ask_well), per_statement=4, held_out=[()] * len(groups), seed=0)
    for (items, yields), (statement,) in zip(written, groups, strict=True):
        assert all(i.interaction_ids == (statement.interaction_id,) for i in items)
        assert [y.genre for y in yields] == list(MODEL_GENRES)
        assert all(y.made == 1 for y in yields)


def test_nothing_asked_nothing_written(write: Callable[..., tuple[list[TrainingItem], Any]]) -> None:
    """No texts per statement."""
    assert write(_ask_well, per_statement=0) == ([], [])
