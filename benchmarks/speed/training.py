"""Training speed: real tokens a second and the share of the matrix-product peak, by candidates, rank and row length.

K candidates train in one stack, each on its own rows of real text; lengths vary by a quarter around the nominal one,
and half of a row is prompt, as in a question's row. One step warms up, the next ones are timed. The peak is measured
before and after, in the same process, and the larger one counts. Not here: the counting (`flops`), learning anything.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from functools import partial

from benchmarks.speed import flops, peak
from benchmarks.speed.bench import Bench, Figures
from seal_memory.engines.batches import Row
from seal_memory.learning.inner_loop import TrainingJob, train
from seal_memory.lora.adapter import LoraConfig

ENOUGH_TOKENS = 20_000  # of text, to draw rows from


def run(bench: Bench) -> Figures:
    """Every cell of K x rank x length, cheapest first, and the peak they are measured against."""
    options = bench.options
    grid = [(k, r, n) for n in options.lengths for r in options.ranks for k in options.candidates]
    grid.sort(key=lambda cell: cell[0] * cell[2] * (1 + cell[1] / 64))
    before = bench.step("peak before", lambda: peak.measure(bench.engine, options.peak_rows))
    cells = []
    for k, rank, length in grid:
        measure = partial(_cell, bench, k, rank, length, budget=options.budget_seconds / len(grid))
        cells.append(bench.step(f"K {k}, rank {rank}, {length} tokens", measure))
    after = bench.step("peak after", lambda: peak.measure(bench.engine, options.peak_rows))
    best = max(before["peak_gflops"], after["peak_gflops"])
    return {
        "peak_gflops": best,
        "layers_gflops": max(before["layers_gflops"], after["layers_gflops"]),
        "dtype": before["dtype"],
        "token_budget": bench.settings.token_budget,
        "rows_per_step": options.step_rows,
        "cells": [{**c, "share_of_peak": c["gflops"] / best} for c in cells],
    }


def _cell(bench: Bench, k: int, rank: int, length: int, *, budget: float) -> Figures:
    rows = _rows(bench, k * bench.options.step_rows, length)
    warm = _seconds(bench, k, rank, rows, 1)
    steps = max(1, min(bench.options.training_steps, int((budget - warm) / max(warm, 1e-9))))
    seconds = _seconds(bench, k, rank, rows, steps) / steps
    tokens = sum(len(r.ids) for r in rows)
    adapted = bench.settings.target_modules
    work = flops.step_flops(flops.geometry(bench.engine), rows, rank=rank, adapted=adapted)
    return {
        "candidates": k,
        "rank": rank,
        "length": length,
        "tokens_per_second": tokens / seconds,
        "gflops": work / seconds / 1e9,
        "flops_per_token": work / tokens,
        "seconds_per_step": seconds,
        "steps": steps,
        "tokens_per_step": tokens,
    }


def train_steps(bench: Bench, k: int, rank: int, length: int, steps: int) -> float:
    """The wall time of `steps` steps of K fresh adapters, each on its own rows of about `length` tokens."""
    return _seconds(bench, k, rank, _rows(bench, k * bench.options.step_rows, length), steps)


def _seconds(bench: Bench, k: int, rank: int, rows: Sequence[Row], steps: int) -> float:
    """The wall time of `steps` steps of fresh adapters, with what a training sets up and takes down."""
    engine = bench.engine
    config = LoraConfig(rank, 2.0 * rank, bench.settings.target_modules)
    each = len(rows) // k
    jobs = [
        TrainingJob(
            engine.stack.create(config, seed=bench.options.seed + n),
            rows[n * each : (n + 1) * each],
            [list(range(each))] * steps,
            bench.settings.learning_rate,
        )
        for n in range(k)
    ]
    began = time.perf_counter()
    with engine.lock:
        train(engine.stack, jobs, token_budget=bench.settings.token_budget, pad_id=engine.pad_id)
    return time.perf_counter() - began


def _rows(bench: Bench, count: int, length: int) -> list[Row]:
    """Cuts of real text; the same for the same seed, count and length."""
    stream: list[int] = []
    for unit in bench.passages(len(bench.task.units)):
        stream += bench.engine.encode_text(unit.chunks[0].text).ids
        if len(stream) >= ENOUGH_TOKENS:
            break
    longest = max(2, round(1.25 * length))
    while len(stream) <= longest:  # a file of a few words
        stream += stream
    rng = random.Random(bench.options.seed)
    rows = []
    for _ in range(count):
        size = rng.randint(max(2, round(0.75 * length)), longest)
        at = rng.randrange(len(stream) - size)
        rows.append(Row(tuple(stream[at : at + size]), size // 2))
    return rows
