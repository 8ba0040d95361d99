"""The genres that need no model: the text itself, sentences, entity -> statement, cloze, cloze questions.

Every question but cloze has the *statement* as its target (of a long one, the clause that holds the answer), so
that a question, however it is put, recalls the words that answer it: measured, that beats training short answers by
far (lab log). Not here: genres that the model writes (`writer`), how often each is trained (`generator`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from seal_memory import prompts
from seal_memory.language.cloze import Shape, cloze_question, random_cloze_question
from seal_memory.prompts import Message
from seal_memory.records import Genre, TrainingItem
from seal_memory.self_edits.statements import Statement

CLOZE_QUESTIONS_PER_SPAN = 4
PASSAGE_CHARACTERS = 1500  # a longer text is read in pieces, cut between statements


def model_free_items(statements: Sequence[Statement], *, title: str | None, seed: int) -> list[TrainingItem]:
    """All items of the model-free genres for one episode, repeatable by `seed`."""
    rng = random.Random(seed)
    items = list(passages(statements, title))
    for statement in statements:
        items.extend(_sentences(statement, title))
        items.extend(_entity_statements(statement))
        items.extend(_cloze(statement, rng))
        items.extend(_cloze_questions(statement, rng))
    return items


def item(genre: Genre, cue: str, target: str, statement: Statement) -> TrainingItem:
    """An item that is asked exactly as a user's question will be."""
    return TrainingItem(genre, cue, target, (statement.interaction_id,))


def messages_of(training_item: TrainingItem) -> list[Message]:
    """The prompt that an item with a cue is trained under: the closed-book prompt, as it will be asked."""
    return prompts.direct(training_item.prompt)


def passages(statements: Sequence[Statement], title: str | None) -> Iterator[TrainingItem]:
    """The statements as running text under their title, to be read without a question."""
    piece: list[Statement] = []
    for statement in statements:
        if piece and sum(len(s.text) + 1 for s in (*piece, statement)) > PASSAGE_CHARACTERS:
            yield _passage(piece, title)
            piece = []
        piece.append(statement)
    if piece:
        yield _passage(piece, title)


def _passage(statements: Sequence[Statement], title: str | None) -> TrainingItem:
    name = title or statements[0].title
    text = " ".join(s.text for s in statements)
    ids = tuple(dict.fromkeys(s.interaction_id for s in statements))
    return TrainingItem(Genre.PASSAGE, "", f"{name}\n{text}" if name else text, ids)


def _sentences(statement: Statement, title: str | None) -> Iterator[TrainingItem]:
    name = statement.title or title
    if name:
        yield item(Genre.SENTENCES, prompts.about(name), statement.text, statement)


def _entity_statements(statement: Statement) -> Iterator[TrainingItem]:
    for span in statement.spans:
        yield item(Genre.ENTITY_STATEMENT, prompts.about(span.text), statement.telling(span), statement)


def _cloze(statement: Statement, rng: random.Random) -> Iterator[TrainingItem]:
    for span in statement.spans:
        cue = cloze_question(statement.text, span, shape=Shape.BLANK, rng=rng)
        if cue is not None:
            yield item(Genre.CLOZE, cue, span.text, statement)


def _cloze_questions(statement: Statement, rng: random.Random) -> Iterator[TrainingItem]:
    for span in statement.spans:
        cues = [random_cloze_question(statement.text, span, rng) for _ in range(CLOZE_QUESTIONS_PER_SPAN)]
        for cue in dict.fromkeys(c for c in cues if c is not None):
            yield item(Genre.CLOZE_QUESTION, cue, statement.telling(span), statement)
