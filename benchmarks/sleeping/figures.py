"""Figures of every way from a journal: accuracy with its interval, the router's, drift, seconds, bytes; and a table.

Not here: asking (`world`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import metrics
from benchmarks.sleeping.world import is_right
from benchmarks.tasks.base import Question

HALF, WHOLE = "core-half", "core-anchor"
Record = dict[str, Any]


def of_size(records: Sequence[Record], questions: Sequence[Question], *, seed: int) -> Record:
    """The figures of one size, from its records; no text."""
    by_id = {q.id: q for q in questions}
    learned = next(r for r in records if r["kind"] == "learn")
    told = {r["way"]: r for r in records if r["kind"] == "way"}
    ways = {way: _way(r, by_id, seed) for way, r in told.items()}
    return {
        "learned": {k: v for k, v in learned.items() if k not in ("kind", "step")},
        "questions": len(questions),
        "ways": ways,
        **({"core_bwt": _backward(told[HALF], told[WHOLE], by_id, seed)} if {HALF, WHOLE} <= told.keys() else {}),
    }


def _backward(half: Record, whole: Record, questions: Mapping[str, Question], seed: int) -> Record | None:
    """Backward transfer: accuracy on the first half's questions of the whole core minus the half's core."""
    right = {a["question"]: float(is_right(questions[a["question"]], a["text"])) for a in whole["answers"]}
    return metrics.bootstrap(
        [right[a["question"]] - is_right(questions[a["question"]], a["text"]) for a in half["answers"]], seed=seed
    )


def _way(record: Record, questions: Mapping[str, Question], seed: int) -> Record:
    answers = record["answers"]
    right = [float(is_right(questions[a["question"]], a["text"])) for a in answers]
    first = [float(a["first"]) for a in answers if a["first"] is not None]
    return {
        "accuracy": metrics.bootstrap(right, seed=seed),
        "router_first": metrics.mean(first),
        "perplexity_increase": record["perplexity_increase"],
        "training_seconds": record["seconds"],
        "seconds_per_question": record["answering_seconds"] / max(1, len(answers)),
        "bytes": record["bytes"],
        **{k: record[k] for k in ("tokens", "strength", "settings", "topics", "reached") if k in record},
    }


def table(sizes: Mapping[str, Record]) -> str:
    """The ways as lines of Markdown."""
    lines = [
        "| episodes | way | questions | accuracy | router | perplexity change | training s | s each | MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size, found in sizes.items():
        for way, row in found["ways"].items():
            mean = row["accuracy"]["mean"] if row["accuracy"] else float("nan")
            routed = "–" if row["router_first"] is None else f"{row['router_first']:.2f}"
            lines.append(
                f"| {size} | {way} | {found['questions']} | {mean:.2f} | {routed} | {row['perplexity_increase']:+.1%} "
                f"| {row['training_seconds']:.0f} | {row['seconds_per_question']:.2f} | {row['bytes'] / 1e6:.1f} |"
            )
    return "\n".join(lines)
