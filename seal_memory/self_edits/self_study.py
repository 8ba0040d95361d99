"""Self-study: the model asks itself about every span of a text, and answers with the text in its prompt.

Closed-book training on such pairs is prompt distillation (arXiv 2412.14964); studying one's own questions and answers
is also how SPA (arXiv 2603.22213) and Cartridges (arXiv 2506.06266) learn a text. Here coverage drives it: each round
asks only about spans that no kept question is about. A question is kept when the reader, asked it, answers with that
span again, and does so in one of two samples, too (round trip, Alberti et al., arXiv 1906.05416).

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
WORDINGS = 2  # questions asked for per span and round
QUESTION_TOKENS = 32
ANSWER_TOKENS = 32
ANSWER_TEMPERATURE = 0.7
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
    span: Span
    question: str


def study(readings: Sequence[Reading], engine: Engine, *, seed: int, adapter: str | None = None) -> list[Written]:
    """Per reading, question-and-answer items about its spans, and how many were asked for and kept.

    All readings are studied in one batch per round. `adapter` writes the questions (the note-writer's own); the
    untouched base answers them.
    """
    items: list[list[TrainingItem]] = [[] for _ in readings]
    made = [0] * len(readings)
    seen = [{normalise(q) for q in r.held_out} for r in readings]
    left = [(n, s, span) for n, r in enumerate(readings) for s in r.statements for span in s.spans]
    for turn in range(ROUNDS):
        if not left:
            break
        wanted = [request for request in left for _ in range(WORDINGS)]
        for place, count in Counter(n for n, _, _ in wanted).items():
            made[place] += count
        asked = _write(readings, wanted, engine, seen, seed=seed + turn, adapter=adapter)
        covered = set()
        for one, target in _answered(readings, asked, engine, seed=seed + turn):
            items[one.place].append(cued_item(Genre.QA, one.question, target, one.statement))
            covered.add((one.place, one.statement.text, one.span))
        left = [(n, s, span) for n, s, span in left if (n, s.text, span) not in covered]
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
    for (n, statement, span), completion in zip(wanted, done, strict=True):
        question = clean_question(completion.text)
        key = normalise(question)
        fit = checks.good_question(question, span.text, readings[n].text)
        if fit and key not in seen[n] and not checks.too_close(question, readings[n].held_out):
            seen[n].add(key)
            found.append(_Asked(n, statement, span, question))
    return found


def _answered(
    readings: Sequence[Reading], asked: Sequence[_Asked], engine: Engine, *, seed: int
) -> list[tuple[_Asked, str]]:
    """The questions whose answer holds, each with the answer to train: the reader's, or the clause if it was cut."""
    read = [Prompt(prompts.read(readings[a.place].text, a.question)) for a in asked]
    greedy = engine.complete(read, max_tokens=ANSWER_TOKENS)
    passed = [n for n, a in enumerate(asked) if _holds(greedy[n], a, readings[a.place])]
    again = [read[n] for n in passed for _ in range(2)]
    samples = engine.complete(again, max_tokens=ANSWER_TOKENS, temperature=ANSWER_TEMPERATURE, seed=seed)
    kept = []
    for k, n in enumerate(passed):
        if any(contains(s.text, asked[n].span.text) for s in samples[2 * k : 2 * k + 2]):
            whole = greedy[n].finish == "stop"
            target = greedy[n].text.strip() if whole else asked[n].statement.target_for(asked[n].span)
            kept.append((asked[n], target))
    return kept


def _holds(answer: Completion, asked: _Asked, reading: Reading) -> bool:
    """Whether the reader's answer has the span, and no name or number that the text has not."""
    text = answer.text.strip()
    if "\n" in text or not contains(text, asked.span.text):
        return False
    return answer.finish == "length" or checks.grounded(text, f"{reading.text} {asked.question}")
