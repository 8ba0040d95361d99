"""Reliability of rewards: how much of their variance is between candidates, and how many more seeds are worth it.

A table holds one row per candidate and one column per seed. Intraclass correlation: ICC(1) of Shrout & Fleiss (1979);
split-half with the Spearman-Brown correction (1910). SEAL's best-of-5 (arXiv 2506.10943) is read beside these figures.
Not here: measuring rewards (`rewards`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seal_memory.errors import InputError

Table = Sequence[Sequence[float]]
TARGET = 0.8  # reliability of a candidate's mean reward that is good enough to choose by
SPLITS = 64


@dataclass(frozen=True, slots=True)
class Reliability:
    """`single`: of one seed's reward; `mean`: of the mean over the seeds that were run; `split_half`: the same, halved.

    `noise` is the standard deviation of one seed's reward around its candidate's own mean.
    """

    single: float
    mean: float
    split_half: float
    noise: float
    candidates: int
    seeds: int


def reliability(table: Table, *, seed: int = 0) -> Reliability:
    """All figures of one table. Raises `InputError` for fewer than two candidates or seeds."""
    single, width = icc(table), len(table[0])
    return Reliability(
        single, spearman_brown(single, width), split_half(table, seed=seed), noise(table), len(table), width
    )


def icc(table: Table) -> float:
    """Share of the variance of one seed's reward that is between candidates; at most 1, below 0 by luck only.

    0.0 where all values are equal: nothing can be told apart.
    """
    between, within = _mean_squares(table)
    if len({value for row in table for value in row}) == 1:  # a mean of equal values may differ from them by rounding
        return 0.0
    width = len(table[0])
    total = between + (width - 1) * within
    return (between - within) / total if total > 0 else 0.0


def split_half(table: Table, *, seed: int = 0, splits: int = SPLITS) -> float:
    """Mean correlation of two random halves of the seeds over the candidates, corrected to the full number of seeds."""
    _check(table)
    rng = random.Random(seed)
    columns = list(range(len(table[0])))
    found = []
    for _ in range(splits):
        rng.shuffle(columns)
        half = len(columns) // 2
        one, other = columns[:half], columns[half : 2 * half]
        found.append(_correlation([_mean(r, one) for r in table], [_mean(r, other) for r in table]))
    return spearman_brown(math.fsum(found) / splits, 2.0)


def spearman_brown(single: float, times: float) -> float:
    """The reliability of a measure `times` as long; noise (0 and below) stays what it is."""
    return times * single / (1 + (times - 1) * single) if single > 0 else single


def noise(table: Table) -> float:
    """Standard deviation of one seed's reward around its candidate's mean, pooled over the candidates."""
    return math.sqrt(_mean_squares(table)[1])


def seeds_needed(single: float, *, target: float = TARGET, most: int) -> int:
    """The fewest seeds whose mean has reliability `target`, from 1 to `most`."""
    if not 0 < target < 1:
        raise InputError(f"target reliability is {target!r}; expected more than 0 and less than 1")
    if single <= 0:
        return most
    exact = target * (1 - single) / (single * (1 - target))
    return min(most, max(1, math.ceil(exact - 1e-9)))


def more_seeds(groups: Mapping[str, Table], *, target: float = TARGET, most: int) -> dict[str, int]:
    """How many seeds each group (an interaction's candidates) should get on top of those it had.

    The noise is pooled over all groups, as four candidates say little about it; what the group's own candidates differ
    by, beyond that noise, is its signal. Most seeds go where the noise drowns the signal, none where it does not.
    """
    pooled = math.fsum(noise(t) ** 2 for t in groups.values()) / max(1, len(groups))
    wanted = {}
    for name, table in groups.items():
        between, _ = _mean_squares(table)
        signal = max(0.0, (between - pooled) / len(table[0]))
        single = signal / (signal + pooled) if signal + pooled > 0 else 1.0
        wanted[name] = max(0, seeds_needed(single, target=target, most=most) - len(table[0]))
    return wanted


def _mean_squares(table: Table) -> tuple[float, float]:
    """Mean squares between and within candidates (one-way analysis of variance)."""
    _check(table)
    rows, width = len(table), len(table[0])
    means = [_mean(row, range(width)) for row in table]
    grand = math.fsum(means) / rows
    between = width * math.fsum((m - grand) ** 2 for m in means) / (rows - 1)
    within = math.fsum((x - m) ** 2 for row, m in zip(table, means, strict=True) for x in row) / (rows * (width - 1))
    return between, within


def _check(table: Table) -> None:
    widths = {len(row) for row in table}
    if len(table) < 2 or len(widths) != 1 or min(widths) < 2:
        raise InputError(
            f"{len(table)} candidates with {sorted(widths)} rewards each; expected two or more candidates, "
            "each with the same two or more seeds"
        )


def _mean(row: Sequence[float], columns: Sequence[int]) -> float:
    return math.fsum(row[c] for c in columns) / len(columns)


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson's; 0.0 where one side does not vary."""
    places = range(len(one))
    mean_one, mean_other = _mean(one, places), _mean(other, places)
    x, y = [v - mean_one for v in one], [v - mean_other for v in other]
    scale = math.sqrt(math.fsum(v * v for v in x)) * math.sqrt(math.fsum(v * v for v in y))
    return math.fsum(a * b for a, b in zip(x, y, strict=True)) / scale if scale > 0 else 0.0
