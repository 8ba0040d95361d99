"""Results file of a speed run, from the parts' journals, and the targets ("bars") of its figures. No torch.

Unfinished parts, and bars of parts that were not run, are left out; of several baselines the fastest counts.
`report/FORMAT.md` describes the file. Not here: running (`command`, `parts`), showing (`benchmarks.report`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.journal import finished
from benchmarks.speed.options import PARTS

FORMAT = 1
WHOLE = "part"  # the step that holds a part's figures


def journal_path(work: Path, part: str) -> Path:
    """Where a part's journal lies."""
    return work / f"{part}.jsonl"


def results(work: Path) -> dict[str, Any]:
    """The results file of everything in the work folder."""
    parts: dict[str, Any] = {}
    heads: list[Mapping[str, Any]] = []
    for part in PARTS:
        path = journal_path(work, part)
        found = _part(path) if path.exists() else None
        if found is not None:
            head, parts[part] = found
            heads.append(head)
    return {
        "format": FORMAT,
        "experiment": "speed",
        "provenance": _provenance(heads, parts),
        "bars": bars(parts),
        "parts": parts,
    }


def write(work: Path, out: Path) -> dict[str, Any]:
    """Write the results file, whole, and return what is in it."""
    found = results(work)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    temporary.replace(out)
    return found


def _part(path: Path) -> tuple[Mapping[str, Any], dict[str, Any]] | None:
    """A part's head and figures; None while it is not finished."""
    head, *records = finished(path)
    steps = [r for r in records if r["kind"] == "figures"]
    whole = [r["figures"] for r in steps if r["step"] == WHOLE]
    if not whole:
        return None
    more = {
        "peak_memory_bytes": max(r["peak"] for r in steps),
        "wall_seconds": sum(r["seconds"] for r in records if r["kind"] == "took"),
        "commits": sorted({r["commit"] for r in steps if r["commit"]}),
        "options": head["options"],
        "started": head["provenance"]["started"],
        "threads": head["provenance"]["threads"],
    }
    return head, {**whole[0], **more}


def _provenance(heads: list[Mapping[str, Any]], parts: Mapping[str, Any]) -> dict[str, Any]:
    """The newest part's; flags are each part's own."""
    if not heads:
        return {}
    newest = max(heads, key=lambda h: str(h["provenance"]["started"]))
    return {
        **newest["provenance"],
        "data_sha256": next((h["data_sha256"] for h in heads if h["data_sha256"]), None),
        "seeds": sorted({h["options"]["seed"] for h in heads}),
        "wall_seconds": sum(p["wall_seconds"] for p in parts.values()),
        "commits": sorted({c for p in parts.values() for c in p["commits"]}),
    }


Bar = dict[str, Any]
Figures = Mapping[str, Any]

LONG, SHORT = 1000, 10  # memories
BAR_CANDIDATES, BAR_RANK = 8, 32
GIGABYTE = 1e9


def bars(parts: Mapping[str, Figures]) -> list[Bar]:
    """Every bar that the parts' figures say something about, in the order of the parts."""
    found: list[Bar] = []
    for part, judge in _OF_PART.items():
        if part in parts:
            found += judge(parts[part])
    return found


def _bar(part: str, name: str, wanted: float, reached: float, *, at_most: bool = False, unit: str = "×") -> Bar:
    met = reached <= wanted if at_most else reached >= wanted
    return {
        "part": part,
        "name": name,
        "wanted": wanted,
        "at_most": at_most,
        "unit": unit,
        "reached": reached,
        "met": bool(met),
    }


def _grading(figures: Figures) -> list[Bar]:
    return [
        _bar("grading", "grading a candidate, against SEAL's padded recipe", 60.0, _least(figures, "padded")),
        _bar("grading", "grading a candidate, against plain PEFT without padding", 3.0, _least(figures, "plain")),
    ]


def _least(figures: Figures, way: str) -> float:
    return float(min(figures[f"times_faster_than_{way}"].values()))


def _training(figures: Figures) -> list[Bar]:
    cells = [c for c in figures["cells"] if c["candidates"] == BAR_CANDIDATES]
    if not cells:
        return []
    shortest = min(c["length"] for c in cells)
    cell = min((c for c in cells if c["length"] == shortest), key=lambda c: abs(c["rank"] - BAR_RANK))
    name = f"share of the matrix-product peak, K = 8, rows of ~{shortest} tokens, rank {cell['rank']}"
    return [_bar("training", name, 55.0, 100 * cell["share_of_peak"], unit="%")]


def _rollouts(figures: Figures) -> list[Bar]:
    """For notes, and for answers by the base and by one adapter: an answer from the weights has one."""
    wanted, kinds = (
        {64: 4.0, 1: 1.0},
        {"notes": "notes", "sampled": "sampled notes", "base": "answers of the base", "one": "answers of one adapter"},
    )
    return [
        _bar("rollouts", f"rollouts, against transformers.generate, batch {batch}, {said}", least, cell["times_faster"])
        for batch, least in wanted.items()
        for kind, said in kinds.items()
        for cell in figures["cells"]
        if cell["batch"] == batch and cell["kind"] == kind
    ]


def _consolidate(figures: Figures) -> list[Bar]:
    sizes = {s["memories"]: s for s in figures["sizes"]}
    found: list[Bar] = []
    if LONG in sizes and SHORT in sizes:
        ratio = sizes[LONG]["seconds_per_memory"] / sizes[SHORT]["seconds_per_memory"]
        name = f"seconds per new memory at {LONG:,} memories, against {SHORT}"
        found.append(_bar("consolidate", name, 1.3, ratio, at_most=True))
    if not sizes:
        return found
    largest = sizes[max(sizes)]
    at = f"at {largest['memories']:,} memories"
    found.append(
        _bar("consolidate", f"a passage consolidated {at}", 5.0, largest["seconds_per_memory"], at_most=True, unit="s")
    )
    first = largest["first_token_seconds"]
    if "rag-5" in first:
        name = f"first token from the weights, against BM25 with 5 chunks, {at}"
        found.append(_bar("consolidate", name, 3.0, first["rag-5"] / first["weights"]))
    return found


def _memory(figures: Figures) -> list[Bar]:
    reached = figures["peak_memory_bytes"] / GIGABYTE
    return [_bar("memory", "peak memory with default settings", 4.0, reached, at_most=True, unit="GB")]


_OF_PART: dict[str, Callable[[Figures], list[Bar]]] = {
    "grading": _grading,
    "training": _training,
    "rollouts": _rollouts,
    "consolidate": _consolidate,
    "memory": _memory,
}
