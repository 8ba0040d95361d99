"""The screen: every candidate's practice answers are scored, only finalists' are generated."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pytest

from seal_memory.engines.base import Completion, Prompt, Score
from seal_memory.learning.screen import Choice, Contest, choose
from seal_memory.records import QuizItem

ITEMS = tuple(QuizItem(f"q{n}", ("i0",), f"What is number {n}?", f"answer{n}", False) for n in range(2))
OTHER = (QuizItem("p", ("i1",), "Who is it?", "Maud", False),)
FIVE = ("a", "b", "c", "d", "e")


class CountingEngine:
    """An `Engine` without a model: a log-probability and an answer per adapter; keeps what each call asked."""

    def __init__(self, logprobs: Mapping[str, float], say: Callable[[Prompt], str] = lambda prompt: "") -> None:
        self.logprobs, self.say = logprobs, say
        self.scored: list[list[str | None]] = []
        self.generated: list[list[str | None]] = []

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        self.generated.append([p.adapter for p in prompts])
        return [Completion(self.say(p), 1, 1, 1.0) for p in prompts]

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        self.scored.append([p.adapter for p, _ in requests])
        return [Score(self.logprobs[str(p.adapter)], 0.0, 1) for p, _ in requests]


def _choose(engine: CountingEngine, *contests: Contest, finalists: int = 2) -> list[Choice]:
    return choose(contests, engine, finalists=finalists, max_tokens=4)


def test_only_finalists_are_generated() -> None:
    """The two with the likeliest answers of five, best first; the better of them by generation wins."""
    logprobs = {"a": -5.0, "b": -2.0, "c": -4.0, "d": -1.0, "e": -3.0}
    engine = CountingEngine(logprobs, lambda p: "answer0" if p.adapter in ("a", "b") else "")
    assert _choose(engine, Contest(FIVE, ITEMS)) == [Choice("b", (0.0, 0.5))]
    assert engine.scored == [[a for a in FIVE for _ in ITEMS]]
    assert engine.generated == [["d", "d", "b", "b"]]


def test_two_candidates_are_both_generated_by_default() -> None:
    """The screen then only breaks ties."""
    engine = CountingEngine({"a": -9.0, "b": -1.0}, lambda p: "answer0 answer1" if p.adapter == "a" else "answer0")
    assert _choose(engine, Contest(("a", "b"), ITEMS)) == [Choice("a", (0.5, 1.0))]
    tied = CountingEngine({"a": -9.0, "b": -1.0})
    assert _choose(tied, Contest(("a", "b"), ITEMS)) == [Choice("b", (0.0, 0.0))]


def test_all_studies_are_screened_in_one_call() -> None:
    """And their finalists are generated in one, each with its own practice items."""
    logprobs = {"a": -1.0, "b": -2.0, "c": -3.0, "x": -3.0, "y": -2.0, "z": -1.0}
    engine = CountingEngine(logprobs, lambda p: "Maud" if p.adapter == "y" else "")
    contests = (Contest(("a", "b", "c"), ITEMS), Contest(("x", "y", "z"), OTHER))
    assert [c.adapter for c in _choose(engine, *contests)] == ["a", "y"]
    assert engine.scored == [["a", "a", "b", "b", "c", "c", "x", "y", "z"]]
    assert engine.generated == [["a", "a", "b", "b", "z", "y"]]


def test_with_one_candidate_nothing_is_screened_or_generated() -> None:
    """Nor without practice items: then the first candidate is taken."""
    engine = CountingEngine({})
    contests = (Contest(("a",), ITEMS), Contest(("x", "y"), ()))
    assert _choose(engine, *contests) == [Choice("a"), Choice("x")]
    assert engine.scored == engine.generated == []
    assert _choose(engine) == []


def test_a_study_without_choice_keeps_its_place() -> None:
    """Between two that have one."""
    engine = CountingEngine({"a": -2.0, "b": -1.0, "x": -1.0, "y": -2.0})
    contests = (Contest(("a", "b"), ITEMS), Contest(("m",), ITEMS), Contest(("x", "y"), OTHER))
    assert [c.adapter for c in _choose(engine, *contests)] == ["b", "m", "x"]


def test_one_finalist_is_chosen_without_generating() -> None:
    """The cheapest way: log-probability alone."""
    engine = CountingEngine({"a": -2.0, "b": -1.0})
    assert _choose(engine, Contest(("a", "b"), ITEMS), finalists=1) == [Choice("b")]
    assert engine.generated == []


def test_how_well_the_screen_foretells_is_known_where_several_were_generated() -> None:
    """It agreed when no other finalist recalled more: a tie is agreement."""
    assert Choice("a", (0.5, 0.0)).screen_agreed is True
    assert Choice("a", (0.5, 0.5)).screen_agreed is True
    assert Choice("b", (0.0, 0.5, 0.0)).screen_agreed is False
    assert Choice("a").screen_agreed is None


def test_a_diverged_candidate_is_never_a_finalist_before_a_sound_one() -> None:
    """Not-a-number compares with nothing; here it is the worst there is."""
    engine = CountingEngine({"a": math.nan, "b": -9.0, "c": -8.0})
    assert [c.adapter for c in _choose(engine, Contest(("a", "b", "c"), ITEMS))] == ["c"]
    assert engine.generated == [["c", "c", "b", "b"]]
    alone = CountingEngine({"a": math.nan, "b": -9.0}, lambda p: "answer0" if p.adapter == "a" else "")
    assert [c.adapter for c in _choose(alone, Contest(("a", "b"), ITEMS))] == ["b"]


@pytest.mark.parametrize("finalists", [1, 2, 3])
def test_of_equals_the_first_is_chosen(finalists: int) -> None:
    """Whatever the number of finalists, so that a run repeats itself."""
    engine = CountingEngine(dict.fromkeys(FIVE, -1.0))
    assert [c.adapter for c in _choose(engine, Contest(FIVE, ITEMS), finalists=finalists)] == ["a"]
