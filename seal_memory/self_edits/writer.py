"""The model as its own note-writer: asks it for texts of the model-written genres, and keeps those that pass.

One batched generation for all episodes; every text must pass its genre's checks against its statement.
Not here: the genres' prompts and checks (`notes`), rule-made items (`rules`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from seal_memory.engines.base import Engine, Prompt
from seal_memory.language.spans import Span
from seal_memory.records import Genre, GenreYield, TrainingItem
from seal_memory.self_edits.genres import MODEL_GENRES, model_writings, writing_prompt
from seal_memory.self_edits.statements import Statement

WRITE_TEMPERATURE = 0.7
WRITE_TOKENS = 40


@dataclass(frozen=True, slots=True)
class Request:
    """One text that the note-writer is asked for."""

    genre: Genre
    statement: Statement
    span: Span  # the answer of a question; the name to ask by for a rewrite or an implication


@dataclass(frozen=True, slots=True)
class Draft:
    """The first line of a written text, and its training item if it passed every check."""

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
    """Per group of statements, the written items that are fit to train, and each genre's yield.

    See `write_drafts` for the options.
    """
    drafts = write_drafts(groups, engine, per_statement=per_statement, held_out=held_out, seed=seed, adapter=adapter)
    return [_accepted(own) for own in drafts]


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
    """Per group of statements, every written text, with its item if it passed the checks.

    All groups are written in one batch. `per_statement` texts are asked for per statement, genres taking turns.
    `adapter` is the note-writer's own policy adapter. `held_out[g]` are quiz questions that group g may not copy.
    """
    rng = random.Random(seed)
    by_group = [
        [r for n, s in enumerate(group) for r in _requests(s, n, per_statement, genres, rng)] for group in groups
    ]
    asked = [
        Prompt(writing_prompt(r.genre, r.statement.text, r.span.text, taught=adapter is not None), adapter)
        for requests in by_group
        for r in requests
    ]
    done = iter(engine.complete(asked, max_tokens=WRITE_TOKENS, temperature=temperature, seed=seed))
    return [
        [_draft(r, next(done).text, quiz) for r in requests] for requests, quiz in zip(by_group, held_out, strict=True)
    ]


def _draft(request: Request, text: str, held_out: Collection[str]) -> Draft:
    line = text.strip().split("\n")[0].strip()
    writing = model_writings()[request.genre]
    return Draft(request, line, writing.item(line, request.statement, request.span, held_out))


def _accepted(drafts: Sequence[Draft]) -> Written:
    """The distinct items of one group that passed every check, and how many texts of each genre did."""
    items: list[TrainingItem] = []
    made, kept = Counter[Genre](), Counter[Genre]()
    for draft in drafts:
        made[draft.request.genre] += 1
        if draft.item is not None and draft.item not in items:
            kept[draft.request.genre] += 1
            items.append(draft.item)
    return items, [GenreYield(g, made[g], kept[g]) for g in model_writings() if made[g]]


def _requests(
    statement: Statement, place: int, count: int, genres: Sequence[Genre], rng: random.Random
) -> list[Request]:
    """`count` requests about one statement; each statement starts at the next genre."""
    spans = statement.spans
    if not spans:
        return []
    requests = []
    for turn in range(count):
        genre = genres[(place + turn) % len(genres)]
        about_subject = model_writings()[genre].about_subject
        span = min(spans, key=lambda s: s.start) if about_subject else rng.choice(spans)
        requests.append(Request(genre, statement, span))
    return requests
