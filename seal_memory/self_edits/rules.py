"""Genres made by rules: running text, sentences, entity -> statement, cloze, cloze questions.

Every question but cloze has the *statement* as its target (for a long one, the clause that holds the answer), so that a
question in any wording recalls the words that answer it: measured, that beats training short answers by far
(docs/lab-log/recipe.md, rows 3 and 4). Not here: genres that the model writes (`notes`), how often each is trained
(`generator`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from seal_memory import prompts
from seal_memory.language.cloze import Shape, cloze_question, random_cloze_question
from seal_memory.records import Genre, TrainingItem
from seal_memory.self_edits.specs import GenreSpec, cued_item
from seal_memory.self_edits.statements import Statement

CLOZE_QUESTIONS_PER_SPAN = 4
PASSAGE_CHARACTERS = 1500  # a longer text is read in pieces, cut between statements


def passages(statements: Sequence[Statement], title: str | None, rng: random.Random) -> Iterator[TrainingItem]:
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


def sentences(statements: Sequence[Statement], title: str | None, rng: random.Random) -> Iterator[TrainingItem]:
    """Title -> statement, where there is a title to ask by."""
    for statement in statements:
        name = statement.title or title
        if name:
            yield cued_item(Genre.SENTENCES, prompts.about(name), statement.text, statement)


def entity_statements(statements: Sequence[Statement], title: str | None, rng: random.Random) -> Iterator[TrainingItem]:
    """Name, number or date -> statement."""
    for statement in statements:
        for span in statement.spans:
            yield cued_item(Genre.ENTITY_STATEMENT, prompts.about(span.text), statement.target_for(span), statement)


def cloze(statements: Sequence[Statement], title: str | None, rng: random.Random) -> Iterator[TrainingItem]:
    """Statement with a blank -> the words of the blank."""
    for statement in statements:
        for span in statement.spans:
            cue = cloze_question(statement.text, span, shape=Shape.BLANK, rng=rng)
            if cue is not None:
                yield cued_item(Genre.CLOZE, cue, span.text, statement)


def cloze_questions(statements: Sequence[Statement], title: str | None, rng: random.Random) -> Iterator[TrainingItem]:
    """Question made of the statement's own words -> statement."""
    for statement in statements:
        for span in statement.spans:
            cues = [random_cloze_question(statement.text, span, rng) for _ in range(CLOZE_QUESTIONS_PER_SPAN)]
            for cue in dict.fromkeys(c for c in cues if c is not None):
                yield cued_item(Genre.CLOZE_QUESTION, cue, statement.target_for(span), statement)


RULE_SPECS = (
    GenreSpec(Genre.PASSAGE, passages, default_weight=0.0, running_text=True),
    GenreSpec(Genre.SENTENCES, sentences, default_weight=0.2),
    GenreSpec(Genre.ENTITY_STATEMENT, entity_statements, default_weight=1.0),
    GenreSpec(Genre.CLOZE, cloze, default_weight=0.0),  # short answers teach less (lab log, rows 3 and 4)
    GenreSpec(Genre.CLOZE_QUESTION, cloze_questions, default_weight=1.5),
)
