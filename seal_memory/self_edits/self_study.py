"""Self-study: the model asks itself about every span of a text, and answers with the text in its prompt.

Closed-book training on such pairs is prompt distillation (arXiv 2412.14964); studying one's own questions and answers
is also how SPA (arXiv 2603.22213) and Cartridges (arXiv 2506.06266) learn a text. Here coverage drives it: each round
asks about the spans that no kept answer gives yet. A small writer often asks for something else than it was told to;
such a pair is as good, and covers the spans that its answer gives. What counts is the reader's answer: it must say
something new in the text's own words, and be repeated by one of two samples. The answers are condensed to a few facts
(`facts`), which are then learned as what was said in a dialogue is.

Only for a model that can read (`quizzes.reading`). Not here: items made by rules from a fact (`rules`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from seal_memory import prompts
from seal_memory.engines.base import Engine, Prompt
from seal_memory.language.metrics import contains
from seal_memory.language.spans import Span
from seal_memory.language.text import normalise
from seal_memory.records import Genre, GenreYield, TrainingItem
from seal_memory.self_edits import checks
from seal_memory.self_edits.facts import Answered, condense
from seal_memory.self_edits.specs import cued_item
from seal_memory.self_edits.statements import Statement
from seal_memory.self_edits.writer import WRITE_TEMPERATURE

ROUNDS = 3  # later ones ask about the spans that are left
QUESTION_TOKENS = 32
ANSWER_TOKENS = 32
ANSWER_TEMPERATURE = 0.7
SAMPLES = 2
_LABEL = re.compile(
    r"^[\s*#>-]*(?:q(?:uestion)?\s?\d{0,3}\s?[.):]|\d{1,2}\s?[.):]|[a-d]\s?[.)])[\s*.):]*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One text to study, with its statements, and quiz questions that no item may copy."""

    text: str
    statements: Sequence[Statement]
    held_out: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that passed its checks; `place`: index of its reading."""

    place: int
    statement: Statement
    question: str


@dataclass(frozen=True, slots=True)
class Studied:
    """Facts to train instead of the text's statements, the questions to them, and how many were asked for and kept."""

    facts: list[Statement]
    items: list[TrainingItem]
    yields: list[GenreYield]


def study(
    readings: Sequence[Reading], engine: Engine, *, per_span: int, seed: int, adapter: str | None = None
) -> list[Studied]:
    """Study every text: all in one batch per round, which asks `per_span` questions about each span that is left.

    `adapter` writes the questions (the note-writer's own); the untouched base answers them.
    """
    pairs: list[list[Answered]] = [[] for _ in readings]
    made = [0] * len(readings)
    seen = [{normalise(q) for q in r.held_out} for r in readings]
    left = [(n, s, span) for n, r in enumerate(readings) for s in r.statements for span in s.spans]
    for turn in range(ROUNDS):
        if not left:
            break
        wanted = [request for request in left for _ in range(per_span)]
        for place, count in Counter(n for n, _, _ in wanted).items():
            made[place] += count
        asked = _write(readings, wanted, engine, seen, seed=seed + turn, adapter=adapter)
        new = _answered(readings, asked, engine, seed=seed + turn)
        for own, fresh in zip(pairs, new, strict=True):
            own += fresh
        left = [(n, s, span) for n, s, span in left if not any(_gives(p, span) for p in new[n])]
    return [_studied(r, own, count) for r, own, count in zip(readings, pairs, made, strict=True)]


def _studied(reading: Reading, pairs: Sequence[Answered], made: int) -> Studied:
    facts, questions = condense(pairs, reading.statements)
    items = [cued_item(Genre.QA, question, fact.text, fact) for question, fact in questions]
    return Studied(facts, items, [GenreYield(Genre.QA, made, len(items))])


def clean_question(text: str) -> str:
    """The first line without labels such as "Q1:", "A." or "**Question:**", and without emphasis."""
    line = next(iter(text.strip().splitlines()), "")
    return " ".join(_LABEL.sub("", line.strip()).split()).strip(' *"')


def _write(
    readings: Sequence[Reading],
    wanted: Sequence[tuple[int, Statement, Span]],
    engine: Engine,
    seen: Sequence[set[str]],
    *,
    seed: int,
    adapter: str | None,
) -> list[_Asked]:
    """New questions that are fit to be answered; `seen` receives them, normalised."""
    examples = adapter is None
    asked = [Prompt(prompts.write_question(s.text, span.text, examples=examples), adapter) for _, s, span in wanted]
    done = engine.complete(asked, max_tokens=QUESTION_TOKENS, temperature=WRITE_TEMPERATURE, seed=seed)
    found = []
    for (n, statement, _), completion in zip(wanted, done, strict=True):
        question = clean_question(completion.text)
        key = normalise(question)
        fit = checks.fit_question(question, readings[n].text)
        if fit and key not in seen[n] and not checks.too_close(question, readings[n].held_out):
            seen[n].add(key)
            found.append(_Asked(n, statement, question))
    return found


def _answered(
    readings: Sequence[Reading], asked: Sequence[_Asked], engine: Engine, *, seed: int
) -> list[list[Answered]]:
    """Per reading, the questions whose answer holds, each with that answer."""
    read = [Prompt(prompts.read(readings[a.place].text, a.question)) for a in asked]
    greedy = engine.complete(read, max_tokens=ANSWER_TOKENS)
    answers = [
        Answered(a.question, d.text.strip(), d.confidence, a.statement) for a, d in zip(asked, greedy, strict=True)
    ]
    given = [
        _given(a, readings[q.place]) if d.finish == "stop" else []
        for a, d, q in zip(answers, greedy, asked, strict=True)
    ]
    passed = [n for n, spans in enumerate(given) if spans]
    again = [read[n] for n in passed for _ in range(SAMPLES)]
    samples = engine.complete(again, max_tokens=ANSWER_TOKENS, temperature=ANSWER_TEMPERATURE, seed=seed)
    kept: list[list[Answered]] = [[] for _ in readings]
    for k, n in enumerate(passed):
        texts = [s.text for s in samples[SAMPLES * k : SAMPLES * (k + 1)]]
        if any(contains(text, span) for text in texts for span in given[n]):
            kept[asked[n].place].append(answers[n])
    return kept


def _given(pair: Answered, reading: Reading) -> list[str]:
    """The spans that an answer gives and its question does not; none where the answer fails its checks."""
    if not checks.good_answer(pair.answer, pair.question, reading.text):
        return []
    return [span.text for s in reading.statements for span in s.spans if _gives(pair, span)]


def _gives(pair: Answered, span: Span) -> bool:
    return contains(pair.answer, span.text) and not contains(pair.question, span.text)
