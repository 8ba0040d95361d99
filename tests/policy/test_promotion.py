"""Promotion: only a clear gain on interactions that neither writer trained on."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.errors import InputError
from seal_memory.learning.candidates import Study
from seal_memory.policy.promotion import decide, paired_bootstrap, unseen
from seal_memory.records import Episode, Interaction, Role, Status

pairs = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=4, max_size=12)


def _study(*ids: str) -> Study:
    seen = tuple(
        Interaction(i, "d", i, Role.DOCUMENT, None, None, None, 0.0, {}, "", Status.PENDING, None, 1) for i in ids
    )
    return Study(Episode("-".join(ids), None, seen), [])


@given(pairs)
@settings(max_examples=25)
def test_the_interval_holds_its_mean_and_turns_with_the_sides(found: list[tuple[float, float]]) -> None:
    """Between the smallest and the largest difference; old for new changes the sign."""
    old, new = [a for a, _ in found], [b for _, b in found]
    one = paired_bootstrap(old, new, seed=1, resamples=200)
    other = paired_bootstrap(new, old, seed=1, resamples=200)
    differences = [b - a for a, b in found]
    assert min(differences) - 1e-9 <= one.low <= one.high <= max(differences) + 1e-9
    assert one.mean == pytest.approx(sum(differences) / len(differences))
    assert (other.low, other.high) == (pytest.approx(-one.high), pytest.approx(-one.low))
    assert one == paired_bootstrap(old, new, seed=1, resamples=200)


def test_a_clear_gain_is_promoted() -> None:
    """With the figures in its reason."""
    found = decide([0.1] * 8, [0.2, 0.25, 0.15, 0.2, 0.3, 0.2, 0.1, 0.2], seed=0)
    assert found.accepted
    assert found.measures["gain_low"] > 0
    assert found.measures["reward_new"] - found.measures["reward_old"] == pytest.approx(found.measures["gain"])
    assert "8 interactions" in found.reasons[0]


@pytest.mark.parametrize("new", [[0.1] * 8, [0.0] * 8, [0.9, -0.5, 0.4, -0.3, 0.2, 0.1, -0.1, 0.3]])
def test_no_gain_or_an_unsure_one_is_not(new: list[float]) -> None:
    """Equal, worse, or better on average with a lower bound below 0."""
    found = decide([0.1] * 8, new, seed=0)
    assert not found.accepted
    assert "lower bound" in found.reasons[0]


def test_pairing_sees_what_the_spread_between_interactions_hides() -> None:
    """A small gain on every one of very different interactions is a gain."""
    rng = random.Random(0)
    old = [rng.random() for _ in range(12)]
    assert decide(old, [x + 0.02 + 0.005 * rng.random() for x in old], seed=0).accepted


def test_luck_is_rarely_promoted() -> None:
    """With no difference but noise, in about one of forty comparisons."""
    rng = random.Random(1)
    draws = [[rng.gauss(0, 0.1) for _ in range(12)] for _ in range(160)]
    promoted = sum(
        paired_bootstrap(a, b, seed=0, resamples=300).low > 0 for a, b in zip(draws[::2], draws[1::2], strict=True)
    )
    assert promoted <= 8


def test_too_few_interactions_judge_nothing() -> None:
    """However large the gain."""
    found = decide([0.0] * 3, [1.0] * 3, seed=0)
    assert not found.accepted
    assert "3 interactions" in found.reasons[0]


@pytest.mark.parametrize(("old", "new"), [([], []), ([0.1], [0.1, 0.2]), ([0.1], [math.nan])])
def test_what_cannot_be_paired_is_refused(old: list[float], new: list[float]) -> None:
    """Nothing, two lengths, no numbers."""
    with pytest.raises(InputError, match="expected"):
        paired_bootstrap(old, new, seed=0)


def test_only_interactions_that_nobody_trained_on_judge() -> None:
    """One known interaction in an episode is enough to leave it out."""
    studies = [_study("a", "b"), _study("c"), _study("d")]
    assert unseen(studies, {"b", "d"}) == [studies[1]]
    assert unseen(studies, set()) == studies
