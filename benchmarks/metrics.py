"""Figures from answers: means with bootstrap intervals, and times.

Not here: judging one answer (`seal_memory.quizzes`), what a retention matrix says (`seal_memory.forgetting.retention`),
running anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000


def bootstrap(values: Sequence[float], *, seed: int = 0, level: float = 0.95) -> dict[str, float] | None:
    """Mean and percentile interval over resampled questions; None of nothing (Efron 1979)."""
    if not values:
        return None
    data = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, len(data), (RESAMPLES, len(data)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return {"mean": float(data.mean()), "low": float(low), "high": float(high), "n": len(values)}


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
    """Arithmetic mean; None of nothing."""
    return float(np.mean(values)) if values else None
