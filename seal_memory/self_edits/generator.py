"""Makes self-edits: items of all genres and the training plan for them.

Not here: the items (`genres`), grading (`learning`), choosing arms (`policy`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from seal_memory.config import LearningSettings
from seal_memory.records import Episode, Genre, GenreYield, Hyperparameters, Role, SelfEdit, TrainingItem
from seal_memory.self_edits import checks
from seal_memory.self_edits.genres import RUNNING_TEXT, Mix, mix, rule_items
from seal_memory.self_edits.statements import Statement


@dataclass(frozen=True, slots=True)
class Arm:
    """A training plan to try: weights of the genres, factors on learning rate, steps and rank.

    `questions_alone`: a document is trained as a dialogue is, and not read as running text.
    """

    mix: Mix
    learning_rate_factor: float = 1.0
    steps_factor: float = 1.0
    rank_factor: float = 1.0
    questions_alone: bool = False


# A genre that an arm does not name has its default weight, so that a new genre is drawn by all of them.
ARMS = (
    Arm(mix()),
    Arm(
        mix(
            {
                Genre.ENTITY_STATEMENT: 0.7,
                Genre.CLOZE_QUESTION: 2.0,
                Genre.SENTENCES: 0.1,
                Genre.QA: 0.8,
                Genre.REVERSED: 0.4,
                Genre.REWRITE: 0.0,
            }
        ),
        0.7,
    ),
    Arm(
        mix(
            {
                Genre.ENTITY_STATEMENT: 2.0,
                Genre.CLOZE_QUESTION: 1.0,
                Genre.SENTENCES: 0.5,
                Genre.QA: 0.0,
                Genre.REVERSED: 0.0,
                Genre.REWRITE: 0.0,
            }
        )
    ),
    Arm(
        mix(
            {
                Genre.CLOZE_QUESTION: 1.0,
                Genre.SENTENCES: 0.0,
                Genre.REVERSED: 0.0,
                Genre.REWRITE: 0.5,
                Genre.IMPLICATIONS: 0.3,
            }
        ),
        0.7,
    ),
)

# For the facts that a model which reads has found in a document: its own questions, and cues made by rules.
READER_ARM = Arm(
    mix({Genre.QA: 1.5}, among=(Genre.QA, Genre.ENTITY_STATEMENT, Genre.CLOZE_QUESTION)),
    steps_factor=2.0,  # some 14,000 tokens a passage, as in the lab log's row Z4
    questions_alone=True,
)


def make_self_edit(
    episode: Episode,
    statements: Sequence[Statement],
    written: Sequence[TrainingItem],
    written_yields: Sequence[GenreYield],
    *,
    arm: Arm,
    settings: LearningSettings,
    held_out: Collection[str],
    seed: int,
    id: str,
) -> SelfEdit:
    """One self-edit under one arm, without items that copy a held-out question."""
    made = rule_items(statements, title=episode.title, seed=seed)
    fit = [i for i in made if not checks.too_close(i.prompt, held_out)]
    wanted = {genre for genre, weight in arm.mix if weight > 0}
    document = all(i.role is Role.DOCUMENT for i in episode.interactions) and not arm.questions_alone
    if document and settings.document_readings:  # dialogue is learned better by questions alone (lab log, row 48)
        wanted |= RUNNING_TEXT
    items = tuple(i for i in (*fit, *written) if i.genre in wanted)
    rows = max(1, round(settings.rows_per_statement * len(statements)))
    questions = sum(i.genre not in RUNNING_TEXT for i in items)
    plan = _training_plan(arm, rows, questions=questions, document=document, settings=settings)
    yields = (*_yields(made, fit), *written_yields)
    return SelfEdit(id, episode.id, episode.interaction_ids, items, plan, seed, yields)


def _training_plan(
    arm: Arm, rows: int, *, questions: int, document: bool, settings: LearningSettings
) -> Hyperparameters:
    """The settings' plan with the arm's factors, lengthened to `learning.min_steps` for a short text."""
    epochs, passes = (settings.document_epochs, settings.document_readings) if document else (settings.epochs, 0)
    steps = epochs * math.ceil(min(rows, questions) / settings.batch_size) + passes
    stretch = arm.steps_factor * max(1.0, settings.min_steps / max(1, steps))
    rank = max(1, round(settings.rank * arm.rank_factor))
    return Hyperparameters(
        learning_rate=settings.learning_rate * arm.learning_rate_factor,
        epochs=math.ceil(epochs * stretch),
        rank=rank,
        alpha=settings.alpha * (rank / settings.rank),  # keeps the update's scale
        rows_per_epoch=rows,
        genre_mix=arm.mix,
        passes=math.ceil(passes * stretch),
    )


def row_weights(items: Sequence[TrainingItem], plan: Hyperparameters) -> list[float]:
    """Weight of each item in the draw: its genre's share, split evenly over the genre's targets.

    So a statement with many names is drawn as often as one with few.
    """
    share = dict(plan.genre_mix)
    per_target = Counter((i.genre, i.target) for i in items)
    targets = Counter(genre for genre, _ in per_target)
    return [share.get(i.genre, 0.0) / per_target[i.genre, i.target] / targets[i.genre] for i in items]


def _yields(made: Sequence[TrainingItem], kept: Sequence[TrainingItem]) -> list[GenreYield]:
    offered, fit = Counter(i.genre for i in made), Counter(i.genre for i in kept)
    return [GenreYield(genre, offered[genre], fit[genre]) for genre in offered]
