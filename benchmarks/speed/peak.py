"""The matrix-product peak: what this machine can do at most on the model's own layers, measured in the same run.

For each shape of a linear layer the best of several products of `rows` activations with its weight; the peak is the
best shape's. `layers` is the pass through all of the model's real weights one after another, which no cache holds.
Not here: what share of it training reaches (`training`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.speed.bench import Bench, Figures, dtype_of, repeat
from benchmarks.speed.flops import Geometry, geometry
from seal_memory.engines.local import TransformersEngine

SECONDS = 0.5  # per shape and number type


def run(bench: Bench) -> Figures:
    """The peak of float32 and, where the base is of another type, of that."""
    return bench.step("products", lambda: measure(bench.engine, bench.options.peak_rows))


@torch.inference_mode()
def measure(engine: TransformersEngine, rows: int, *, seconds: float = SECONDS) -> Figures:
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
