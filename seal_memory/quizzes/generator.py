"""Quiz questions from the source alone, in several phrasings, and the gate that keeps the answerable ones.

A question is kept when the base model finds its answer likelier with the text in the prompt than without it, by
log-probability (a small model's generation is too noisy to gate on). Part of each episode's items is held out for
good. Not here: judging answers (`grading`), what is done with the result (`learning`).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from seal_memory import prompts
from seal_memory.engines import base_cache
from seal_memory.engines.base import Engine, Prompt
from seal_memory.language.cloze import Shape, cloze_question
from seal_memory.language.text import normalise
from seal_memory.quizzes.metrics import contains
from seal_memory.records import QuizItem
from seal_memory.self_edits.checks import good_question
from seal_memory.self_edits.statements import Statement

PHRASINGS = (Shape.FRONTED, Shape.IN_PLACE, Shape.KEYWORDS)
MODEL_PHRASING = len(PHRASINGS)  # the phrasing number of a question that the model wrote
MIN_GAIN = math.log(1.5)  # per answer token: with the text at least 1.5 times as likely as without
QUESTION_TOKENS = 24
LATE_SPANS = 8  # of a statement whose episode has no item yet
LATE_ITEMS = 3  # kept of an interaction: each reserves a question that training must not see


@dataclass(frozen=True, slots=True)
class QuizPlan:
    """How many questions to try per statement, and the share held out."""

    per_statement: int = 2
    held_out_share: float = 0.5
    model_questions: bool = True


def make_quiz(
    statements: Sequence[Statement], engine: Engine, *, plan: QuizPlan, seed: int, make_id: Callable[[], str]
) -> list[QuizItem]:
    """Gated quiz items of one or several episodes' statements; see `hold_out` for the split."""
    rng = random.Random(seed)
    offered = _offer(statements, plan.per_statement, rng, make_id)
    if plan.model_questions:
        offered = _let_model_ask(offered, engine, seed)
    return gate([item for item, _ in offered], [s.text for _, s in offered], engine)


def make_late_quiz(
    statements: Sequence[Statement], engine: Engine, *, seed: int, make_id: Callable[[], str]
) -> list[QuizItem]:
    """For an episode none of whose first questions passed, such as one short fact: every span in every phrasing.

    The same gate; of an interaction at most `LATE_ITEMS`, the largest gain first.
    """
    rng = random.Random(seed)
    offered: list[tuple[QuizItem, Statement]] = []
    for phrasing in range(len(PHRASINGS)):
        offered += _offer(statements, LATE_SPANS, rng, make_id, phrasing=phrasing)
    kept = gate([item for item, _ in offered], [s.text for _, s in offered], engine)
    kept.sort(key=_gain, reverse=True)
    by_question = {normalise(item.question): item for item in reversed(kept)}
    taken: Counter[tuple[str, ...]] = Counter()
    best = []
    for item in kept:
        if by_question[normalise(item.question)] is item and taken[item.interaction_ids] < LATE_ITEMS:
            taken[item.interaction_ids] += 1
            best.append(item)
    return best


def gate(items: Sequence[QuizItem], sources: Sequence[str], engine: Engine) -> list[QuizItem]:
    """The items that the text answers and the untouched model does not, with both log-probabilities."""
    with_text = engine.score(
        [(Prompt(prompts.read(s, i.question)), i.answer) for i, s in zip(items, sources, strict=True)]
    )
    without = base_cache.score(engine, [(Prompt(prompts.direct(i.question)), i.answer) for i in items])
    kept = []
    for item, there, closed in zip(items, with_text, without, strict=True):
        if there.logprob - closed.logprob >= MIN_GAIN:
            kept.append(replace(item, logprob_with=there.logprob, logprob_without=closed.logprob))
    return kept


def hold_out(items: Sequence[QuizItem], *, share: float, seed: int) -> list[QuizItem]:
    """One episode's items with `share` of them held out, at least one, spread over the answers."""
    if not items:
        return []
    rng = random.Random(seed)
    order = list(range(len(items)))
    rng.shuffle(order)
    chosen = set(order[: max(1, round(share * len(items)))])
    marked = [replace(item, held_out=n in chosen) for n, item in enumerate(items)]
    reserved = {normalise(i.question) for i in marked if i.held_out}
    return [i for i in marked if i.held_out or normalise(i.question) not in reserved]


def _offer(
    statements: Sequence[Statement],
    count: int,
    rng: random.Random,
    make_id: Callable[[], str],
    *,
    phrasing: int | None = None,
) -> list[tuple[QuizItem, Statement]]:
    """Up to `count` questions per statement, the best kinds of spans first; phrasings take turns if none is given."""
    offered: list[tuple[QuizItem, Statement]] = []
    asked: set[str] = set()
    for statement in statements:
        # what comes last in a sentence is usually what it tells; spans are ranked by kind already
        spans = sorted(statement.spans[: count + 2], key=lambda s: -s.start)[:count]
        for n, span in enumerate(spans):
            shape = (len(offered) + n) % len(PHRASINGS) if phrasing is None else phrasing
            question = cloze_question(statement.text, span, shape=PHRASINGS[shape], rng=rng, window=14)
            if question is None or contains(question, span.text) or normalise(question) in asked:
                continue
            asked.add(normalise(question))
            quiz_item = QuizItem(make_id(), (statement.interaction_id,), question, span.text, False, shape)
            offered.append((quiz_item, statement))
    return offered


def _let_model_ask(
    offered: list[tuple[QuizItem, Statement]], engine: Engine, seed: int
) -> list[tuple[QuizItem, Statement]]:
    """Every second question put by the model instead, where what it wrote passes the source checks."""
    places = list(range(0, len(offered), 2))
    written = engine.complete(
        [Prompt(prompts.write_question(offered[p][1].text, offered[p][0].answer)) for p in places],
        max_tokens=QUESTION_TOKENS,
        seed=seed,
    )
    result = list(offered)
    asked = {normalise(item.question) for item, _ in offered}
    for place, completion in zip(places, written, strict=True):
        quiz_item, statement = offered[place]
        question = completion.text.strip().split("\n")[0].strip()
        fit = good_question(question, quiz_item.answer, statement.text) and normalise(question) not in asked
        if fit:
            asked.add(normalise(question))
            result[place] = (replace(quiz_item, question=question, phrasing=MODEL_PHRASING), statement)
    return result


def _gain(item: QuizItem) -> float:
    return (item.logprob_with or 0.0) - (item.logprob_without or 0.0)
