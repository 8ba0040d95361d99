"""Quiz generation from the source text alone, in several phrasings, and a filter that keeps answerable items.

An item is kept when the base model finds its answer likelier with the text in the prompt than without, by
log-probability (a small model's generation is too noisy for this). Every item is held out for good.
Not here: grading answers (`grader`), use of the results (`learning`).
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
from seal_memory.language.metrics import contains
from seal_memory.language.text import normalise
from seal_memory.records import QuizItem
from seal_memory.self_edits.checks import good_question
from seal_memory.self_edits.statements import Statement

PHRASINGS = (Shape.FRONTED, Shape.IN_PLACE, Shape.KEYWORDS)
MODEL_PHRASING = len(PHRASINGS)  # phrasing number of model-written questions
MIN_GAIN = math.log(1.5)  # per answer token: with the text at least 1.5 times as likely as without
QUESTION_TOKENS = 24
LATE_SPANS = 8  # per statement, where the episode has no item yet
LATE_ITEMS = 3  # kept per interaction: each reserves a question that training must not see


@dataclass(frozen=True, slots=True)
class QuizPlan:
    """Number of questions to try per statement, and whether the model rewords some."""

    per_statement: int = 2
    model_questions: bool = True


def make_quiz(
    statements: Sequence[Statement], engine: Engine, *, plan: QuizPlan, seed: int, make_id: Callable[[], str]
) -> list[QuizItem]:
    """Answerable quiz items for the statements of one or several episodes, all held out."""
    rng = random.Random(seed)
    offered = _cloze_items(statements, plan.per_statement, rng, make_id)
    if plan.model_questions:
        offered = _with_model_questions(offered, engine, seed)
    return filter_answerable([item for item, _ in offered], [s.text for _, s in offered], engine)


def make_late_quiz(
    statements: Sequence[Statement], engine: Engine, *, seed: int, make_id: Callable[[], str]
) -> list[QuizItem]:
    """Second attempt for an episode without any answerable item, such as one short fact: every span in every phrasing.

    The same filter; at most `LATE_ITEMS` of an interaction, the largest gain first.
    """
    rng = random.Random(seed)
    offered: list[tuple[QuizItem, Statement]] = []
    for phrasing in range(len(PHRASINGS)):
        offered += _cloze_items(statements, LATE_SPANS, rng, make_id, phrasing=phrasing)
    kept = filter_answerable([item for item, _ in offered], [s.text for _, s in offered], engine)
    kept.sort(key=_gain, reverse=True)
    by_question = {normalise(item.question): item for item in reversed(kept)}
    taken: Counter[tuple[str, ...]] = Counter()
    best = []
    for item in kept:
        if by_question[normalise(item.question)] is item and taken[item.interaction_ids] < LATE_ITEMS:
            taken[item.interaction_ids] += 1
            best.append(item)
    return best


def filter_answerable(items: Sequence[QuizItem], sources: Sequence[str], engine: Engine) -> list[QuizItem]:
    """Items whose answer the text makes likelier by `MIN_GAIN`, with both log-probabilities."""
    with_text = engine.score(
        [(Prompt(prompts.read(s, i.question)), i.answer) for i, s in zip(items, sources, strict=True)]
    )
    without = base_cache.score(engine, [(Prompt(prompts.direct(i.question)), i.answer) for i in items])
    kept = []
    for item, there, closed in zip(items, with_text, without, strict=True):
        if there.logprob - closed.logprob >= MIN_GAIN:
            kept.append(replace(item, logprob_with=there.logprob, logprob_without=closed.logprob))
    return kept


def _cloze_items(
    statements: Sequence[Statement],
    count: int,
    rng: random.Random,
    make_id: Callable[[], str],
    *,
    phrasing: int | None = None,
) -> list[tuple[QuizItem, Statement]]:
    """Up to `count` questions per statement, best kinds of spans first; the phrasings alternate unless one is given."""
    offered: list[tuple[QuizItem, Statement]] = []
    asked: set[str] = set()
    for statement in statements:
        # the end of a sentence usually holds its news; spans are already ranked by kind
        spans = sorted(statement.spans[: count + 2], key=lambda s: -s.start)[:count]
        for n, span in enumerate(spans):
            shape = (len(offered) + n) % len(PHRASINGS) if phrasing is None else phrasing
            question = cloze_question(statement.text, span, shape=PHRASINGS[shape], rng=rng, window=14)
            if question is None or contains(question, span.text) or normalise(question) in asked:
                continue
            asked.add(normalise(question))
            quiz_item = QuizItem(make_id(), (statement.interaction_id,), question, span.text, True, shape)
            offered.append((quiz_item, statement))
    return offered


def _with_model_questions(
    offered: list[tuple[QuizItem, Statement]], engine: Engine, seed: int
) -> list[tuple[QuizItem, Statement]]:
    """Replace every second question by one the model wrote, where that passes the source checks."""
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
