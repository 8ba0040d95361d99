"""Registry of the speed parts, run in this process; and two short parts: peak memory and the time profile.

The command starts a process for each part, so that its peak memory is its own and no cache is warm from another part.

- memory: a full stack of shards trained at once with the default settings, then questions in every mode. The peak is
  the one the system counted for the process: base model, Python and torch included.
- profile: shares of the wall time of a training step and of decoding, by kind of work. torch's profiler gives each
  operation's own time; the rest of the wall time is Python and waiting. The profiler slows every operation a little,
  so only shares are reported; the rates are in `training` and `rollouts`.

Not here: the command line (`command`), the results file (`results`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness.provenance import about
from benchmarks.speed import consolidating, grading, rollouts, training
from benchmarks.speed.bench import Bench, Figures, random_adapter
from benchmarks.speed.options import Options
from benchmarks.speed.results import WHOLE, journal_path
from seal_memory.engines.decode import generate
from seal_memory.lora.adapter import LoraConfig
from seal_memory.memory import SealMemory


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


def run_memory(bench: Bench) -> Figures:
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
    return {
        "passages": len(units),
        "questions": len(asked),
        **counts,
        "stack_size": bench.settings.learning.stack_size,
        "seconds": time.perf_counter() - began,
    }


KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::mv", "aten::addmv"),
    "attention": ("scaled_dot_product", "flash_attention"),
    "optimizer": ("adam",),
    "loss": ("logsumexp", "log_softmax", "aten::gather", "aten::topk", "aten::argmax"),
    "copies": ("aten::copy_", "aten::cat", "aten::clone", "aten::index", "aten::fill_", "aten::zero_"),
}
REST = "element by element"
OUTSIDE = "Python and waiting"
LENGTH = 48  # tokens of a row


def run_profile(bench: Bench) -> Figures:
    """The shares of training K candidates (the largest K) and of decoding, batch 1 with an adapter and the largest."""
    k, batch = max(bench.options.candidates), max(bench.options.batches)
    train = partial(training.train_steps, bench, k, bench.options.rank, LENGTH, 2)
    made: dict[str, Callable[[], object]] = {
        f"training, K = {k}, rows of ~{LENGTH} tokens": train,
        "decoding, batch 1, one adapter": partial(_decode, bench, 1, adapted=True),
        f"decoding, batch {batch}, base": partial(_decode, bench, batch, adapted=False),
    }
    return {"cells": [bench.step(name, partial(_shares, name, work)) for name, work in made.items()]}


def _shares(name: str, work: Callable[[], object]) -> Figures:
    work()  # what is made once
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        began = time.perf_counter()
        work()
        wall = time.perf_counter() - began
    own = [(event.key, event.self_cpu_time_total / 1e6) for event in seen.key_averages()]
    return {"what": name, "seconds": wall, "shares": shares(own, wall)}


def shares(operations: Iterable[tuple[str, float]], wall: float) -> dict[str, float]:
    """Share of `wall` seconds by kind, of (name, own seconds) of operations; they add up to 1, the largest first."""
    found = dict.fromkeys((*KINDS, REST), 0.0)
    for name, seconds in operations:
        kind = next((k for k, parts in KINDS.items() if any(p in name for p in parts)), REST)
        found[kind] += seconds / wall
    found[OUTSIDE] = max(0.0, 1.0 - sum(found.values()))
    total = sum(found.values())
    return {k: v / total for k, v in sorted(found.items(), key=lambda kv: -kv[1])}


def _decode(bench: Bench, batch: int, *, adapted: bool) -> object:
    engine = bench.engine
    config = LoraConfig(bench.options.rank, 2.0 * bench.options.rank, bench.settings.learning.target_modules)
    adapter = random_adapter(engine, config, seed=0) if adapted else None
    with engine.lock:
        return generate(
            engine.stack,
            rollouts.questions(bench, batch),
            [adapter] * batch,
            max_new_tokens=bench.options.new_tokens,
            stop_ids=frozenset([int(engine.model.config.vocab_size)]),  # none stops: as in `rollouts`
            pad_id=engine.pad_id,
        )


RUN: dict[str, Callable[[Bench], Figures]] = {
    "peak": training.run_peak,
    "grading": grading.run,
    "training": training.run,
    "rollouts": rollouts.run,
    "consolidate": consolidating.run,
    "memory": run_memory,
    "profile": run_profile,
}
