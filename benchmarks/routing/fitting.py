"""Fitting the learned router: logistic regression by Newton's method with a small ridge penalty.

A row is one hit of one question: label 1 if its episode holds the evidence, else 0 (always for unrelated questions).
Not here: features (`seal_memory.routing.features`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seal_memory.routing.features import FEATURES
from seal_memory.routing.rankers import Weights

RIDGE = 1e-4  # times the rows' weight
STEPS = 30
Rows = Sequence[tuple[tuple[float, ...], bool]]  # values in the order of FEATURES, right


def fit(rows: Rows) -> Weights:
    """The weights of all features."""
    x = np.array([[*values, 1.0] for values, _ in rows])
    y = np.array([float(right) for _, right in rows])
    found = _newton(x, y)
    *weights, bias = (round(float(b), 4) for b in found)
    return Weights(dict(zip(FEATURES, weights, strict=True)), bias)


def _newton(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    ridge = np.full(x.shape[1], RIDGE * len(x))
    ridge[-1] = 1e-9  # the bias is free
    beta = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ beta, -30, 30)))
        gradient = x.T @ (p - y) + ridge * beta
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        beta -= step
        if float(np.abs(step).max()) < 1e-8:
            break
    return beta
