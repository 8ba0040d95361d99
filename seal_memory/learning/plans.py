"""Training plans: the rows of a self-edit in each optimizer step.

Questions are drawn anew for every epoch, by genre; running text is read in steps of its own, shuffled among them:
measured, prose needs both (lab log, rows 28 on). Not here: the steps themselves (`inner_loop`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from seal_memory import prompts
from seal_memory.engines.batches import Row
from seal_memory.engines.local import TransformersEngine
from seal_memory.records import SelfEdit, TrainingItem
from seal_memory.self_edits.generator import row_weights
from seal_memory.self_edits.genres import RUNNING_TEXT


def encode_item(engine: TransformersEngine, item: TrainingItem) -> Row:
    """An item's row: its cue under the closed-book prompt, as it will be asked, or plain text without a cue."""
    if not item.prompt:
        return engine.encode_text(item.target)
    return engine.encode_row(prompts.direct(item.prompt), item.target)


def plan_steps(edit: SelfEdit, *, batch_size: int) -> list[list[int]]:
    """The indices into `edit.items` of every optimizer step.

    A step holds `batch_size` questions or half as many texts, which are longer.
    """
    plan = edit.hyperparameters
    texts = [n for n, i in enumerate(edit.items) if i.genre in RUNNING_TEXT]
    questions = [n for n, i in enumerate(edit.items) if i.genre not in RUNNING_TEXT]
    drawn = plan_batches(
        row_weights([edit.items[n] for n in questions], plan),
        epochs=plan.epochs,
        rows_per_epoch=plan.rows_per_epoch,
        batch_size=batch_size,
        seed=edit.seed,
    )
    read = plan_batches(
        [1.0] * len(texts), epochs=plan.passes, rows_per_epoch=0, batch_size=max(1, batch_size // 2), seed=edit.seed
    )
    steps = [[questions[n] for n in step] for step in drawn] + [[texts[n] for n in step] for step in read]
    if read:
        random.Random(edit.seed).shuffle(steps)
    return steps


def trained_tokens(edit: SelfEdit, engine: TransformersEngine, *, batch_size: int) -> int:
    """Tokens that training on the edit puts through the model, without padding."""
    sizes = [len(encode_item(engine, item).ids) for item in edit.items]
    return sum(sizes[n] for step in plan_steps(edit, batch_size=batch_size) for n in step)


def plan_batches(
    weights: Sequence[float], *, epochs: int, rows_per_epoch: int, batch_size: int, seed: int
) -> list[list[int]]:
    """The row indices of every optimizer step.

    Each epoch visits all rows in a new order, or draws `rows_per_epoch` of them without replacement
    by weight (Efraimidis-Spirakis), so that a small budget still sees many phrasings over the epochs.
    """
    rng = random.Random(seed)
    steps: list[list[int]] = []
    for _ in range(epochs):
        keyed = _by_weight(weights, rng)
        order = keyed[:rows_per_epoch] if rows_per_epoch else keyed
        rng.shuffle(order)
        steps.extend(order[i : i + batch_size] for i in range(0, len(order), batch_size))
    return steps


def _by_weight(weights: Sequence[float], rng: random.Random) -> list[int]:
    """All indices in random order, likelier first by weight."""
    return sorted(range(len(weights)), key=lambda i: -math.log(rng.random() + 1e-12) / max(weights[i], 1e-9))
