"""Genres: the one list of them, with rule-made items, default weights and the writer's prompts derived from it.

To add a genre, write its file and list its spec in `GENRES`. Not here: the genres (`rules`, `notes`), the training plan
(`generator`), asking the model (`writer`).
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

from seal_memory.prompts import Message
from seal_memory.records import Genre, TrainingItem
from seal_memory.self_edits.notes import MODEL_SPECS
from seal_memory.self_edits.rules import RULE_SPECS
from seal_memory.self_edits.specs import GenreSpec, ModelWriting
from seal_memory.self_edits.statements import Statement

GENRES: tuple[GenreSpec, ...] = (*RULE_SPECS, *MODEL_SPECS)

Mix = tuple[tuple[Genre, float], ...]


def model_writings() -> dict[Genre, ModelWriting]:
    """The genres that the model writes, in the order in which it is asked for them."""
    return {spec.name: spec.make for spec in GENRES if isinstance(spec.make, ModelWriting)}


MODEL_GENRES = tuple(model_writings())
QUESTION_GENRES = tuple(name for name, writing in model_writings().items() if writing.is_question)
RUNNING_TEXT = frozenset(spec.name for spec in GENRES if spec.running_text)


def rule_items(statements: Sequence[Statement], *, title: str | None, seed: int) -> list[TrainingItem]:
    """All items of the rule-made genres for one episode, repeatable by `seed`: running text, then by statement."""
    rng = random.Random(seed)
    whole = [spec.make for spec in GENRES if spec.running_text and not isinstance(spec.make, ModelWriting)]
    single = [spec.make for spec in GENRES if not spec.running_text and not isinstance(spec.make, ModelWriting)]
    items = [item for make in whole for item in make(statements, title, rng)]
    for statement in statements:
        for make in single:
            items.extend(make([statement], title, rng))
    return items


def mix(changes: Mapping[Genre, float] | None = None, *, among: Collection[Genre] | None = None) -> Mix:
    """Weights by genre: the default of each, but for `changes`; of the genres `among` (None: of all).

    Genres of weight 0 are left out.
    """
    changed = changes or {}
    weights = [(s.name, changed.get(s.name, s.default_weight)) for s in GENRES if among is None or s.name in among]
    return tuple((name, weight) for name, weight in weights if weight > 0)


def writing_prompt(genre: Genre, statement: str, answer: str, *, taught: bool = False) -> list[Message]:
    """The prompt for a text of a genre: the note-writer is asked with it, and trained under it.

    `taught`: a note-writer's adapter answers. Raises `KeyError` for a genre that the model does not write.
    """
    return model_writings()[genre].prompt(statement, answer, taught)
