"""Statistics: means with bootstrap intervals, and times.

Not here: grading an answer (`seal_memory.quizzes`), retention matrices (`seal_memory.forgetting.retention`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

RESAMPLES = 2000


def bootstrap(values: Sequence[float], *, seed: int = 0, level: float = 0.95) -> dict[str, float] | None:
    """Mean with a bootstrap percentile interval (Efron 1979); None without values.

    Values must be independent draws: for questions that share a passage, give each passage's mean.
    """
    if not values:
        return None
    data = np.asarray(values, dtype=np.float64)
    low = high = float(data.mean())
    if len(data) > 1:  # with one value, the interval is the value
        options = {"n_resamples": RESAMPLES, "confidence_level": level, "method": "percentile"}
        found = stats.bootstrap((data,), np.mean, rng=np.random.default_rng(seed), **options)
        low, high = map(float, found.confidence_interval)
    return {"mean": float(data.mean()), "low": low, "high": high, "n": len(values)}


def times(seconds: Sequence[float]) -> dict[str, float] | None:
    """Median and 95th percentile, in seconds."""
    if not seconds:
        return None
    return {
        "median": float(np.median(seconds)),
        "p95": float(np.quantile(np.asarray(seconds), 0.95)),
        "n": len(seconds),
    }


def mean(values: Sequence[float]) -> float | None:
    """Arithmetic mean; None without values."""
    return float(np.mean(values)) if values else None
