"""Plans: what is read and what is asked, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from seal_memory import prompts
from seal_memory.engines.local import TransformersEngine
from seal_memory.learning.plans import encode_item, plan_steps
from seal_memory.records import Genre, Hyperparameters, SelfEdit, TrainingItem


def _edit(texts: int, questions: int, plan: Hyperparameters, seed: int) -> SelfEdit:
    items = [TrainingItem(Genre.PASSAGE, "", f"text {n}", ("i",)) for n in range(texts)]
    items += [TrainingItem(Genre.QA, f"question {n}?", f"answer {n}", ("i",)) for n in range(questions)]
    return SelfEdit("s", "e", ("i",), tuple(items), plan, seed)


@given(
    texts=st.integers(0, 4),
    questions=st.integers(0, 9),
    passes=st.integers(0, 6),
    epochs=st.integers(1, 4),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_every_text_is_read_as_often_as_planned(
    texts: int, questions: int, passes: int, epochs: int, batch_size: int, seed: int
) -> None:
    """And every question asked once an epoch; a step holds texts or questions, never both."""
    plan = Hyperparameters(epochs=epochs, passes=passes, genre_mix=((Genre.QA, 1.0),))
    edit = _edit(texts, questions, plan, seed)
    steps = plan_steps(edit, batch_size=batch_size)
    drawn = Counter(n for step in steps for n in step)
    assert all(drawn[n] == passes for n in range(texts))
    assert all(drawn[n] == epochs for n in range(texts, texts + questions))
    for step in steps:
        assert len({edit.items[n].genre for n in step}) == 1
        assert len(step) <= (max(1, batch_size // 2) if step[0] < texts else batch_size)
    assert steps == plan_steps(edit, batch_size=batch_size)


def test_a_text_is_plain_and_all_of_it_counts(load_tiny: Callable[[], Any]) -> None:
    """No chat around it and an end after it; a question's loss counts its answer only."""
    engine = TransformersEngine(load_tiny())
    plain = encode_item(engine, TrainingItem(Genre.PASSAGE, "", "The winch pulls.", ("i",)))
    assert plain.prompt_length == 0
    assert engine.tokenizer.decode(plain.ids[:-1]) == "The winch pulls."
    assert plain.ids[-1] == engine.tokenizer.eos_token_id
    asked = encode_item(engine, TrainingItem(Genre.QA, "What pulls?", "The winch pulls.", ("i",)))
    assert list(asked.ids[: asked.prompt_length]) == engine.encode_prompt(prompts.direct("What pulls?"))


def test_a_text_longer_than_the_context_is_cut(load_tiny: Callable[[], Any]) -> None:
    """A single statement can be that long; its beginning is read."""
    engine = TransformersEngine(load_tiny())
    row = engine.encode_text("pull " * 2 * engine.max_length)
    assert len(row.ids) == engine.max_length
