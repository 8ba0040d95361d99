"""Context distillation: where the model says a target with the text in its prompt, its prediction there is the lesson.

The teacher is the untouched base with the interaction's text in front of the item's own question (arXiv 2209.15189);
the student has the question alone. Only items that the teacher would say itself are taught so, the others are learned
from their tokens as always. Held-out questions are asked of no teacher. Not here: the loss (`soft_targets`).
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence

from seal_memory import prompts
from seal_memory.engines.base import Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.learning.soft_targets import SoftTargets, soft_targets
from seal_memory.ledger import Ledger
from seal_memory.prompts import Message
from seal_memory.records import TrainingItem

LEAST_LIKELY = math.log(0.5)  # mean log-probability per target token of a teacher that scores well
PER_TARGET = 4  # items of one target that are put to the teacher: the others say the same


def taught(
    items: Sequence[TrainingItem], ledger: Ledger, engine: TransformersEngine, *, seed: int
) -> dict[int, SoftTargets]:
    """By place in `items`, what the teacher predicts at the target's tokens and its end; only where it scores well."""
    texts = {i.id: i.text for i in ledger.interactions(ids={i for item in items for i in item.interaction_ids})}
    asked = {n: _prompt(items[n], texts) for n in _sample(items, seed)}
    rows = {n: engine.encode_row(prompt, items[n].target) for n, prompt in asked.items()}
    fitting = [n for n, row in rows.items() if len(row.ids) <= engine.max_length]
    scores = engine.score([(Prompt(asked[n]), items[n].target) for n in fitting])
    good = [n for n, score in zip(fitting, scores, strict=True) if score.logprob >= LEAST_LIKELY]
    return dict(zip(good, soft_targets(engine, [rows[n] for n in good]), strict=True))


def _prompt(item: TrainingItem, texts: dict[str, str]) -> list[Message]:
    return prompts.read("\n".join(texts[i] for i in item.interaction_ids), item.prompt)


def _sample(items: Sequence[TrainingItem], seed: int) -> list[int]:
    """Places of questions, at most `PER_TARGET` of each target."""
    by_target: dict[str, list[int]] = defaultdict(list)
    for n, item in enumerate(items):
        if item.prompt:
            by_target[item.target].append(n)
    rng = random.Random(seed)
    return sorted(n for own in by_target.values() for n in rng.sample(own, min(PER_TARGET, len(own))))
