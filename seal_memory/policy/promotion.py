"""Promotion: a new note-writer replaces the old one only if it writes better about validation episodes.

Neither was trained on those. Both write about the same interactions with the same sampling seed, the notes of both are
trained with the same seeds in one stack, and the differences, one per interaction, go through a paired bootstrap (Efron
1979). The lower bound must be above 0. Not here: training writers (`note_writer`), storing them (`versions`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from seal_memory.errors import InputError
from seal_memory.learning.candidates import Study
from seal_memory.policy.schedule import MIN_VALIDATION_EPISODES

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its percentile interval over `pairs` differences."""

    mean: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """Whether the new writer is promoted, why, and the figures."""

    accepted: bool
    reasons: tuple[str, ...]
    measures: dict[str, float]


def paired_bootstrap(
    old: Sequence[float], new: Sequence[float], *, seed: int, level: float = 0.95, resamples: int = RESAMPLES
) -> Interval:
    """The mean of `new - old` and its interval over resampled pairs.

    Raises `InputError` for no pairs, sides of two lengths, or a value that is not finite.
    """
    if len(old) != len(new) or not old:
        raise InputError(f"{len(old)} old and {len(new)} new rewards; expected as many of both, at least one")
    differences = [n - o for o, n in zip(old, new, strict=True)]
    if not all(math.isfinite(d) for d in differences):
        raise InputError("a paired reward is not finite; expected numbers")
    rng = random.Random(seed)
    count = len(differences)
    means = sorted(math.fsum(rng.choices(differences, k=count)) / count for _ in range(resamples))
    edge = (1 - level) / 2
    low, high = means[int(edge * (resamples - 1))], means[math.ceil((1 - edge) * (resamples - 1))]
    return Interval(math.fsum(differences) / count, low, high, count)


def decide(old: Sequence[float], new: Sequence[float], *, seed: int) -> Promotion:
    """The verdict over paired rewards of the old and the new writer."""
    if len(old) < MIN_VALIDATION_EPISODES:
        reason = (
            f"{len(old)} interactions can validate the new note-writer; at least {MIN_VALIDATION_EPISODES} are needed."
        )
        return Promotion(False, (reason,), {"pairs": float(len(old))})
    found = paired_bootstrap(old, new, seed=seed)
    measures = {
        "pairs": float(found.pairs),
        "reward_old": math.fsum(old) / len(old),
        "reward_new": math.fsum(new) / len(new),
        "gain": found.mean,
        "gain_low": found.low,
        "gain_high": found.high,
    }
    shown = f"{found.mean:+.3f} (95 % interval {found.low:+.3f} to {found.high:+.3f}, {found.pairs} interactions)"
    if found.low > 0:
        return Promotion(True, (f"The new note-writer's reward is {shown} over the old one's.",), measures)
    return Promotion(False, (f"The new note-writer's reward is {shown}: the lower bound must be above 0.",), measures)


def unseen(studies: Sequence[Study], trained_on: Collection[str]) -> list[Study]:
    """The studies without an interaction in `trained_on`: only they may validate."""
    seen = set(trained_on)
    return [s for s in studies if not seen.intersection(s.episode.interaction_ids)]
