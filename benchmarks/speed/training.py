"""Training speed: real tokens a second, and the share of the matrix-product peak, by candidates, rank and row length.

K candidates train in one stack, each on its own rows of real text; lengths vary by a quarter around the nominal one,
and half of a row is prompt, as in a question's row. One step warms up, the next ones are timed. The peak is measured
before and after, in the same process, and the larger one counts: for each shape of a linear layer the best of several
products of `rows` activations with its weight; the peak is the best shape's. `layers` is a pass through all of the
model's real weights in turn, which no cache holds.

Operations are counted exactly, independent of the implementation. A product of (m, k) with (k, n) is 2mkn operations.
For a row of L real tokens, N of them targets, with an adapter of rank r (padding is not counted):

    linear layers, forward       2 L P                 P: parameters of all linear layers of the blocks
    linear layers, backward      2 L (P - P0)          only towards the activations, the weights are frozen; P0: q, k, v
                                                       of the first block, whose input is the frozen embedding
    LoRA, forward                2 L r S               S: sum of d_in + d_out over the adapted layers
    LoRA, backward               4 L r S - 2 L r S0    towards A, B and both inputs; S0: d_in of those first q, k, v
    attention, forward           2 L (L + 1) W b       scores and values, causal: token t looks at t tokens;
                                                       W: heads x head size, b: blocks
    attention, backward          twice that
    lm_head                      4 N D V               forward and back to the hidden state, at the targets only

Norms, rotary embeddings, softmax, the loss and the optimizer are not counted. Extra work of an implementation (padding,
full instead of causal attention, recomputed activations) lowers its share of the peak, as it should.
Not here: learning anything.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.speed.bench import Bench, Figures, dtype_of, repeat
from seal_memory.engines.batches import Row
from seal_memory.engines.local import TransformersEngine
from seal_memory.learning.inner_loop import TrainingJob, train
from seal_memory.lora.adapter import LoraConfig

ENOUGH_TOKENS = 20_000  # of text, to draw rows from


def run(bench: Bench) -> Figures:
    """Every cell of K x rank x length, cheapest first, and the peak they are measured against."""
    options = bench.options
    grid = [(k, r, n) for n in options.lengths for r in options.ranks for k in options.candidates]
    grid.sort(key=lambda cell: cell[0] * cell[2] * (1 + cell[1] / 64))
    before = bench.step("peak before", lambda: measure_peak(bench.engine, options.peak_rows))
    cells = []
    for k, rank, length in grid:
        measure = partial(_cell, bench, k, rank, length, budget=options.budget_seconds / len(grid))
        cells.append(bench.step(f"K {k}, rank {rank}, {length} tokens", measure))
    after = bench.step("peak after", lambda: measure_peak(bench.engine, options.peak_rows))
    best = max(before["peak_gflops"], after["peak_gflops"])
    return {
        "peak_gflops": best,
        "layers_gflops": max(before["layers_gflops"], after["layers_gflops"]),
        "dtype": before["dtype"],
        "token_budget": bench.settings.learning.token_budget,
        "rows_per_step": options.step_rows,
        "cells": [{**c, "share_of_peak": c["gflops"] / best} for c in cells],
    }


def _cell(bench: Bench, k: int, rank: int, length: int, *, budget: float) -> Figures:
    rows = _rows(bench, k * bench.options.step_rows, length)
    warm = _seconds(bench, k, rank, rows, 1)
    steps = max(1, min(bench.options.training_steps, int((budget - warm) / max(warm, 1e-9))))
    seconds = _seconds(bench, k, rank, rows, steps) / steps
    tokens = sum(len(r.ids) for r in rows)
    adapted = bench.settings.learning.target_modules
    work = step_flops(geometry(bench.engine), rows, rank=rank, adapted=adapted)
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
    config = LoraConfig(rank, 2.0 * rank, bench.settings.learning.target_modules)
    each = len(rows) // k
    jobs = [
        TrainingJob(
            engine.stack.create(config, seed=bench.options.seed + n),
            rows[n * each : (n + 1) * each],
            [list(range(each))] * steps,
            bench.settings.learning.learning_rate,
        )
        for n in range(k)
    ]
    began = time.perf_counter()
    with engine.lock:
        train(engine.stack, jobs, token_budget=bench.settings.learning.token_budget, pad_id=engine.pad_id)
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


PEAK_SECONDS = 0.5  # per shape and number type


def run_peak(bench: Bench) -> Figures:
    """The peak of float32 and, where the base is of another type, of that."""
    return bench.step("products", lambda: measure_peak(bench.engine, bench.options.peak_rows))


@torch.inference_mode()
def measure_peak(engine: TransformersEngine, rows: int, *, seconds: float = PEAK_SECONDS) -> Figures:
    """GFLOP/s by number type: best shape, every shape, the base's layers; `peak` is the base's own type."""
    own = engine.hardware.base_dtype
    shapes = geometry(engine)
    by_type = {}
    for name in dict.fromkeys(("float32", own)):
        dtype = getattr(torch, name)
        found = {f"{d_out}x{d_in}": _product(rows, d_out, d_in, dtype, seconds) for d_out, d_in in _distinct(shapes)}
        by_type[name] = {"peak": max(found.values()), "shapes": found}
    return {
        "rows": rows,
        "dtype": own,
        "peak_gflops": by_type[own]["peak"],
        "layers_gflops": _layers(engine, shapes, rows, seconds),
        "by_type": by_type,
        "threads": torch.get_num_threads(),
    }


def _distinct(shapes: Geometry) -> list[tuple[int, int]]:
    return sorted(set(shapes.layers.values()))


def _product(rows: int, d_out: int, d_in: int, dtype: torch.dtype, seconds: float) -> float:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(rows, d_in, generator=rng).to(dtype)
    weight = torch.randn(d_out, d_in, generator=rng).to(dtype)
    return _gflops(2.0 * rows * d_out * d_in, lambda: torch.nn.functional.linear(x, weight), seconds)


def _layers(engine: TransformersEngine, shapes: Geometry, rows: int, seconds: float) -> float:
    """Through every linear layer's real weight in turn."""
    state = engine.stack.base_state_dict()
    weights = [state[f"{name}.weight"] for name in shapes.layers]
    inputs = {d_in: torch.randn(rows, d_in).to(dtype_of(engine)) for _, d_in in shapes.layers.values()}

    def through_all() -> Tensor:
        y = weights[0]
        for weight in weights:
            y = torch.nn.functional.linear(inputs[weight.shape[1]], weight)
        return y

    return _gflops(2.0 * rows * shapes.linear_parameters, through_all, seconds)


def _gflops(flops: float, run: Callable[[], Tensor], seconds: float) -> float:
    run()  # warm
    return flops / repeat(run, budget=seconds, most=200).best / 1e9


_READ_THE_EMBEDDING = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True, slots=True)
class Geometry:
    """A model's sizes. `layers`: linear layer -> (d_out, d_in), the vocabulary's head not among them."""

    layers: dict[str, tuple[int, int]]
    blocks: int
    attention_width: int
    hidden: int
    vocabulary: int

    @property
    def linear_parameters(self) -> int:
        return sum(d_out * d_in for d_out, d_in in self.layers.values())


def geometry(engine: TransformersEngine) -> Geometry:
    """The sizes of the loaded model."""
    config = engine.model.config
    layers = {
        name.removesuffix(".weight"): (int(weight.shape[0]), int(weight.shape[1]))
        for name, weight in engine.stack.base_state_dict().items()
        if ".layers." in name and name.endswith(".weight") and weight.dim() == 2
    }
    heads = int(config.num_attention_heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    blocks, hidden, vocabulary = config.num_hidden_layers, config.hidden_size, config.vocab_size
    return Geometry(layers, int(blocks), heads * size, int(hidden), int(vocabulary))


def row_flops(model: Geometry, length: int, targets: int, *, rank: int, adapted: Sequence[str]) -> float:
    """Operations to train one row once, by the formula above; `adapted`: last parts of the adapted layers' names."""
    with_adapter = {n: s for n, s in model.layers.items() if n.rpartition(".")[2] in adapted}
    first = {n: s for n, s in model.layers.items() if _reads_the_embedding(n)}
    first_parameters = sum(d_out * d_in for d_out, d_in in first.values())
    both = sum(d_out + d_in for d_out, d_in in with_adapter.values())
    first_inputs = sum(s[1] for n, s in with_adapter.items() if n in first)
    linear = 2 * length * model.linear_parameters + 2 * length * (model.linear_parameters - first_parameters)
    lora = 6 * length * rank * both - 2 * length * rank * first_inputs
    attention = 3 * 2 * length * (length + 1) * model.attention_width * model.blocks
    head = 4 * targets * model.hidden * model.vocabulary
    return float(linear + lora + attention + head)


def step_flops(model: Geometry, rows: Sequence[Row], *, rank: int, adapted: Sequence[str]) -> float:
    """Operations to train some rows once."""
    return sum(row_flops(model, len(r.ids), _targets(r), rank=rank, adapted=adapted) for r in rows)


def _targets(row: Row) -> int:
    """Positions that the loss counts: the first token of a row is predicted by nothing."""
    return len(row.ids) - max(row.prompt_length, 1)


def _reads_the_embedding(name: str) -> bool:
    return ".layers.0." in name and name.rpartition(".")[2] in _READ_THE_EMBEDDING
