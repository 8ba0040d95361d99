"""Options of a speed run with their defaults, and the options that each part depends on.

Not here: the command line (`command`) and the measuring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PARTS = ("peak", "grading", "training", "rollouts", "consolidate", "memory", "profile")


@dataclass(frozen=True, slots=True)
class Options:
    """Numbers of every part; a part's journal holds those that its figures depend on (`relevant`)."""

    model: str = "smollm2-135m"
    data: Path | None = None
    start: int = 100
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    budget_seconds: float = 300.0
    # peak
    peak_rows: int = 400
    # grading
    self_edits: int = 5
    seeds_per_edit: int = 3
    epochs: int = 10
    rank: int = 32
    targets: str = "seal"
    pad_to: int = 2048
    padded_steps: int = 2
    plain_candidates: int = 1
    max_tokens: int = 24
    baseline_dtypes: tuple[str, ...] = ()
    # training
    candidates: tuple[int, ...] = (1, 2, 4, 8, 16)
    ranks: tuple[int, ...] = (8, 32, 128)
    lengths: tuple[int, ...] = (48, 200)
    step_rows: int = 2
    training_steps: int = 4
    # rollouts
    batches: tuple[int, ...] = (1, 16, 64)
    new_tokens: int = 64
    one_by_one: int = 4
    vllm_url: str | None = None
    vllm_adapters: tuple[str, ...] = ()
    # consolidate
    sizes: tuple[int, ...] = (10, 100, 1000)
    new_memories: int = 3
    repeat: int = 9
    # memory
    memory_passages: int = 8

    def relevant(self, part: str) -> dict[str, Any]:
        """What the figures of a part depend on: a journal with other values is of another run."""
        names = (*_COMMON, *_OF_PART[part])
        return {name: value for name, value in asdict(self).items() if name in names}


_COMMON = ("model", "start", "seed", "settings", "threads")
_OF_PART = {
    "peak": ("peak_rows",),
    "grading": (
        *("self_edits", "seeds_per_edit", "epochs", "rank", "targets", "pad_to", "padded_steps"),
        *("plain_candidates", "max_tokens", "baseline_dtypes"),
    ),
    "training": ("peak_rows", "candidates", "ranks", "lengths", "step_rows", "training_steps"),
    "rollouts": ("batches", "new_tokens", "one_by_one", "rank", "vllm_url", "vllm_adapters"),
    "consolidate": ("sizes", "new_memories", "repeat"),
    "memory": ("memory_passages",),
    "profile": ("candidates", "rank", "step_rows", "batches", "new_tokens"),
}
