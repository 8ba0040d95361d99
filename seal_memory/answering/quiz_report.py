"""Quiz of a whole memory: its held-out questions, asked as a user would ask, with the router's accuracy.

Not here: making quiz items (`quizzes.generator`), the publish gate (`learning.gate`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seal_memory.answering.answerer import Answer, Answerer, Mode
from seal_memory.errors import InputError
from seal_memory.language.metrics import contains, exact_match, mean, token_f1
from seal_memory.ledger import Ledger
from seal_memory.ledger.arguments import require_sequence, require_text, require_texts
from seal_memory.records import WITHHELD, QuizItem, Status


@dataclass(frozen=True, slots=True)
class QuizReport:
    """Accuracy (normalised containment), exact match and F1, 0..1, over `questions` held-out items.

    `router_accuracy`: share of items whose answer came from an interaction the item is about.
    """

    questions: int
    accuracy: float
    exact: float
    f1: float
    router_accuracy: float
    snapshot: int | None
    items: tuple[tuple[QuizItem, Answer], ...]


def valid_items(ledger: Ledger) -> list[QuizItem]:
    """The held-out items about interactions that are neither superseded nor withheld (quarantined or rejected)."""
    out = WITHHELD | {Status.SUPERSEDED}
    valid = {i.id for i in ledger.interactions() if i.status not in out}
    return [i for i in ledger.quiz_items(held_out=True) if valid.issuperset(i.interaction_ids)]


def ask_quiz(items: Sequence[QuizItem], answerer: Answerer, mode: Mode, max_tokens: int) -> QuizReport:
    """Ask the items in one batch and measure the answers."""
    answers = answerer.answer([i.question for i in items], mode, max_tokens=max_tokens)
    pairs = list(zip(items, answers, strict=True))
    return QuizReport(
        len(pairs),
        mean(float(contains(a.text, i.answer)) for i, a in pairs),
        mean(float(exact_match(a.text, i.answer)) for i, a in pairs),
        mean(token_f1(a.text, i.answer) for i, a in pairs),
        mean(float(bool(set(a.sources) & set(i.interaction_ids))) for i, a in pairs),
        answerer.snapshot,
        tuple(pairs),
    )


def user_items(
    pairs: Sequence[tuple[str, str]], interaction_ids: Sequence[str], *, make_id: Callable[[], str]
) -> list[QuizItem]:
    """Make held-out quiz items from a user's (question, answer) pairs. Raises `InputError` for an empty side."""
    for number, pair in enumerate(require_sequence(pairs, "items")):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(f"quiz pair {number} is a {type(pair).__name__}; expected (question, answer)")
        question, answer = (require_text(side, f"quiz pair {number}") for side in pair)
        if not question.strip() or not answer.strip():
            raise InputError(f"The quiz pair {(question, answer)!r} has an empty side; expected question and answer.")
    ids = tuple(require_texts(interaction_ids, "interaction_ids"))
    return [
        QuizItem(make_id(), ids, question.strip(), answer.strip(), True, origin="user") for question, answer in pairs
    ]
