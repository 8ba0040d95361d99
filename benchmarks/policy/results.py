"""Results file of a policy run: recall of every way with its interval, paired comparisons, reliability, versions.

Figures only, no text of passages or notes. Comparisons are paired by passage, the independent draw.
Not here: running (`run`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import metrics
from benchmarks.policy.measuring import Answers, by_unit
from benchmarks.policy.options import SEAL, Options
from seal_memory.policy.promotion import paired_bootstrap

FIGURES = ("correct", "f1", "recall")
Record = dict[str, Any]


def figures(found: Mapping[str, Any], options: Options, *, provenance: Mapping[str, Any]) -> Record:
    """The content of the file; `found`: the result of `Run.all`."""
    answers: dict[str, Answers] = found["answers"]
    ways = {name: _way(own, options.seed) for name, own in answers.items()}
    last = [name for name in answers if name.startswith(("after round", "after bootstrap"))][-1:]
    pairs = [("before", name) for name in answers if name.startswith("after ")]
    pairs += [("text-only", "before"), *(("text-only", name) for name in last), ("default arm", "bandit only")]
    pairs += [("recipe: before", "recipe: after"), ("recipe: oracle", "recipe: after")]
    pairs += [("recipe: after, greedily", "recipe: after")]
    pairs += [(f"before: {n}", f"after: {n}") for n in _genres(answers)]
    return {
        "format": 1,
        "experiment": "policy",
        "task": "squad",
        "options": {k: v.name if isinstance(v, Path) else v for k, v in asdict(options).items()},
        "ways": ways,
        "compared": [
            compare(answers[a], answers[b], names=(a, b), seed=options.seed)
            for a, b in pairs
            if answers.get(a) and answers.get(b)
        ],
        "rounds": found["steps"],
        "reliability": [s.get("reliability") for s in found["steps"] if s.get("reliability")],
        "seal": SEAL,
        "bandit": found["bandit"],
        "provenance": dict(provenance),
    }


def compare(old: Answers, new: Answers, *, names: tuple[str, str], seed: int) -> Record:
    """Each figure's difference paired over the passages that both answered; gain as a share of the old mean."""
    row: Record = {"old": names[0], "new": names[1]}
    for figure in FIGURES:
        before, after = by_unit(old, figure), by_unit(new, figure)
        units = sorted(set(before) & set(after))
        interval = paired_bootstrap([before[u] for u in units], [after[u] for u in units], seed=seed)
        level = sum(before[u] for u in units) / len(units)
        row[figure] = {**asdict(interval), "relative": interval.mean / level if level > 0 else None}
    return row


def write(found: Record, path: Path) -> Record:
    """Write the file atomically; returns its `last_line`."""
    write_whole(found, path)
    return last_line(found, path)


def write_whole(found: Record, path: Path) -> None:
    """Write results as JSON, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def last_line(found: Record, path: Path) -> Record:
    """A summary of the run for the last line of standard output."""
    gains = [c for c in found["compared"] if c["old"] == "before"]
    return {
        "out": str(path),
        "complete": True,
        "recall": {name: _rounded(way["recall"]) for name, way in found["ways"].items()},
        "accuracy": {name: _rounded(way["correct"]) for name, way in found["ways"].items()},
        "gain": {c["new"]: {k: c["recall"][k] for k in ("mean", "low", "high", "relative")} for c in gains},
        "promoted": [r["round"] for r in found["rounds"] if r.get("promoted")],
        "reliability": [{k: r[k] for k in ("single", "split_half")} for r in found["reliability"]],
    }


def _way(answers: Answers, seed: int) -> Record:
    """Figures of one way; intervals are over passages, since questions of one passage are not independent."""
    row: Record = {f: metrics.bootstrap(list(by_unit(answers, f).values()), seed=seed) for f in FIGURES}
    return {**row, "questions": len({a["question"] for a in answers}), "notes": _notes(answers)}


def _notes(answers: Answers) -> float | None:
    """Mean number of notes a passage was trained with."""
    return metrics.mean(list(by_unit(answers, "notes").values()))


def _genres(answers: Mapping[str, Answers]) -> Sequence[str]:
    return [name.removeprefix("before: ") for name in answers if name.startswith("before: ")]


def _rounded(interval: Mapping[str, float] | None) -> float | None:
    return round(interval["mean"], 4) if interval else None
