"""Anchors: text of the untouched base's own that an adapter is to leave as it is.

The base answers everyday questions, writes prose about the world when asked to, and goes on without being asked, drawn
at temperature 1; an adapter that is trained beside pays for the KL divergence from the base's predictions on that text.
The fixed text that the gate measures drift on is not among it: what is trained on measures nothing. Not here: the loss
(`soft_targets`, `inner_loop`).
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

FREE = 24  # texts without a question
TOKENS = 48  # of one text at most
PER_STEP = 2  # anchors beside every optimizer step


@cache
def prose_requests() -> tuple[str, ...]:
    """What makes the base write of places, people and events: text full of names is what a core spoils first."""
    text = (files("seal_memory") / "data" / "prose_requests.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def anchors(engine: TransformersEngine, *, seed: int) -> tuple[list[Row], list[SoftTargets]]:
    """Rows of text that the base said, and what it predicts at each of their tokens."""
    asked = [prompts.direct(q) for q in (*unrelated_questions(), *prose_requests())] + [list(GO_ON)] * FREE
    said = engine.complete([Prompt(m) for m in asked], max_tokens=TOKENS, temperature=1.0, seed=seed)
    rows = [engine.encode_row(m, s.text, end=False) for m, s in zip(asked, said, strict=True)]
    rows = [r for r in rows if r.target_length > 0]
    return rows, soft_targets(engine, rows)


def anchored(job: TrainingJob, rows: Sequence[Row], soft: Sequence[SoftTargets], *, weight: float) -> TrainingJob:
    """The job with anchors beside every step; unchanged where the weight is 0 or there are none."""
    if not weight or not rows:
        return job
    first = len(job.rows)
    places = range(first, first + len(rows))
    job.rows = [*job.rows, *rows]
    job.soft = dict(zip(places, soft, strict=True))
    job.anchors = [list(places[at : at + PER_STEP]) for at in range(0, len(places), PER_STEP)]
    job.anchor = weight
    return job
