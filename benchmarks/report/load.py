"""Reads and validates the results files of a folder; the first error names its file and key.

Files without "format" (older, or of other tools) are counted, not read. Keys unknown to FORMAT.md are ignored, so that
newer results do not break an older report. Not here: the meaning of the figures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import nodes, policy, speed
from benchmarks.report.nodes import Node
from benchmarks.report.records import EXPERIMENTS, TASKS, Kind, Matrix, Point, Results, Row, Stat, Times, Way
from benchmarks.report.sheets import Sheet
from seal_memory.errors import InputError

FORMAT = 1
SHEETS = {policy.NAME: policy.read, speed.NAME: speed.read}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Results in the order of EXPERIMENTS and TASKS, how many JSON files had no format, and sheets as in SHEETS."""

    results: tuple[Results, ...]
    left_out: int
    sheets: tuple[Sheet, ...] = ()


def load(folder: Path) -> Loaded:
    """Every results file of a folder. Two files of one experiment and task are an error: which one would count?"""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one with the results files (--results)")
    read = [read_results(path) for path in sorted(folder.glob("*.json"))]
    found: dict[str, Results | Sheet] = {}
    for results in (r for r in read if r is not None):
        if results.name in found:
            both = f"{found[results.name].file} and {results.file}"
            raise InputError(f"{both} both hold {results.name}; keep one of them in the folder")
        found[results.name] = results
    own = (r for r in found.values() if isinstance(r, Results))
    ordered = sorted(own, key=lambda r: (EXPERIMENTS.index(r.experiment), TASKS.index(r.task)))
    sheets = [r for name in SHEETS if isinstance(r := found.get(name), Sheet)]
    return Loaded(tuple(ordered), sum(r is None for r in read), tuple(sheets))


def read_results(path: Path) -> Results | Sheet | None:
    """One file, or None when it has no format."""
    raw = _raw(path)
    if raw is None:
        return None
    top = Node(path, "", raw)
    sheet = SHEETS.get(str(raw.get("experiment")))
    return sheet(top) if sheet is not None else _results(top)


def _raw(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(raw, dict) or "format" not in raw:
        return None
    if raw["format"] != FORMAT or isinstance(raw["format"], bool):
        Node(path, "format", raw["format"]).fail(f"{FORMAT}, the one this report reads")
    return raw


def _results(top: Node) -> Results:
    return Results(
        file=top.file,
        experiment=top.need("experiment", nodes.one_of(EXPERIMENTS)),
        task=top.need("task", nodes.one_of(TASKS)),
        questions=top.get("questions", nodes.count),
        units=top.get("units", nodes.count),
        max_tokens=top.get("max_tokens", nodes.count),
        latency_sample=top.get("latency_sample", nodes.count),
        provenance={k: node.value for k, node in top.need("provenance", Node.entries).items()},
        ways=tuple(_way(name, node) for name, node in top.need("ways", Node.entries).items()),
    )


def _way(name: str, node: Node) -> Way:
    return Way(
        name=name,
        system=node.get("system", nodes.text),
        notes=node.get("notes", nodes.text),
        accuracy=node.get("accuracy", _stat),
        exact=node.get("exact", _stat),
        f1=node.get("f1", _stat),
        judged=node.get("judged", _stat),
        prompt_tokens=node.get("prompt_tokens", nodes.amount),
        generated_tokens=node.get("generated_tokens", nodes.amount),
        first_token_seconds=node.get("first_token_seconds", _times),
        answer_seconds=node.get("answer_seconds", _times),
        training_seconds=node.get("training_seconds", nodes.amount),
        training_tokens=node.get("training_tokens", nodes.amount),
        training_seconds_per_unit=node.get("training_seconds_per_unit", nodes.amount),
        peak_memory_bytes=node.get("peak_memory_bytes", nodes.amount),
        disk_bytes=node.get("disk_bytes", nodes.amount),
        evidence_accuracy=node.get("evidence_accuracy", nodes.share),
        perplexity=node.get("perplexity", nodes.perplexity),
        perplexity_base=node.get("perplexity_base", nodes.perplexity),
        by_kind={k: _kind(v) for k, v in (node.get("by_kind", Node.entries) or {}).items()},
        retention=node.get("retention", _matrix) or (),
        average_accuracy=node.get("average_accuracy", nodes.share),
        bwt=node.get("bwt", nodes.change),
        forgetting=node.get("forgetting", nodes.change),
        perplexity_by_session=node.get("perplexity_by_session", _perplexities) or (),
        points=node.get("points", _points) or (),
        new_value=node.get("new_value", _stat),
        old_value=node.get("old_value", _stat),
        before=node.get("before", _stat),
        after=node.get("after", _stat),
        never_saw=node.get("never_saw", _stat),
        kept_before=node.get("kept_before", _stat),
        kept_after=node.get("kept_after", _stat),
    )


def _stat(node: Node) -> Stat:
    stat = Stat(
        node.need("mean", nodes.share),
        node.get("low", nodes.share),
        node.get("high", nodes.share),
        node.get("n", nodes.count),
    )
    if (stat.low is None) != (stat.high is None) or (stat.low or 0) > (stat.high or 0):
        node.fail("low <= high, or neither")  # the mean of very skewed marks may lie outside a percentile interval
    return stat


def _times(node: Node) -> Times:
    return Times(node.need("median", nodes.amount), node.get("p95", nodes.amount), node.get("n", nodes.count))


def _kind(node: Node) -> Kind:
    return Kind(node.need("accuracy", nodes.share), node.get("n", nodes.count))


def _matrix(node: Node) -> Matrix:
    rows = tuple(tuple(_cell(cell) for cell in row.elements()) for row in node.elements())
    if any(len(row) != i + 1 for i, row in enumerate(rows)):
        node.fail("a lower triangle: row i has i + 1 numbers")
    return rows


def _cell(node: Node) -> float | None:
    return None if node.value is None else nodes.share(node)  # null: no such question holds any more, or nobody asked


def _perplexities(node: Node) -> Row:
    return tuple(None if e.value is None else nodes.perplexity(e) for e in node.elements())


def _points(node: Node) -> tuple[Point, ...]:
    points = tuple(_point(element) for element in node.elements())
    return tuple(sorted(points, key=lambda p: p.facts))


def _point(node: Node) -> Point:
    return Point(
        facts=node.need("facts", nodes.count),
        accuracy=node.get("accuracy", _stat),
        training_seconds_per_fact=node.get("training_seconds_per_fact", nodes.amount),
        prompt_tokens=node.get("prompt_tokens", nodes.amount),
        answer_seconds=node.get("answer_seconds", _times),
        first_token_seconds=node.get("first_token_seconds", _times),
        disk_bytes=node.get("disk_bytes", nodes.amount),
        evidence_accuracy=node.get("evidence_accuracy", nodes.share),
    )
