"""Naive LoRA: the raw text of each passage as one sequence, plain next-token training, one adapter for everything.

The first thing that many try. The same Trainer and PEFT as `seal_recipe`, without notes and without padding, on all
linear layers. Not here: any choice of what to train, replay, or a check of what was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.systems.base import Asker
from benchmarks.systems.finetuning import Finetuned, Recipe, TrainableBase, passages, titled
from benchmarks.tasks.base import Chunk


class NaiveLora(Finetuned):
    """Rank 16 over all linear layers, lr 2e-3, 10 epochs a step, each step continuing from the last."""

    name = "naive-lora"

    def __init__(self, asker: Asker, base: TrainableBase, folder: Path, *, seed: int, epochs: int = 10) -> None:
        super().__init__(asker, base, folder, Recipe(16, 32, None, 2e-3, epochs), seed=seed)

    def documents(self, chunks: Sequence[Chunk]) -> tuple[list[str], float]:
        """The chunks' own texts."""
        return [titled(c, c.text) for c in passages(chunks)], 0.0
