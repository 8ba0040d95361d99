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

WRITE_TEMPERATURE = 0.7
WRITE_TOKENS = 40
MODEL_GENRES = (Genre.QA, Genre.REVERSED, Genre.REWRITE, Genre.IMPLICATIONS)


@dataclass(frozen=True, slots=True)
class _Request:
    genre: Genre
    statement: Statement
    answer: str  # of a question; the name to ask by for rewrites and implications
    messages: list[prompts.Message]


def write_items(
    statements: Sequence[Statement],
    engine: Engine,
    *,
    per_statement: int,
    held_out: Collection[str],
    seed: int,
    adapter: str | None = None,
) -> tuple[list[TrainingItem], list[GenreYield]]:
    """What the model wrote and what of it is fit to train, with the yield of each genre.

    `per_statement` texts are asked for per statement, genres taking turns. `adapter` is the note-writer's own
    policy adapter. `held_out` quiz questions may not be copied.
    """
    rng = random.Random(seed)
    requests = [r for n, s in enumerate(statements) for r in _requests(s, n, per_statement, rng)]
    done = engine.complete(
        [Prompt(r.messages, adapter) for r in requests],
        max_tokens=WRITE_TOKENS,
        temperature=WRITE_TEMPERATURE,
        seed=seed,
    )
    kept: list[TrainingItem] = []
    made_by, kept_by = dict.fromkeys(MODEL_GENRES, 0), dict.fromkeys(MODEL_GENRES, 0)
    for request, completion in zip(requests, done, strict=True):
        made_by[request.genre] += 1
        found = _item(request, completion.text.strip().split("\n")[0].strip(), held_out)
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
        subject = min(spans, key=lambda s: s.start).text  # reversed: ask for what the statement is about
        answer = subject if genre is Genre.REVERSED else rng.choice(spans).text
        wanted.append(_Request(genre, statement, answer, _messages(genre, statement.text, answer)))
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
        if not checks.good_question(text, request.answer, statement.text) or checks.too_close(text, held_out):
            return None
        return item(request.genre, text, statement.text, statement)
    if not checks.good_note(text, statement.text):
        return None
    return item(request.genre, prompts.about(request.answer), text, statement)
