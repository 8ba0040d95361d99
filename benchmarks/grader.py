"""Training and cross-validation of the local grader.

python -m benchmarks.grader evaluate --data FILE
python -m benchmarks.grader train --data FILE --out seal_memory/data/grader.json

The data: JSON lines of {question, gold, answer, correct}, verdicts of GPT-4.1. `evaluate` cross-validates with all
answers to one question in one fold, so that no question is in both training and test; the table goes to standard error,
the last line of standard output is one JSON object. `train` fits on all rows, deterministically. The trees are
scikit-learn's histogram gradient boosting, stored in the package's own format, which needs no scikit-learn to read.
Not here: choosing hyperparameters (the constants below were chosen by cross-validation).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from seal_memory.errors import InputError
from seal_memory.language.metrics import contains, token_f1
from seal_memory.quizzes.grader import Trees, grade_answers
from seal_memory.quizzes.grader_features import DIRECTIONS, FEATURES, features

Row = tuple[str, str, str]
Array = np.ndarray[Any, np.dtype[Any]]
DEPTH = 4  # of a tree
NO_SPLIT = 1e30  # a threshold that sends every row to the left
F1_THRESHOLD = 0.5
STRICT = (0.6, 0.7, 0.8)  # thresholds for uses where accepting a wrong answer is costly


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and run one of the two commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grader", description=__doc__)
    parser.add_argument("command", choices=["evaluate", "train"])
    parser.add_argument("--data", type=Path, required=True, help="JSON lines of {question, gold, answer, correct}")
    parser.add_argument("--seed", type=int, default=0, help="of the folds (evaluate) or of the trees (train)")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--out", type=Path, help="where `train` writes the trees")
    given = parser.parse_args(argv)
    if given.command == "train" and given.out is None:
        parser.error("train needs --out FILE, the place for the trees")
    rows, verdicts = read_verdicts(given.data)
    if given.command == "train":
        text = json.dumps(train(rows, verdicts, seed=given.seed).to_json(), separators=(",", ":"))
        given.out.write_text(text + "\n", encoding="utf-8")
        result: dict[str, Any] = {"rows": len(rows), "bytes": len(text) + 1, "out": str(given.out)}
    else:
        result = evaluate(rows, verdicts, folds=given.folds, seed=given.seed)
        print(table(result), file=sys.stderr)
    print(json.dumps(result))
    return 0


def read_verdicts(path: Path) -> tuple[list[Row], Array]:
    """The rows (question, gold, answer) and their verdicts, 0 or 1."""
    try:
        stored = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = [(r["question"], r["gold"], r["answer"]) for r in stored]
        return rows, np.array([int(r["correct"]) for r in stored])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected JSON lines of {{question, gold, answer, correct}}; give such a file ({error!r})"
        ) from error


def compute(rows: Sequence[Row]) -> Array:
    """The features of all rows, (R, F)."""
    return np.array([features(*row) for row in rows], dtype=np.float64)


def train(rows: Sequence[Row], verdicts: Array, *, seed: int = 0) -> Trees:
    """Trees on all rows given."""
    return to_trees(fit(compute(rows), verdicts, seed=seed))


def fit(x: Array, y: Array, *, seed: int = 0) -> HistGradientBoostingClassifier:
    """Boosted trees for rows x (R, F) and verdicts y (R,) of 0 and 1; deterministic for a seed."""
    model = HistGradientBoostingClassifier(
        max_iter=120,
        learning_rate=0.05,
        max_depth=DEPTH,
        max_leaf_nodes=None,
        min_samples_leaf=10,
        l2_regularization=2.0,
        max_features=0.2,
        max_bins=32,
        monotonic_cst=list(DIRECTIONS),
        early_stopping=False,
        random_state=seed,
    )
    return model.fit(x, y)


def to_trees(model: HistGradientBoostingClassifier) -> Trees:
    """The trees as complete trees of `DEPTH`; a leaf above the last level goes to the left end of its subtree."""
    grown = [_complete(tree.nodes) for (tree,) in model._predictors]
    feature, threshold, leaf = (np.array(part) for part in zip(*grown, strict=True))
    return Trees(FEATURES, _rounded(model._baseline_prediction.item()), feature, threshold, leaf)


def _complete(nodes: Array) -> tuple[list[int], list[float], list[float]]:
    """Feature and threshold of every split and step of every leaf, level by level."""
    inner = 2**DEPTH - 1
    feature, threshold, leaf = [0] * inner, [NO_SPLIT] * inner, [0.0] * (inner + 1)
    places = [(0, 0)]  # node in the complete tree, node of scikit-learn's
    while places:
        place, number = places.pop()
        node = nodes[number]
        if place >= inner:
            leaf[place - inner] = _rounded(node["value"])
        elif node["is_leaf"]:
            places.append((2 * place + 1, number))
        else:
            feature[place], threshold[place] = int(node["feature_idx"]), float(node["num_threshold"])
            places += [(2 * place + 1, int(node["left"])), (2 * place + 2, int(node["right"]))]
    return feature, threshold, leaf


def _rounded(step: float) -> float:
    """Round to four significant digits, for a small file. Thresholds stay exact: some equal a feature's value."""
    return float(f"{step:.4g}")


def folds_by_question(rows: Sequence[Row], folds: int, seed: int) -> Array:
    """A fold number per row; all rows of one question share it."""
    questions = sorted({question for question, _, _ in rows})
    if not 2 <= folds <= len(questions):
        raise InputError(f"{folds} folds: expected 2 to {len(questions)}, the number of questions; change --folds")
    order = np.random.default_rng(seed).permutation(len(questions)) % folds
    fold_of = dict(zip(questions, order, strict=True))
    return np.array([fold_of[question] for question, _, _ in rows])


def out_of_fold(rows: Sequence[Row], verdicts: Array, *, folds: int, seed: int) -> Array:
    """The grader's probability for each row, from trees not trained on its question."""
    fold, x = folds_by_question(rows, folds, seed), compute(rows)
    found = np.zeros(len(rows))
    for k in range(folds):
        trees = to_trees(fit(x[fold != k], verdicts[fold != k]))
        held_out = np.flatnonzero(fold == k)
        found[held_out] = [j.probability for j in grade_answers([rows[i] for i in held_out.tolist()], trees=trees)]
    return found


def evaluate(rows: Sequence[Row], verdicts: Array, *, folds: int, seed: int) -> dict[str, Any]:
    """Cross-validated figures of the grader, and those of the two plain rules (containment, F1)."""
    found = out_of_fold(rows, verdicts, folds=folds, seed=seed)
    inside = np.array([contains(answer, gold) for _, gold, answer in rows])
    overlap = np.array([token_f1(answer, gold) for _, gold, answer in rows])
    return {
        "rows": len(rows),
        "questions": len({question for question, _, _ in rows}),
        "folds": folds,
        "seed": seed,
        "grader": figures(found >= 0.5, verdicts) | calibration(found, verdicts),
        **{f"p>={t}": figures(found >= t, verdicts) for t in STRICT},
        "contains": figures(inside, verdicts),
        f"f1>={F1_THRESHOLD}": figures(overlap >= F1_THRESHOLD, verdicts),
    }


def figures(said: Array, verdicts: Array) -> dict[str, float]:
    """Agreement, precision, recall, F1 and the confusion matrix; `correct` is the positive class."""
    truth = verdicts.astype(bool)
    tp, fp = int((said & truth).sum()), int((said & ~truth).sum())
    fn, tn = int((~said & truth).sum()), int((~said & ~truth).sum())
    return {
        "agreement": round((tp + tn) / len(truth), 4),
        "precision": round(tp / max(1, tp + fp), 4),
        "recall": round(tp / max(1, tp + fn), 4),
        "f1": round(2 * tp / max(1, 2 * tp + fp + fn), 4),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
    }


def calibration(found: Array, verdicts: Array) -> dict[str, float]:
    """Expected calibration error over ten equal bins, and the Brier score."""
    place = np.minimum((found * 10).astype(int), 9)
    gaps = [
        abs(found[place == k].mean() - verdicts[place == k].mean()) * (place == k).mean()
        for k in range(10)
        if (place == k).any()
    ]
    return {"ece": round(float(sum(gaps)), 4), "brier": round(float(((found - verdicts) ** 2).mean()), 4)}


def table(result: dict[str, Any]) -> str:
    """The figures as a text table."""
    columns = ("agreement", "precision", "recall", "f1", "ece", "tp", "fp", "fn", "tn")
    lines = [f"{result['rows']} rows, {result['questions']} questions, {result['folds']} folds by question"]
    lines.append(f"{'':10}" + "".join(f"{c:>11}" for c in columns))
    for name, row in result.items():
        if isinstance(row, dict):
            lines.append(f"{name:10}" + "".join(f"{row.get(c, '-'):>11}" for c in columns))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
