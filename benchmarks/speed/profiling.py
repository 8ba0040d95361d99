"""Where the time goes: shares of the wall time of a step of training and of a token of decoding, by kind of work.

torch's profiler gives the time that each operation took itself; what is left of the wall time is Python and waiting.
The profiler makes each operation a little slower, so the shares are told and not the rates (those are in `training` and
`rollouts`). Not here: which of the products could be spared (`flops` counts them), memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.bench import Bench, Figures, random_adapter
from benchmarks.speed.rollouts import questions
from benchmarks.speed.training import train_steps
from seal_memory.engines.decode import generate
from seal_memory.lora.adapter import LoraConfig

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


def run(bench: Bench) -> Figures:
    """The shares of training K candidates (the largest K) and of decoding, batch 1 with an adapter and the largest."""
    k, batch = max(bench.options.candidates), max(bench.options.batches)
    made: dict[str, Callable[[], object]] = {
        f"training, K = {k}, rows of ~{LENGTH} tokens": partial(train_steps, bench, k, bench.options.rank, LENGTH, 2),
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
    config = LoraConfig(bench.options.rank, 2.0 * bench.options.rank, bench.settings.target_modules)
    adapter = random_adapter(engine, config, seed=0) if adapted else None
    with engine.lock:
        return generate(
            engine.stack,
            questions(bench, batch),
            [adapter] * batch,
            max_new_tokens=bench.options.new_tokens,
            stop_ids=frozenset([int(engine.model.config.vocab_size)]),  # none stops: as in `rollouts`
            pad_id=engine.pad_id,
        )
