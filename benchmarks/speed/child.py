"""One part in this process: its journal, its figures, and the most memory that the process ever held.

The command starts a process for each part, so that a part's peak memory is its own and nothing of another part is warm.
Not here: the command line (`command`), the results file (`results`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.harness.provenance import about
from benchmarks.speed import consolidating, grading, memory_use, peak, profiling, rollouts, training
from benchmarks.speed.bench import Bench, Figures
from benchmarks.speed.options import Options
from benchmarks.speed.results import WHOLE, journal_path

RUN: dict[str, Callable[[Bench], Figures]] = {
    "peak": peak.run,
    "grading": grading.run,
    "training": training.run,
    "rollouts": rollouts.run,
    "consolidate": consolidating.run,
    "memory": memory_use.run,
    "profile": profiling.run,
}


def run_part(part: str, options: Options, work: Path, *, note: str = "") -> Figures:
    """Measure what is not measured yet; a part that is done does nothing. Raises `InputError` as `Journal`."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    bench = Bench(part, options, work / part)
    where = about(options.model, bench.files.fingerprint, bench.hardware.base_dtype)
    bench.commit = where["commit"]
    head = {
        "part": part,
        "options": options.relevant(part),
        "fingerprint": bench.files.fingerprint,
        "data_sha256": bench.task.data_sha256 if part != "peak" else None,
        "provenance": {**where, "note": note},
    }
    bench.keep_in(journal_path(work, part), head)
    began = time.perf_counter()
    figures = bench.step(WHOLE, lambda: RUN[part](bench))
    bench.took(time.perf_counter() - began)
    return figures
