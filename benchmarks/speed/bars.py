"""The bars that the figures are held against (issue 4), and what was reached of them.

A bar whose part was not run is not there; of several baselines the fastest one counts. Not here: measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
