"""Reliability: laws of intraclass correlation, split halves and Spearman-Brown, and who gets more seeds."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seal_memory.errors import InputError
from seal_memory.policy import reliability as r

values = st.floats(-1, 1, allow_nan=False).map(lambda x: round(x, 3))
tables = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.lists(values, min_size=width, max_size=width), min_size=2, max_size=6)
)


def _simulated(signal: float, noise: float, *, rows: int = 200, width: int = 4, seed: int = 0) -> list[list[float]]:
    rng = random.Random(seed)
    return [[true + rng.gauss(0, noise) for _ in range(width)] for true in (rng.gauss(0, signal) for _ in range(rows))]


@given(tables, st.floats(-5, 5), st.floats(0.1, 10))
@example([[1.0, 1.0]] * 3, 0.0, 0.1)  # the mean of three tenths is not a tenth
def test_icc_ignores_where_zero_is_and_how_large_a_unit_is(table: list[list[float]], shift: float, unit: float) -> None:
    """And never exceeds 1."""
    found = r.icc(table)
    assert found <= 1 + 1e-9
    assert r.icc([[unit * x + shift for x in row] for row in table]) == pytest.approx(found, abs=1e-6)


@given(tables)
def test_neither_the_order_of_candidates_nor_of_seeds_counts(table: list[list[float]]) -> None:
    """Of seeds within a candidate: one-way, the columns have no meaning."""
    turned = [list(reversed(row)) for row in reversed(table)]
    assert r.icc(turned) == pytest.approx(r.icc(table), abs=1e-9)
    assert r.noise(turned) == pytest.approx(r.noise(table), abs=1e-9)


@given(st.lists(values, min_size=2, max_size=6, unique=True), st.integers(2, 5))
def test_a_reward_without_noise_is_perfectly_reliable(true: list[float], width: int) -> None:
    """All of its figures say so."""
    table = [[x] * width for x in true]
    assert r.icc(table) == pytest.approx(1.0)
    assert r.split_half(table) == pytest.approx(1.0)
    assert r.noise(table) == pytest.approx(0.0, abs=1e-9)


def test_known_shares_of_noise_are_found() -> None:
    """Half of the variance is noise: 0.5 for one seed, 0.8 for the mean of four, split halves agree."""
    found = r.reliability(_simulated(1.0, 1.0))
    assert found.single == pytest.approx(0.5, abs=0.08)
    assert found.mean == pytest.approx(0.8, abs=0.06)
    assert found.split_half == pytest.approx(0.8, abs=0.08)
    assert found.noise == pytest.approx(1.0, abs=0.08)
    assert (found.candidates, found.seeds) == (200, 4)


def test_pure_luck_is_unreliable() -> None:
    """However many seeds were run."""
    found = r.reliability(_simulated(0.0, 1.0))
    assert abs(found.single) < 0.1
    assert found.split_half < 0.3


def test_constant_rewards_tell_nothing_apart() -> None:
    """0, not a division by zero."""
    found = r.reliability([[0.5, 0.5], [0.5, 0.5]])
    assert (found.single, found.mean, found.split_half, found.noise) == (0.0, 0.0, 0.0, 0.0)


@given(st.floats(0.01, 0.99), st.floats(1, 20), st.floats(1, 5))
def test_spearman_brown_grows_and_composes(single: float, times: float, more: float) -> None:
    """Longer is never less reliable, and twice lengthened is lengthened by the product."""
    longer = r.spearman_brown(single, times)
    assert single - 1e-12 <= longer < 1
    assert r.spearman_brown(longer, more) == pytest.approx(r.spearman_brown(single, times * more))


@given(st.floats(0.01, 0.99), st.floats(0.05, 0.95), st.integers(1, 30))
def test_seeds_needed_are_the_fewest_that_reach_the_target(single: float, target: float, most: int) -> None:
    """Or as many as there may be."""
    count = r.seeds_needed(single, target=target, most=most)
    assert 1 <= count <= most
    if count < most:
        assert r.spearman_brown(single, count) >= target - 1e-6
    if count > 1:
        assert r.spearman_brown(single, count - 1) < target + 1e-6


@pytest.mark.parametrize("single", [0.0, -0.4])
def test_where_there_is_only_noise_all_seeds_are_spent(single: float) -> None:
    """As many as are allowed."""
    assert r.seeds_needed(single, most=7) == 7


def test_seeds_go_where_the_noise_drowns_the_signal() -> None:
    """None where the candidates stand far apart, most where they do not."""
    clear, drowned = [[0.0, 0.1], [5.0, 5.1]], [[0.0, 0.1], [0.05, 0.0]]
    more = r.more_seeds({"clear": clear, "drowned": drowned}, most=8)
    assert more == {"clear": 0, "drowned": 6}
    assert r.more_seeds({}, most=8) == {}


@pytest.mark.parametrize("table", [[], [[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 2.0], [1.0]]])
def test_too_little_to_judge_is_refused_with_the_numbers(table: list[list[float]]) -> None:
    """Fewer than two candidates or seeds, or rows of several lengths."""
    for figure in (r.icc, r.split_half, r.noise):
        with pytest.raises(InputError, match=f"{len(table)} candidates.*two or more"):
            figure(table)


def test_an_impossible_target_is_refused() -> None:
    """It names the value."""
    with pytest.raises(InputError, match=r"1\.0"):
        r.seeds_needed(0.5, target=1.0, most=3)
    assert math.isfinite(r.seeds_needed(0.999, target=0.999, most=3))
