"""Facts: a few short sentences, out of a reader's answers, that together say what a text says.

One target for many questions is learned better than one target for each question: measured on prose, 0.55 against 0.30
of the questions, where the text in the prompt answers 0.55 and rules alone 0.47 (docs/lab-log/self-study.md). Spans
that no answer gives are left to their clause of the text.
Not here: asking and answering (`self_study`), items about a fact (`rules`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seal_memory.language.metrics import contains
from seal_memory.language.spans import answer_spans
from seal_memory.language.text import content_words, normalise, stem
from seal_memory.self_edits.statements import Statement

Place = tuple[int, str]  # (index of a statement, text of one of its spans)


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with the reader's answer; `confidence`: 0..1; `statement`: what the question was to be about."""

    question: str
    answer: str
    confidence: float
    statement: Statement


@dataclass(slots=True)
class _Candidate:
    """One answer as a fact: the spans that it states, the most confident asking, and how often it was given."""

    statement: Statement
    states: set[Place]
    confidence: float
    times: int = 0


def condense(
    answered: Sequence[Answered], statements: Sequence[Statement]
) -> tuple[list[Statement], list[tuple[str, Statement]]]:
    """The facts, and every question with the fact that answers it best.

    Facts are chosen greedily by the number of spans that they add, times confidence; an answer that was given more
    often counts a little more. A question whose answer shares no span with any fact is dropped.
    """
    places = [(n, span.text) for n, s in enumerate(statements) for span in s.spans]
    candidates: dict[str, _Candidate] = {}
    for a in answered:
        states = {p for p in places if contains(a.answer, p[1])}
        found = candidates.setdefault(normalise(a.answer), _Candidate(_fact(a), states, 0.0))
        found.confidence = max(found.confidence, a.confidence)
        found.times += 1
    chosen = _cover(list(candidates.values()), set(places))
    stated = {p for c in chosen for p in c.states}
    facts = {c.statement.text: c.statement for c in chosen}
    for n, statement in enumerate(statements):
        for span in statement.spans:
            if (n, span.text) not in stated:
                clause = statement.target_for(span)
                facts.setdefault(clause, _statement(clause, statement))
    asked = [(a.question, _best(a, list(facts.values()), places)) for a in answered]
    return list(facts.values()), [(question, fact) for question, fact in asked if fact is not None]


def _cover(candidates: Sequence[_Candidate], places: set[Place]) -> list[_Candidate]:
    """Candidates in the order in which they are chosen, until none adds a span."""
    left, chosen = set(places), list[_Candidate]()
    while True:
        best = max(candidates, key=lambda c: (_worth(c, left), -len(c.statement.text)), default=None)
        if best is None or not best.states & left:
            return chosen
        chosen.append(best)
        left -= best.states


def _worth(candidate: _Candidate, left: set[Place]) -> float:
    return len(candidate.states & left) * candidate.confidence * (1 + 0.1 * candidate.times)


def _best(answered: Answered, facts: Sequence[Statement], places: Sequence[Place]) -> Statement | None:
    """The fact that states most of what the answer gives beyond its question; then the one most like it in words."""
    given = [span for _, span in places if contains(answered.answer, span) and not contains(answered.question, span)]
    words = {stem(w) for w in content_words(answered.answer)}

    def likeness(fact: Statement) -> tuple[int, float]:
        own = {stem(w) for w in content_words(fact.text)}
        return sum(contains(fact.text, span) for span in given), len(words & own) / max(1, len(words | own))

    best = max(facts, key=likeness, default=None)
    return best if best is not None and likeness(best)[0] else None


def _fact(answered: Answered) -> Statement:
    return _statement(answered.answer, answered.statement)


def _statement(text: str, source: Statement) -> Statement:
    return Statement(text, source.title, source.interaction_id, tuple(answer_spans(text)))
