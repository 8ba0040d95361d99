"""Peak memory with the default settings: a full stack of shards trained at once, then questions in every mode.

The part runs in a process of its own, so that what the system counted for the process is what this takes, the base
model, Python and torch included. The peaks of the other parts are in their own rows. Not here: disk.
"""

from __future__ import annotations

import shutil
import time

from benchmarks.speed.bench import Bench, Figures
from seal_memory.memory import SealMemory


def run(bench: Bench) -> Figures:
    """What was learned and asked; the peak itself is taken from outside."""
    return bench.step("consolidate and ask", lambda: _use(bench))


def _use(bench: Bench) -> Figures:
    folder = bench.work / "memory"
    shutil.rmtree(folder, ignore_errors=True)
    units = bench.passages(bench.options.memory_passages)
    asked = [q.text for unit in units for q in unit.questions]
    began = time.perf_counter()
    try:
        with SealMemory.open(folder, model=bench.options.model, settings=bench.settings, engine=bench.engine) as memory:
            for unit in units:
                chunk = unit.chunks[0]
                memory.observe(chunk.text, role=chunk.role, title=chunk.title, source=chunk.source)
            report = memory.consolidate()
            for mode in ("weights", "retrieval", "hybrid"):
                memory.ask(asked, mode=mode)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    counts = {"episodes": report.episodes, "published": report.published, "refused": report.refused}
    settings = {"candidates": bench.settings.candidates, "stack_size": bench.settings.stack_size}
    return {
        "passages": len(units),
        "questions": len(asked),
        **counts,
        **settings,
        "seconds": time.perf_counter() - began,
    }
