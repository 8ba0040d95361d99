"""Genres that the model writes: questions, reversed questions, rewrites, implications.

Each is a prompt and a check of the text against its statement. Not here: the wording of the prompts
(`seal_memory.prompts`), the checks themselves (`checks`), asking the model (`writer`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from seal_memory import prompts
from seal_memory.language.spans import Span
from seal_memory.records import Genre, TrainingItem
from seal_memory.self_edits import checks
from seal_memory.self_edits.specs import GenreSpec, ModelWriting, cued_item
from seal_memory.self_edits.statements import Statement

Write = Callable[[str], list[prompts.Message]]


def _question(genre: Genre, *, about_subject: bool = False) -> ModelWriting:
    """A question about a span of the statement -> the statement.

    A taught writer gets no examples in its prompt: they are more than half of it.
    """

    def prompt(statement: str, answer: str, taught: bool) -> list[prompts.Message]:
        return prompts.write_question(statement, answer, examples=not taught)

    def item(text: str, statement: Statement, span: Span, held_out: Collection[str]) -> TrainingItem | None:
        if not checks.good_question(text, span.text, statement.text) or checks.too_close(text, held_out):
            return None
        return cued_item(genre, text, statement.target_for(span), statement)

    return ModelWriting(prompt, item, is_question=True, about_subject=about_subject)


def _note(genre: Genre, write: Write) -> ModelWriting:
    """Name, number or date of the statement -> a sentence that the model wrote about it.

    A taught writer keeps the one example in this prompt, since it need not have been taught this genre.
    """

    def prompt(statement: str, answer: str, taught: bool) -> list[prompts.Message]:
        return write(statement)

    def item(text: str, statement: Statement, span: Span, held_out: Collection[str]) -> TrainingItem | None:
        if not checks.good_note(text, statement.text):
            return None
        return cued_item(genre, prompts.about(span.text), text, statement)

    return ModelWriting(prompt, item)


MODEL_SPECS = (
    GenreSpec(Genre.QA, _question(Genre.QA), default_weight=0.5),
    GenreSpec(Genre.REVERSED, _question(Genre.REVERSED, about_subject=True), default_weight=0.3),
    GenreSpec(Genre.REWRITE, _note(Genre.REWRITE, prompts.write_rewrite), default_weight=0.1),
    GenreSpec(Genre.IMPLICATIONS, _note(Genre.IMPLICATIONS, prompts.write_implication), default_weight=0.0),
)
