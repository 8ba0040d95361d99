"""From the parts' journals to one results file, described in `report/FORMAT.md`. Imports no torch.

A part that is not finished is not in the file. Not here: running (`command`, `child`), showing (`benchmarks.report`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.journal import finished
from benchmarks.speed.bars import bars
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
