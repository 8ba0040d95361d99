"""Rewards: what raises them and what lowers them, with engines made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.engines.base import Prompt, Score
from seal_memory.errors import InputError
from seal_memory.policy.rewards import (
    MAX_DRIFT,
    Parts,
    RewardWeights,
    Trial,
    diversity,
    efforts,
    excess,
    measure,
    recall,
    rivals,
    value_of,
)
from seal_memory.records import QuizItem

QUIZ = (QuizItem("q1", ("i",), "Who built it?", "Ada", True), QuizItem("q2", ("i",), "When?", "1887", True))
WEIGHTS = RewardWeights()
Engine = Callable[..., Any]
share = st.floats(0, 1)


class Knowing:
    """Gives answers the probability `answers[adapter]`, and every token of the fixed text `text[adapter]` nats."""

    def __init__(self, answers: dict[str | None, float], text: dict[str | None, float] | None = None) -> None:
        self.answers, self.text = answers, text or {}
        self.calls: list[list[str | None]] = []

    def complete(self, prompts: Any, *, max_tokens: int, temperature: float = 0.0, seed: int = 0) -> list[Any]:
        return []

    def score(self, requests: Any) -> list[Score]:
        self.calls.append([p.adapter for p, _ in requests])
        return [self._score(p) for p, _ in requests]

    def _score(self, prompt: Prompt) -> Score:
        if prompt.messages[-1]["content"] == "Go on.":
            return Score(self.text.get(prompt.adapter, -3.0), 0.0, 10)
        p = self.answers[prompt.adapter]
        return Score(math.log(p) if p == p else math.nan, float(p > 0.5), 2)


def _value(engine: Knowing, trial: Trial) -> float:
    return measure([trial], engine, weights=WEIGHTS)[0].value


def test_what_the_adapter_knows_more_than_the_base_is_rewarded() -> None:
    """Half for likely tokens, half for their probability."""
    (found,) = measure([Trial("a", QUIZ)], Knowing({"a": 0.9, None: 0.1}), weights=WEIGHTS)
    assert found.value == pytest.approx(0.5 * 1 + 0.5 * 0.9 - 0.5 * 0.1)
    assert found.gain == pytest.approx(found.value)


def test_what_another_memory_gains_too_was_not_learned_here() -> None:
    """It is taken off; another memory that knows less than the base earns nothing."""
    alone = _value(Knowing({"a": 0.9, "b": 0.9, None: 0.1}), Trial("a", QUIZ))
    both = _value(Knowing({"a": 0.9, "b": 0.9, None: 0.1}), Trial("a", QUIZ, rival="b"))
    harmed = _value(Knowing({"a": 0.9, "b": 0.01, None: 0.1}), Trial("a", QUIZ, rival="b"))
    assert both == pytest.approx(0.0)
    assert harmed == pytest.approx(alone)


def test_drift_is_measured_on_the_adapter_itself() -> None:
    """The fixed text is read with the adapter, whatever a router would do."""
    engine = Knowing({"a": 0.9, None: 0.1}, {"a": -4.0})
    (found,) = measure([Trial("a", QUIZ)], engine, weights=WEIGHTS)
    assert found.parts.drift == pytest.approx(1.0)
    assert found.value == pytest.approx(found.gain - WEIGHTS.drift)
    assert {"a", None} <= {a for call in engine.calls[1:] for a in call}


def test_a_diverged_adapter_gets_a_number_and_a_bad_one() -> None:
    """Not a NaN, which would win every comparison or none."""
    found = _value(Knowing({"a": math.nan, None: 0.1}, {"a": math.nan}), Trial("a", QUIZ))
    assert found <= -WEIGHTS.drift * MAX_DRIFT


def test_all_trials_are_scored_in_one_batch_and_the_base_once() -> None:
    """Quizzes in one pass, fixed text in another, the base in one of its own each; none of it a second time."""
    engine = Knowing({"a": 0.9, "b": 0.8, None: 0.1})
    trials = [Trial("a", QUIZ, rival="b"), Trial("b", QUIZ, rival="a")]
    measure(trials, engine, weights=WEIGHTS)
    assert len(engine.calls) == 4
    assert engine.calls[0] == ["a", "a", "b", "b"]
    measure(trials, engine, weights=WEIGHTS)
    assert [None in call for call in engine.calls[4:]] == [False, False]


def test_a_trial_without_a_quiz_is_refused() -> None:
    """It says which."""
    with pytest.raises(InputError, match="'a' has no held-out quiz item"):
        measure([Trial("a", ())], Knowing({}), weights=WEIGHTS)


@given(share, share, share, st.floats(0, 5), share, share, st.floats(0, 3), st.floats(0.01, 1))
def test_every_part_pulls_its_own_way(
    known: float, base: float, rival: float, drift: float, old: float, diverse: float, over: float, step: float
) -> None:
    """More recall and diversity never lower a reward; more leak, drift, loss and length never raise it."""
    parts = Parts(known, base, rival, drift, old, diverse, over)
    value = value_of(parts, WEIGHTS)
    assert value_of(replace(parts, recall=known + step), WEIGHTS) > value
    assert value_of(replace(parts, diversity=diverse + step), WEIGHTS) > value
    for worse in (
        replace(parts, rival=rival + step),
        replace(parts, drift=drift + step),
        replace(parts, old_loss=old + step),
        replace(parts, excess=over + step),
    ):
        assert value_of(worse, WEIGHTS) <= value


@given(st.lists(st.text(alphabet="abc def", max_size=20), max_size=6))
def test_diversity_is_a_share(notes: list[str]) -> None:
    """Whatever the notes, in whatever order."""
    assert 0 <= diversity(notes) <= 1
    assert diversity(notes) == pytest.approx(diversity(list(reversed(notes))))


def test_notes_that_say_the_same_earn_no_bonus() -> None:
    """Copies 0, nothing in common 1, a copy added to two lowers it; many notes are compared by a sample."""
    one, other = "The lighthouse stands at Korrin Bay.", "Tomas keeps quarterly reports."
    assert diversity([one, one]) == 0
    assert diversity([one]) == diversity([]) == 0
    assert diversity([one, other]) == 1
    assert diversity([one, other, one]) < 1
    assert 0 < diversity([one, other] * 5000) < 1


@pytest.mark.parametrize(("tokens", "budget", "share"), [(100, 100, 0.0), (50, 100, 0.0), (150, 100, 0.5), (9, 0, 0.0)])
def test_only_tokens_over_the_budget_count(tokens: int, budget: int, share: float) -> None:
    """As a share of the budget."""
    assert excess(tokens, budget) == share


def test_longer_notes_of_the_same_worth_earn_less() -> None:
    """Length gaming: what is trained beyond the budget is taken off."""
    engine = Knowing({"a": 0.9, None: 0.1})
    fair = Trial("a", QUIZ, tokens=100, token_budget=100)
    assert _value(engine, replace(fair, tokens=400)) < _value(engine, fair)


def test_each_adapter_meets_one_of_another_memory() -> None:
    """Never one of its own; None where there is no other memory."""
    assert rivals({"x": ["x0", "x1"], "y": ["y0"], "z": []}) == {"x0": "y0", "x1": "y0", "y0": None}
    assert rivals({"x": ["x0"]}) == {"x0": None}


@given(st.floats(-50, 0), share, share)
def test_recall_of_an_item_is_a_share(logprob: float, likely: float, mix: float) -> None:
    """Between 0 and 1, for every mix."""
    assert 0 <= recall(Score(logprob, likely, 3), mix) <= 1 + 1e-9


def test_training_beyond_the_cheapest_candidate_costs() -> None:
    """The cheapest pays nothing, whatever it trained; twice its tokens cost the weight once."""
    assert efforts([100, 200, 100]) == [0.0, 1.0, 0.0]
    assert efforts([]) == []
    assert efforts([0, 0]) == [0.0, 0.0]
    plain, dear = (value_of(Parts(0.5, 0.1, effort=e), WEIGHTS) for e in (0.0, 1.0))
    assert plain - dear == pytest.approx(WEIGHTS.training)
