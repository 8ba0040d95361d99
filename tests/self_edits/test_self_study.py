"""Self-study, with hand-written writers and readers: coverage, the round trip, and what is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory import prompts
from seal_memory.engines.base import Completion, Prompt
from seal_memory.records import Episode, Genre
from seal_memory.self_edits.self_study import ROUNDS, Reading, clean_question, study
from seal_memory.self_edits.statements import statements_of

TEXT = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
ASK = prompts.write_question("", "")[0]["content"]
QUESTIONS = {
    "Maud Ellery": "Who built the lighthouse at Korrin Bay?",
    "Korrin Bay": "Where did Maud Ellery build the lighthouse?",
    "1887": "When did Maud Ellery build the lighthouse?",
}
ANSWERS = {
    "Who": "The lighthouse was built by Maud Ellery.",
    "Where": "The lighthouse is at Korrin Bay.",
    "When": "Maud Ellery built it in 1887.",
}


def _is_writer(prompt: Prompt) -> bool:
    return prompt.messages[0]["content"] == ASK


def _ask(prompt: Prompt) -> str:
    return QUESTIONS.get(prompt.messages[-1]["content"].partition("\nAnswer: ")[2], "")


def _read(prompt: Prompt) -> str:
    text, _, question = prompt.messages[-1]["content"].rpartition("\n")
    assert text == TEXT, "the reader sees the text"
    return ANSWERS.get(question.split()[0], "I do not know.")


def _well(prompt: Prompt) -> str:
    return _ask(prompt) if _is_writer(prompt) else _read(prompt)


@pytest.fixture
def reading(episode_of: Callable[..., Episode]) -> Callable[..., Reading]:
    return lambda *held_out: Reading(TEXT, statements_of(episode_of(TEXT)), held_out)


def _spans(reading: Reading) -> set[str]:
    return {span.text for s in reading.statements for span in s.spans}


def test_every_span_that_a_question_reaches_becomes_the_readers_own_answer(
    fake_engine: Callable[..., Any], reading: Callable[..., Reading]
) -> None:
    assert set(QUESTIONS) <= _spans(reading())
    (found,) = study([reading()], fake_engine(_well), per_span=2, seed=0)
    assert {i.prompt for i in found.items} == set(QUESTIONS.values())
    assert {i.target for i in found.items} <= {f.text for f in found.facts}
    assert {i.genre for i in found.items} == {Genre.QA}
    assert found.yields[0].kept == len(found.items) < found.yields[0].made


def test_later_rounds_ask_only_about_spans_that_are_left(
    fake_engine: Callable[..., Any], reading: Callable[..., Reading]
) -> None:
    engine = fake_engine(_well)
    study([reading()], engine, per_span=2, seed=0)
    asked = [p.messages[-1]["content"].partition("\nAnswer: ")[2] for p in engine.prompts if _is_writer(p)]
    left = len(_spans(reading())) - len(QUESTIONS)
    assert all(asked.count(span) == 2 for span in QUESTIONS)
    assert len(asked) == 2 * (len(_spans(reading())) + (ROUNDS - 1) * left)


@pytest.mark.parametrize(
    "read",
    [
        lambda p: "It was built by hand.",  # words that the text has not
        lambda p: f"{_read(p)} Bertram Oake helped in 1903.",  # names and numbers that the text has not
        lambda p: _read(p).replace(" ", "\n", 1),  # more than a line
        lambda p: "",
    ],
)
def test_a_question_whose_answer_does_not_hold_is_dropped(
    fake_engine: Callable[..., Any], reading: Callable[..., Reading], read: Callable[[Prompt], str]
) -> None:
    engine = fake_engine(lambda p: _ask(p) if _is_writer(p) else read(p))
    (found,) = study([reading()], engine, per_span=2, seed=0)
    assert found.items == []
    assert found.yields[0].kept == 0 < found.yields[0].made


def test_an_answer_that_no_sample_repeats_is_dropped(reading: Callable[..., Reading]) -> None:
    class Unsure:
        def complete(
            self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
        ) -> list[Completion]:
            sampled = temperature > 0
            says = [_ask(p) if _is_writer(p) else "Nobody knows." if sampled else _read(p) for p in prompts]
            return [Completion(text, 1, 1, 1.0) for text in says]

    (found,) = study([reading()], Unsure(), per_span=2, seed=0)  # type: ignore[arg-type]
    assert found.items == []


def test_an_answer_that_was_cut_is_dropped(reading: Callable[..., Reading]) -> None:
    class Wordy:
        def complete(self, prompts: Sequence[Prompt], **_: Any) -> list[Completion]:
            return [
                Completion(_ask(p), 1, 1, 1.0) if _is_writer(p) else Completion(_read(p), 1, 32, 1.0, "length")
                for p in prompts
            ]

    (found,) = study([reading()], Wordy(), per_span=2, seed=0)  # type: ignore[arg-type]
    assert found.items == []


def test_a_question_about_something_else_counts_for_what_its_answer_gives(
    fake_engine: Callable[..., Any], reading: Callable[..., Reading]
) -> None:
    """Whatever was to be asked, the writer asks for the year: one item, and the year is asked about no more."""
    engine = fake_engine(lambda p: QUESTIONS["1887"] if _is_writer(p) else _read(p))
    (found,) = study([reading()], engine, per_span=2, seed=0)
    assert [i.prompt for i in found.items] == [QUESTIONS["1887"]]
    assert "1887" in found.items[0].target
    asked = [p.messages[-1]["content"].partition("\nAnswer: ")[2] for p in engine.prompts if _is_writer(p)]
    assert asked.count("1887") == 2
    assert asked.count("Korrin Bay") == 2 * ROUNDS


def test_no_item_copies_a_held_out_question(fake_engine: Callable[..., Any], reading: Callable[..., Reading]) -> None:
    (found,) = study([reading(QUESTIONS["Maud Ellery"])], fake_engine(_well), per_span=2, seed=0)
    assert len(found.items) == len(QUESTIONS) - 1
    assert QUESTIONS["Maud Ellery"] not in {i.prompt for i in found.items}


def test_the_note_writers_adapter_asks_and_the_base_answers(
    fake_engine: Callable[..., Any], reading: Callable[..., Reading]
) -> None:
    engine = fake_engine(_well)
    study([reading()], engine, per_span=2, seed=0, adapter="policy")
    assert {(p.adapter, _is_writer(p)) for p in engine.prompts} == {("policy", True), (None, False)}


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Q1: Who built it?", "Who built it?"),
        ("**Question:** Who built it?", "Who built it?"),
        ("A. Who built it?", "Who built it?"),
        ("3) Who built it?\nAnswer: Maud", "Who built it?"),
        ("- 2. Who built it?", "Who built it?"),
        ('"Who built it?"', "Who built it?"),
        ("In 1887, who built it?", "In 1887, who built it?"),
        ("A lighthouse was built by whom?", "A lighthouse was built by whom?"),
        ("1887. Who built it?", "1887. Who built it?"),
    ],
)
def test_labels_in_front_of_a_question_are_cut(text: str, question: str) -> None:
    assert clean_question(text) == question


@given(st.text(max_size=60))
def test_a_cleaned_question_is_one_line_and_stays_as_it_is(text: str) -> None:
    once = clean_question(text)
    assert "\n" not in once
    assert once == once.strip()
