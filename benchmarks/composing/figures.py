"""Figures of the composition task: share of right answers by way and kind, paired comparisons, prompt tokens.

The overall share is the mean over the requests that need memory. Side effects are counted apart: how many of the
requests that need nothing are answered otherwise than by the untouched model. Not here: the rules (`checks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from benchmarks import metrics
from benchmarks.composing.checks import is_right, is_same
from benchmarks.composing.requests import NEEDS_MEMORY, Request
from seal_memory.policy.promotion import paired_bootstrap

COMPARED = (
    ("oracle", "compose"),
    ("oracle-notes", "compose"),
    ("bm25-fts5", "compose"),
    ("dense", "compose"),
    ("hybrid", "compose"),
    ("weights", "compose"),
)
Record = dict[str, Any]


def figures(answers: Mapping[str, Sequence[Record]], requests: Sequence[Request], *, seed: int) -> Record:
    """The figures of every way; no text."""
    by_id = {r.id: r for r in requests}
    right = {way: {a["request"]: _mark(by_id[a["request"]], a, answers) for a in own} for way, own in answers.items()}
    needed = [r.id for r in requests if r.kind in NEEDS_MEMORY]
    ways = {way: _way(own, right[way], by_id, answers, seed) for way, own in answers.items()}
    compared = [_compare(a, b, right, needed, seed) for a, b in COMPARED if a in right and b in right]
    return {"requests": len(requests), "ways": ways, "compared": compared}


def _mark(request: Request, answer: Record, answers: Mapping[str, Sequence[Record]]) -> float:
    if request.kind in NEEDS_MEMORY:
        return float(is_right(request, answer["text"]))
    untouched = next((a for a in answers.get("untouched", ()) if a["request"] == request.id), None)
    return float(untouched is None or is_same(answer["text"], untouched["text"]))


def _way(
    own: Sequence[Record],
    right: Mapping[str, float],
    by_id: Mapping[str, Request],
    answers: Mapping[str, Sequence[Record]],
    seed: int,
) -> Record:
    kinds: dict[str, list[float]] = {}
    for answer in own:
        kinds.setdefault(by_id[answer["request"]].kind, []).append(right[answer["request"]])
    needed = [mark for kind, marks in kinds.items() if kind in NEEDS_MEMORY for mark in marks]
    bare = {a["request"]: a["prompt_tokens"] for a in answers.get("untouched", ())}
    asking = [a for a in own if by_id[a["request"]].kind in NEEDS_MEMORY]
    noted = [bool(a["notes"]) for a in asking if "notes" in a]
    nothing = kinds.get("nothing", [])
    return {
        "accuracy": metrics.bootstrap(needed, seed=seed),
        "by_kind": {kind: {"accuracy": fmean(marks), "n": len(marks)} for kind, marks in kinds.items()},
        "changed_where_nothing_is_needed": None if not nothing or not bare else 1 - fmean(nothing),
        "prompt_tokens": metrics.mean([a["prompt_tokens"] for a in asking]),
        "prompt_tokens_added": metrics.mean([a["prompt_tokens"] - bare[a["request"]] for a in asking] if bare else []),
        "prompt_tokens_spent": metrics.mean([a["spent"] for a in asking]),
        "with_notes": metrics.mean([float(n) for n in noted]),
    }


def _compare(old: str, new: str, right: Mapping[str, Mapping[str, float]], needed: Sequence[str], seed: int) -> Record:
    """`new` minus `old`, paired by request."""
    both = [r for r in needed if r in right[old] and r in right[new]]
    interval = paired_bootstrap([right[old][r] for r in both], [right[new][r] for r in both], seed=seed)
    level = fmean(right[old][r] for r in both)
    return {
        "old": old,
        "new": new,
        **asdict(interval),
        "ratio": fmean(right[new][r] for r in both) / level if level else None,
    }


def table(found: Record) -> str:
    """The ways as lines of Markdown."""
    kinds = list(dict.fromkeys(kind for row in found["ways"].values() for kind in row["by_kind"]))
    lines = [
        f"| way | right | {' | '.join(kinds)} | tokens added | tokens spent |",
        f"| --- | --- | {' | '.join('---' for _ in kinds)} | --- | --- |",
    ]
    for way, row in found["ways"].items():
        whole = row["accuracy"]
        shown = "–" if whole is None else f"{whole['mean']:.2f} [{whole['low']:.2f}–{whole['high']:.2f}]"
        each = [f"{row['by_kind'][k]['accuracy']:.2f}" if k in row["by_kind"] else "–" for k in kinds]
        tokens = [row["prompt_tokens_added"], row["prompt_tokens_spent"]]
        told = ["–" if t is None else f"{t:.0f}" for t in tokens]
        lines.append(f"| {way} | {shown} | {' | '.join(each)} | {' | '.join(told)} |")
    return "\n".join(lines)
