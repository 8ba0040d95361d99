"""Self-study: the model asks itself about every span of a text, and answers with the text in its prompt.

Closed-book training on such pairs is prompt distillation (arXiv 2412.14964); studying one's own questions and answers
is also how SPA (arXiv 2603.22213) and Cartridges (arXiv 2506.06266) learn a text. Here coverage drives it: each round
asks about the spans that no kept answer gives yet. A small writer often asks for something else than it was told to;
such a pair is as good, and covers the spans that its answer gives. What counts is the reader's answer: it must say
something new in the text's own words, and be repeated by one of two samples.

Only for a model that can read (`quizzes.reading`). Not here: items made by rules, which cover every span (`rules`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from seal_memory import prompts
from seal_memory.engines.base import Completion, Engine, Prompt
from seal_memory.language.spans import Span
from seal_memory.language.text import normalise
from seal_memory.quizzes.metrics import contains
from seal_memory.records import Genre, GenreYield, TrainingItem
from seal_memory.self_edits import checks
from seal_memory.self_edits.specs import cued_item
from seal_memory.self_edits.statements import Statement
from seal_memory.self_edits.writer import WRITE_TEMPERATURE, Written

ROUNDS = 3  # later ones ask about the spans that are left
QUESTION_TOKENS = 32
ANSWER_TOKENS = 32
ANSWER_TEMPERATURE = 0.7
SAMPLES = 2
_LABEL = re.compile(r"^[\s*#>-]*(?:q(?:uestion)?\s*\d*\s*[.):]+|\d{1,2}\s*[.):]+|[a-d]\s*[.)]+)[\s*]*", re.IGNORECASE)


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


def study(
    readings: Sequence[Reading], engine: Engine, *, per_span: int, seed: int, adapter: str | None = None
) -> list[Written]:
    """Per reading, question-and-answer items about its spans, and how many were asked for and kept.

    All readings are studied in one batch per round; each asks `per_span` questions about each span that is left.
    `adapter` writes the questions (the note-writer's own); the
    untouched base answers them.
    """
    items: list[list[TrainingItem]] = [[] for _ in readings]
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
        given: list[list[tuple[str, str]]] = [[] for _ in readings]
        for one, answer in _answered(readings, asked, engine, seed=seed + turn):
            items[one.place].append(cued_item(Genre.QA, one.question, answer, one.statement))
            given[one.place].append((one.question, answer))
        left = [(n, s, span) for n, s, span in left if not any(_gives(a, q, span) for q, a in given[n])]
    return [(own, [GenreYield(Genre.QA, count, len(own))]) for own, count in zip(items, made, strict=True)]


def clean_question(text: str) -> str:
    """The first line without labels such as "Q1:", "A." or "**Question:**", and without emphasis."""
    line = text.strip().split("\n")[0].strip()
    return _LABEL.sub("", line).strip(' *"')


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
) -> list[tuple[_Asked, str]]:
    """The questions whose answer holds, each with that answer."""
    read = [Prompt(prompts.read(readings[a.place].text, a.question)) for a in asked]
    greedy = engine.complete(read, max_tokens=ANSWER_TOKENS)
    given = [_given(d, a.question, readings[a.place]) for d, a in zip(greedy, asked, strict=True)]
    passed = [n for n, spans in enumerate(given) if spans]
    again = [read[n] for n in passed for _ in range(SAMPLES)]
    samples = engine.complete(again, max_tokens=ANSWER_TOKENS, temperature=ANSWER_TEMPERATURE, seed=seed)
    texts = [s.text for s in samples]
    return [
        (asked[n], greedy[n].text.strip())
        for k, n in enumerate(passed)
        if any(contains(text, span) for text in texts[SAMPLES * k : SAMPLES * (k + 1)] for span in given[n])
    ]


def _given(answer: Completion, question: str, reading: Reading) -> list[str]:
    """The spans that an answer gives and its question does not; none where the answer was cut or fails its checks."""
    text = answer.text.strip()
    if answer.finish != "stop" or not checks.good_answer(text, question, reading.text):
        return []
    return [span.text for s in reading.statements for span in s.spans if _gives(text, question, span)]


def _gives(answer: str, question: str, span: Span) -> bool:
    return contains(answer, span.text) and not contains(question, span.text)
