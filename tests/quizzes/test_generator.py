"""Quizzes from the source: phrasings, the filter for answerability, and what is held out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from seal_memory import prompts
from seal_memory.engines.base import Prompt
from seal_memory.language.metrics import contains
from seal_memory.language.spans import answer_spans
from seal_memory.language.text import normalise
from seal_memory.quizzes.generator import (
    LATE_ITEMS,
    MIN_GAIN,
    MODEL_PHRASING,
    QuizPlan,
    filter_answerable,
    make_late_quiz,
    make_quiz,
)
from seal_memory.records import QuizItem
from seal_memory.self_edits.statements import Statement

TEXTS = (
    "Maud Ellery built the lighthouse at Korrin Bay in 1887, and Korrin Bay thanked her.",
    "The slipway winch at Dunmorrow Quay must never pull more than 3,200 kilograms.",
    "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office.",
)
STATEMENTS = [Statement(t, None, f"i{n}", tuple(answer_spans(t))) for n, t in enumerate(TEXTS)]


def _in_prompt(prompt: Prompt) -> bool:
    return any(text in prompt.messages[-1]["content"] for text in TEXTS)


def _knows_from_text(prompt: Prompt, target: str) -> float:
    return -1.0 if _in_prompt(prompt) else -5.0


def _make(engine: Any, *, per_statement: int = 3, model_questions: bool = False, seed: int = 0) -> list[QuizItem]:
    number = count()
    plan = QuizPlan(per_statement, model_questions)
    return make_quiz(STATEMENTS, engine, plan=plan, seed=seed, make_id=lambda: f"q{next(number)}")


def test_questions_come_from_the_source_in_several_phrasings(fake_engine: Callable[..., Any]) -> None:
    """Answers are spans of their statement and not in the question; no question comes twice."""
    items = _make(fake_engine(likely=_knows_from_text))
    assert len({i.phrasing for i in items}) >= 3
    assert len({normalise(i.question) for i in items}) == len(items)
    for item in items:
        (source,) = item.interaction_ids
        statement = TEXTS[int(source[1:])]
        assert item.answer in statement
        assert not contains(item.question, item.answer)
        assert item.question.endswith("?")
        assert (item.origin, item.held_out) == ("generated", True)


def test_the_gate_keeps_what_only_the_text_answers(fake_engine: Callable[..., Any]) -> None:
    """Both log-probabilities are recorded; what the base knows, or not even the text tells, goes."""
    items = [QuizItem(f"q{n}", ("i0",), q, a, False) for n, (q, a) in enumerate([("Who?", "A"), ("When?", "B")])]

    def likely(prompt: Prompt, target: str) -> float:
        if target == "A":
            return _knows_from_text(prompt, target)
        return -2.0

    (kept,) = filter_answerable(items, [TEXTS[0]] * 2, fake_engine(likely=likely))
    assert (kept.id, kept.logprob_with, kept.logprob_without) == ("q0", -1.0, -5.0)
    assert filter_answerable([], [], fake_engine()) == []


@given(there=st.floats(-20, 0), closed=st.floats(-20, 0))
def test_the_gate_asks_for_a_gain(fake_engine: Callable[..., Any], there: float, closed: float) -> None:
    """Exactly the items whose answer the text makes likelier by the factor."""
    engine = fake_engine(likely=lambda prompt, target: there if _in_prompt(prompt) else closed)
    kept = filter_answerable([QuizItem("q", ("i0",), "Who?", "A", False)], [TEXTS[0]], engine)
    assert bool(kept) == (there - closed >= MIN_GAIN)


def test_closed_book_means_without_the_text(fake_engine: Callable[..., Any]) -> None:
    """The filter's second prompt is the one that users are answered with."""
    seen: list[Prompt] = []

    def likely(prompt: Prompt, target: str) -> float:
        seen.append(prompt)
        return -1.0

    filter_answerable([QuizItem("q", ("i0",), "Who?", "A", False)], [TEXTS[0]], fake_engine(likely=likely))
    assert [p.messages for p in seen] == [prompts.read(TEXTS[0], "Who?"), prompts.direct("Who?")]
    assert all(p.adapter is None for p in seen)


def test_a_late_quiz_asks_everything_and_keeps_the_best(fake_engine: Callable[..., Any]) -> None:
    """Every span in every phrasing goes through the same filter; few a statement stay, the largest gain first."""
    number = count()
    asked: list[str] = []

    def likely(prompt: Prompt, target: str) -> float:
        asked.append(target)
        return -1.0 if _in_prompt(prompt) else -1.0 - len(target)

    items = make_late_quiz(STATEMENTS, fake_engine(likely=likely), seed=0, make_id=lambda: f"q{next(number)}")
    for n, statement in enumerate(STATEMENTS):
        own = [i for i in items if i.interaction_ids == (f"i{n}",)]
        assert len(own) == LATE_ITEMS == len({i.question for i in own})
        assert max(len(s.text) for s in statement.spans if s.text in asked) == len(own[0].answer)
    assert [len(i.answer) for i in items] == sorted((len(i.answer) for i in items), reverse=True)
    assert make_late_quiz(STATEMENTS, fake_engine(likely=lambda p, t: -1.0), seed=0, make_id=str) == []


def test_the_model_may_put_questions_too(fake_engine: Callable[..., Any]) -> None:
    """Where what it writes passes the source checks; junk leaves the rule-made question in place."""
    good = "Which engineer built the lighthouse at Korrin Bay?"

    def say(prompt: Prompt) -> str:
        return good + "\nmore" if prompt.messages[-1]["content"].endswith("Maud Ellery") else "Who is Iwan Sorrel?"

    items = _make(fake_engine(say, _knows_from_text), model_questions=True, per_statement=5)
    without = _make(fake_engine(likely=_knows_from_text), per_statement=5)
    assert len(items) == len(without)
    assert "Who is Iwan Sorrel?" not in {i.question for i in items}
    for item, plain in zip(items, without, strict=True):
        assert item.answer == plain.answer
        assert (item.question, item.phrasing) in ((plain.question, plain.phrasing), (good, MODEL_PHRASING))


def test_quizzes_repeat_themselves_by_seed(fake_engine: Callable[..., Any]) -> None:
    """And nothing to ask about is no quiz."""
    engine = fake_engine(likely=_knows_from_text)
    assert _make(engine, seed=3) == _make(engine, seed=3)
    assert make_quiz([], engine, plan=QuizPlan(), seed=0, make_id=lambda: "q") == []
