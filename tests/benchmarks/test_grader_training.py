"""The grader's training: the package's own trees say what scikit-learn's say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.grader import fit, to_trees
from seal_memory.quizzes.grader import Trees
from seal_memory.quizzes.grader_features import FEATURES


@pytest.mark.parametrize("seed", [0, 1])
def test_exported_trees_give_the_probabilities_of_the_fitted_ones(seed: int) -> None:
    """Also after a file, and for values that equal a threshold; leaves are rounded to four digits."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 7, (300, len(FEATURES))) / 7
    y = (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(0, 0.2, 300) > 0.8).astype(int)
    model = fit(x, y, seed=seed)
    stored = json.loads(json.dumps(to_trees(model).to_json()))
    trees = Trees.from_json(stored)
    assert trees.names == FEATURES
    assert trees.probabilities(x) == pytest.approx(model.predict_proba(x)[:, 1], abs=1e-3)
    assert np.ptp(trees.probabilities(x)) > 0.5


def test_the_same_seed_grows_the_same_trees() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((200, len(FEATURES))), rng.integers(0, 2, 200)
    assert to_trees(fit(x, y, seed=3)).to_json() == to_trees(fit(x, y, seed=3)).to_json()
