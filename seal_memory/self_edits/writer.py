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
from seal_memory.records import Genre, GenreYield, TrainingItem
from seal_memory.self_edits import checks
from seal_memory.self_edits.genres import item
from seal_memory.self_edits.statements import Statement
from seal_memory.spans import Span

WRITE_TEMPERATURE = 0.7
WRITE_TOKENS = 40
MODEL_GENRES = (Genre.QA, Genre.REVERSED, Genre.REWRITE, Genre.IMPLICATIONS)


@dataclass(frozen=True, slots=True)
class _Request:
    genre: Genre
    statement: Statement
    span: Span  # the answer of a question; the name to ask by for rewrites and implications
    messages: list[prompts.Message]


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

    All groups are written in one batch. `per_statement` texts are asked for per statement, genres taking turns.
    `adapter` is the note-writer's own policy adapter. `held_out[g]` are quiz questions that group g may not copy.
    """
    rng = random.Random(seed)
    asked = [[r for n, s in enumerate(group) for r in _requests(s, n, per_statement, rng)] for group in groups]
    done = iter(
        engine.complete(
            [Prompt(r.messages, adapter) for requests in asked for r in requests],
            max_tokens=WRITE_TOKENS,
            temperature=WRITE_TEMPERATURE,
            seed=seed,
        )
    )
    return [
        _check([(r, next(done).text) for r in requests], reserved)
        for requests, reserved in zip(asked, held_out, strict=True)
    ]


def _check(written: Sequence[tuple[_Request, str]], held_out: Collection[str]) -> Written:
    """The items of one group that pass every check, and how many of each genre did."""
    kept: list[TrainingItem] = []
    made_by, kept_by = dict.fromkeys(MODEL_GENRES, 0), dict.fromkeys(MODEL_GENRES, 0)
    for request, text in written:
        made_by[request.genre] += 1
        found = _item(request, text.strip().split("\n")[0].strip(), held_out)
        if found is not None and found not in kept:
            kept_by[request.genre] += 1
            kept.append(found)
    return kept, [GenreYield(g, made_by[g], kept_by[g]) for g in MODEL_GENRES if made_by[g]]


def _requests(statement: Statement, place: int, count: int, rng: random.Random) -> list[_Request]:
    """`count` requests; the genres start at another one for each statement."""
    spans = statement.spans
    if not spans:
        return []
    wanted = []
    for turn in range(count):
        genre = MODEL_GENRES[(place + turn) % len(MODEL_GENRES)]
        subject = min(spans, key=lambda s: s.start)  # reversed: ask for what the statement is about
        span = subject if genre is Genre.REVERSED else rng.choice(spans)
        wanted.append(_Request(genre, statement, span, _messages(genre, statement.text, span.text)))
    return wanted


def _messages(genre: Genre, statement: str, answer: str) -> list[prompts.Message]:
    if genre is Genre.REWRITE:
        return prompts.write_rewrite(statement)
    if genre is Genre.IMPLICATIONS:
        return prompts.write_implication(statement)
    return prompts.write_question(statement, answer)


def _item(request: _Request, text: str, held_out: Collection[str]) -> TrainingItem | None:
    """The training item of one written text, or None when a check fails."""
    statement = request.statement
    if request.genre in (Genre.QA, Genre.REVERSED):
        if not checks.good_question(text, request.span.text, statement.text) or checks.too_close(text, held_out):
            return None
        return item(request.genre, text, statement.telling(request.span), statement)
    if not checks.good_note(text, statement.text):
        return None
    return item(request.genre, prompts.about(request.span.text), text, statement)
