"""`GenreSpec`: one kind of training item, made by rules or written by the model, and how often it is drawn.

Not here: the list of genres (`genres`), the genres themselves (`rules`, `notes`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from seal_memory.language.spans import Span
from seal_memory.prompts import Message
from seal_memory.records import Genre, TrainingItem
from seal_memory.self_edits.statements import Statement

# (statements, title of the episode, random numbers of the self-edit's seed) -> items
MakeItems = Callable[[Sequence[Statement], str | None, random.Random], Iterator[TrainingItem]]


@dataclass(frozen=True, slots=True)
class ModelWriting:
    """A genre that the model writes: the prompt, and the check that turns its text into an item.

    `prompt(statement, answer, taught)`: `taught` when a note-writer's adapter answers. `item(text, statement, span,
    held_out)`: None where the text fails a check against its statement or copies a held-out question.
    """

    prompt: Callable[[str, str, bool], list[Message]]
    item: Callable[[str, Statement, Span, Collection[str]], TrainingItem | None]
    is_question: bool = False  # the text asks for the span; a round trip through the model can check it
    about_subject: bool = False  # the span is the statement's first one; else any of them


@dataclass(frozen=True, slots=True)
class GenreSpec:
    """One genre. `make` is called per statement, or once with all of them (`running_text`).

    `default_weight`: its share of the drawn rows where an arm says nothing else; 0: made and counted, not drawn.
    """

    name: Genre
    make: MakeItems | ModelWriting
    default_weight: float
    running_text: bool = False  # read whole, `learning.document_readings` times, instead of drawn by weight


def cued_item(genre: Genre, cue: str, target: str, statement: Statement) -> TrainingItem:
    """An item whose cue is asked exactly as a user's question will be."""
    return TrainingItem(genre, cue, target, (statement.interaction_id,))
