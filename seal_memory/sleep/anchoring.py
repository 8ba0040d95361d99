"""Anchors for KL regularisation: text sampled from the untouched base, on which an adapter must predict like the base.

The base answers everyday questions, writes prose about the world, and continues without a question, at temperature 1.
Training adds the KL divergence from the base's predictions on that text to the loss. The fixed text that the gate
measures drift on is not part of it, since trained text measures nothing. Not here: the loss (`learning.soft_targets`,
`learning.inner_loop`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from seal_memory import prompts
from seal_memory.engines.base import Prompt
from seal_memory.engines.batches import Row
from seal_memory.engines.local import TransformersEngine
from seal_memory.learning.drift import GO_ON, unrelated_questions
from seal_memory.learning.inner_loop import TrainingJob
from seal_memory.learning.soft_targets import SoftTargets, soft_targets

FREE = 24  # anchor texts without a question
TOKENS = 48  # of one anchor text at most
PER_STEP = 2  # anchors beside every optimizer step


@cache
def prose_requests() -> tuple[str, ...]:
    """Requests for prose about places, people and events: a core harms text full of names first."""
    text = (files("seal_memory") / "data" / "prose_requests.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def make_anchors(engine: TransformersEngine, *, seed: int) -> tuple[list[Row], list[SoftTargets]]:
    """Rows of sampled text, and the base's predictions at each of their tokens."""
    asked = [prompts.direct(q) for q in (*unrelated_questions(), *prose_requests())] + [list(GO_ON)] * FREE
    texts = engine.complete([Prompt(m) for m in asked], max_tokens=TOKENS, temperature=1.0, seed=seed)
    rows = [engine.encode_row(m, s.text, end=False) for m, s in zip(asked, texts, strict=True)]
    rows = [r for r in rows if r.target_length > 0]
    return rows, soft_targets(engine, rows)


def with_anchors(job: TrainingJob, rows: Sequence[Row], soft: Sequence[SoftTargets], *, weight: float) -> TrainingJob:
    """The job with `PER_STEP` anchors added to every step; unchanged where the weight is 0 or there are none."""
    if not weight or not rows:
        return job
    first = len(job.rows)
    indices = range(first, first + len(rows))
    job.rows = [*job.rows, *rows]
    job.soft = dict(zip(indices, soft, strict=True))
    job.anchors = [list(indices[at : at + PER_STEP]) for at in range(0, len(indices), PER_STEP)]
    job.anchor = weight
    return job
