"""The model as its own note-writer: questions, reversed questions, rewrites, implications.

One batched generation for all episodes; every text must pass `checks` against its statement. Not here: the prompts'
words (`seal_memory.prompts`), the model-free genres (`genres`).
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from seal_memory import prompts
from seal_memory.engines.base import Engine, Prompt
from seal_memory.language.spans import Span
from seal_memory.records import Genre, GenreYield, TrainingItem
from seal_memory.self_edits import checks
from seal_memory.self_edits.genres import item
from seal_memory.self_edits.statements import Statement

WRITE_TEMPERATURE = 0.7
WRITE_TOKENS = 40
MODEL_GENRES = (Genre.QA, Genre.REVERSED, Genre.REWRITE, Genre.IMPLICATIONS)


@dataclass(frozen=True, slots=True)
class Request:
    """What the note-writer is asked: one text of a genre about a statement."""

    genre: Genre
    statement: Statement
    span: Span  # the answer of a question; the name to ask by for rewrites and implications


@dataclass(frozen=True, slots=True)
class Draft:
    """What it wrote (the first line), and the training item where that passed every check."""

    request: Request
    text: str
    item: TrainingItem | None


Written = tuple[list[TrainingItem], list[GenreYield]]


def write_items(
    groups: Sequence[Sequence[Statement]],
    engine: Engine,
    *,
    per_statement: int,
    held_out: Sequence[Collection[str]],
    seed: int,
    adapter: str | None = None,
) -> list[Written]:
    """Per group of statements what the model wrote that is fit to train, and the yield of each genre.

    See `write_drafts` for the options.
    """
    return [
        _kept(drafts)
        for drafts in write_drafts(
            groups, engine, per_statement=per_statement, held_out=held_out, seed=seed, adapter=adapter
        )
    ]


def write_drafts(
    groups: Sequence[Sequence[Statement]],
    engine: Engine,
    *,
    per_statement: int,
    held_out: Sequence[Collection[str]],
    seed: int,
    adapter: str | None = None,
    genres: Sequence[Genre] = MODEL_GENRES,
    temperature: float = WRITE_TEMPERATURE,
) -> list[list[Draft]]:
    """Per group of statements all that the model wrote, with what passed the checks.

    All groups are written in one batch. `per_statement` texts are asked for per statement, genres taking turns.
    `adapter` is the note-writer's own policy adapter. `held_out[g]` are quiz questions that group g may not copy.
    """
    rng = random.Random(seed)
    asked = [[r for n, s in enumerate(group) for r in _requests(s, n, per_statement, genres, rng)] for group in groups]
    taught = adapter is not None
    wanted = [Prompt(_messages(r, taught=taught), adapter) for requests in asked for r in requests]
    done = iter(engine.complete(wanted, max_tokens=WRITE_TOKENS, temperature=temperature, seed=seed))
    return [
        [_draft(r, next(done).text, reserved) for r in requests]
        for requests, reserved in zip(asked, held_out, strict=True)
    ]


def _draft(request: Request, text: str, held_out: Collection[str]) -> Draft:
    first = text.strip().split("\n")[0].strip()
    return Draft(request, first, _item(request, first, held_out))


def _kept(drafts: Sequence[Draft]) -> Written:
    """The items of one group that passed every check, none twice, and how many of each genre did."""
    kept: list[TrainingItem] = []
    made_by, kept_by = dict.fromkeys(MODEL_GENRES, 0), dict.fromkeys(MODEL_GENRES, 0)
    for draft in drafts:
        made_by[draft.request.genre] += 1
        if draft.item is not None and draft.item not in kept:
            kept_by[draft.request.genre] += 1
            kept.append(draft.item)
    return kept, [GenreYield(g, made_by[g], kept_by[g]) for g in MODEL_GENRES if made_by[g]]


def _requests(
    statement: Statement, place: int, count: int, genres: Sequence[Genre], rng: random.Random
) -> list[Request]:
    """`count` requests; the genres start at another one for each statement."""
    spans = statement.spans
    if not spans:
        return []
    wanted = []
    for turn in range(count):
        genre = genres[(place + turn) % len(genres)]
        subject = min(spans, key=lambda s: s.start)  # reversed: ask for what the statement is about
        span = subject if genre is Genre.REVERSED else rng.choice(spans)
        wanted.append(Request(genre, statement, span))
    return wanted


def writing_prompt(genre: Genre, statement: str, answer: str, *, taught: bool = False) -> list[prompts.Message]:
    """What the note-writer is asked with, and trained under.

    A taught writer needs no examples of a question, which are more than half of that prompt; the other genres keep
    their one, since it need not have been taught them.
    """
    if genre is Genre.REWRITE:
        return prompts.write_rewrite(statement)
    if genre is Genre.IMPLICATIONS:
        return prompts.write_implication(statement)
    return prompts.write_question(statement, answer, examples=not taught)


def _messages(request: Request, *, taught: bool) -> list[prompts.Message]:
    return writing_prompt(request.genre, request.statement.text, request.span.text, taught=taught)


def _item(request: Request, text: str, held_out: Collection[str]) -> TrainingItem | None:
    """The training item of one written text, or None when a check fails."""
    statement = request.statement
    if request.genre in (Genre.QA, Genre.REVERSED):
        if not checks.good_question(text, request.span.text, statement.text) or checks.too_close(text, held_out):
            return None
        return item(request.genre, text, statement.telling(request.span), statement)
    if not checks.good_note(text, statement.text):
        return None
    return item(request.genre, prompts.about(request.span.text), text, statement)
