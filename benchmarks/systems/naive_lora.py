"""Naive LoRA: the raw text of each passage as one sequence, plain next-token training, one adapter for everything.

The obvious baseline: the same Trainer and PEFT as `seal_recipe`, without notes and padding, on all linear layers. Not
here: selection of texts, replay, checks for forgetting.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.systems.base import Asker
from benchmarks.systems.finetuning import FinetunedSystem, Recipe, TrainableBase, passages, titled
from benchmarks.tasks.base import Chunk


class NaiveLora(FinetunedSystem):
    """Rank 16 over all linear layers, lr 2e-3, 10 epochs a step, each step continuing from the last."""

    name = "naive-lora"

    def __init__(self, asker: Asker, base: TrainableBase, folder: Path, *, seed: int, epochs: int = 10) -> None:
        super().__init__(asker, base, folder, Recipe(16, 32, None, 2e-3, epochs), seed=seed)

    def documents(self, chunks: Sequence[Chunk]) -> tuple[list[str], float]:
        """The chunks' own texts."""
        return [titled(c, c.text) for c in passages(chunks)], 0.0
