"""Puts self-edits together: items of all genres plus the training plan that goes with them.

The K candidates of one episode differ in their arm (genre mix and learning rate) and seed; which arm is best for
whom is for the inner loop to find out. Not here: grading (`learning`), learning the arms (`policy`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from seal_memory.config import Settings
from seal_memory.records import Episode, Genre, GenreYield, Hyperparameters, SelfEdit, TrainingItem
from seal_memory.self_edits import checks
from seal_memory.self_edits.genres import model_free_items
from seal_memory.self_edits.statements import Statement


@dataclass(frozen=True, slots=True)
class Arm:
    """A training plan to try: how often each genre is drawn, and how hot."""

    mix: tuple[tuple[Genre, float], ...]
    learning_rate_factor: float = 1.0


ARMS = (
    Arm(
        (
            (Genre.ENTITY_STATEMENT, 1.0),
            (Genre.CLOZE_QUESTION, 1.5),
            (Genre.SENTENCES, 0.2),
            (Genre.QA, 0.5),
            (Genre.REVERSED, 0.3),
            (Genre.REWRITE, 0.1),
        )
    ),
    Arm(
        (
            (Genre.ENTITY_STATEMENT, 0.7),
            (Genre.CLOZE_QUESTION, 2.0),
            (Genre.SENTENCES, 0.1),
            (Genre.QA, 0.8),
            (Genre.REVERSED, 0.4),
        ),
        0.7,
    ),
    Arm(((Genre.ENTITY_STATEMENT, 2.0), (Genre.CLOZE_QUESTION, 1.0), (Genre.SENTENCES, 0.5))),
    Arm(
        (
            (Genre.ENTITY_STATEMENT, 1.0),
            (Genre.CLOZE_QUESTION, 1.0),
            (Genre.REWRITE, 0.5),
            (Genre.IMPLICATIONS, 0.3),
            (Genre.QA, 0.5),
        ),
        0.7,
    ),
)


def make_self_edits(
    episode: Episode,
    statements: Sequence[Statement],
    written: Sequence[TrainingItem],
    written_yields: Sequence[GenreYield],
    *,
    settings: Settings,
    held_out: Collection[str],
    seed: int,
    make_id: Callable[[], str],
) -> list[SelfEdit]:
    """`settings.candidates` self-edits of one episode; items that copy a held-out question are left out."""
    edits = []
    for k in range(settings.candidates):
        arm = ARMS[k % len(ARMS)]
        free = model_free_items(statements, title=episode.title, seed=seed + k)
        fit = [i for i in free if not checks.too_close(i.prompt, held_out)]
        wanted = {genre for genre, weight in arm.mix if weight > 0}
        if settings.passes:
            wanted.add(Genre.PASSAGE)
        items = tuple(i for i in (*fit, *written) if i.genre in wanted)
        rows = max(1, round(settings.rows_per_statement * len(statements)))
        plan = _training_plan(arm, rows, questions=sum(i.genre is not Genre.PASSAGE for i in items), settings=settings)
        yields = (*_yields(free, fit), *written_yields)
        edits.append(SelfEdit(make_id(), episode.id, episode.interaction_ids, items, plan, seed + k, yields))
    return edits


def _training_plan(arm: Arm, rows: int, *, questions: int, settings: Settings) -> Hyperparameters:
    """The settings' plan, stretched where it would end before a short text is learned."""
    steps = settings.epochs * math.ceil(min(rows, questions) / settings.batch_rows) + settings.passes
    stretch = max(1.0, settings.least_steps / max(1, steps))
    return Hyperparameters(
        learning_rate=settings.learning_rate * arm.learning_rate_factor,
        epochs=math.ceil(settings.epochs * stretch),
        rank=settings.rank,
        alpha=settings.alpha,
        rows_per_epoch=rows,
        genre_mix=arm.mix,
        passes=math.ceil(settings.passes * stretch),
    )


def row_weights(items: Sequence[TrainingItem], plan: Hyperparameters) -> list[float]:
    """How likely each item is drawn: its genre's share, split evenly over (genre, target).

    Even over targets, so that a statement with many names does not push out one with few.
    """
    share = dict(plan.genre_mix)
    per_target = Counter((i.genre, i.target) for i in items)
    targets = Counter(genre for genre, _ in per_target)
    return [share.get(i.genre, 0.0) / per_target[i.genre, i.target] / targets[i.genre] for i in items]


def _yields(made: Sequence[TrainingItem], kept: Sequence[TrainingItem]) -> list[GenreYield]:
    offered, fit = Counter(i.genre for i in made), Counter(i.genre for i in kept)
    return [GenreYield(genre, offered[genre], fit[genre]) for genre in offered]
