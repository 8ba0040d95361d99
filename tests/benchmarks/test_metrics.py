"""Means, intervals and times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import metrics

shares = st.floats(0, 1, allow_nan=False)


@given(st.lists(shares, min_size=1, max_size=40), st.integers(0, 5))
def test_an_interval_holds_the_mean_and_repeats(values: list[float], seed: int) -> None:
    """Between the extremes, around the mean, the same for the same seed."""
    found = metrics.bootstrap(values, seed=seed)
    assert found is not None
    assert found == metrics.bootstrap(values, seed=seed)
    assert min(values) - 1e-9 <= found["low"] <= found["high"] <= max(values) + 1e-9
    assert found["mean"] == pytest.approx(sum(values) / len(values))
    assert found["n"] == len(values)


def test_more_questions_narrow_the_interval() -> None:
    """As the square root says, roughly."""
    few, many = metrics.bootstrap([0.0, 1.0] * 10), metrics.bootstrap([0.0, 1.0] * 1000)
    assert few is not None
    assert many is not None
    assert many["high"] - many["low"] < (few["high"] - few["low"]) / 5


def test_nothing_measured_is_none_and_not_zero() -> None:
    """A missing figure must not look like a bad one."""
    assert metrics.bootstrap([]) is None
    assert metrics.times([]) is None
    assert metrics.mean([]) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_the_95th_percentile_is_no_less_than_the_median(seconds: list[float]) -> None:
    """And both lie among what was measured."""
    found = metrics.times(seconds)
    assert found is not None
    assert min(seconds) - 1e-6 <= found["median"] <= found["p95"] + 1e-6 <= max(seconds) + 2e-6
