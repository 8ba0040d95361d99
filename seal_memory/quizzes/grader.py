"""Local grader: is a free-text answer right, given the question and the gold answer? No network, no model.

It grades answers to quiz items that people add (`SealMemory.add_quiz`; `learning.grading`), where it may accept answers
that plain containment misses, and fills the *judged* column of the benchmarks; generated items are graded without it.

A small ensemble of boosted trees over `grader_features`, trained on real verdicts of GPT-4.1 (benchmarks/grader.py) and
read from `seal_memory/data/grader.json`, then a few caps for cases that the verdicts rarely show: denials of the gold,
lists of everything, text addressed to the grader. Not covered: synonyms, facts that need the passage, arithmetic.
Not here: containment and F1 (`language.metrics`), making quiz items (`generator`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np

from seal_memory.errors import InputError
from seal_memory.language.metrics import exact_match
from seal_memory.quizzes.grader_features import FEATURES, features
from seal_memory.quizzes.grader_forms import NEGATIONS, Token, head, strip_grader_talk, tokenise

__all__ = ["GradedAnswer", "Trees", "caps", "grade_answer", "grade_answers"]

DENIED = 0.1  # highest probability where the gold is denied or hidden in a list of everything
LISTED_ITEMS = 8  # this many short items beside the gold's are no answer


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """Whether the answer counts as correct, and the probability that GPT-4.1 would say so, 0..1."""

    correct: bool
    probability: float


@dataclass(frozen=True, slots=True)
class Trees:
    """Complete binary trees of one depth: T trees, N = 2^depth - 1 splits and N + 1 leaves each."""

    names: tuple[str, ...]
    start: float
    feature: np.ndarray[Any, np.dtype[np.int64]]  # (T, N)
    threshold: np.ndarray[Any, np.dtype[np.float64]]  # (T, N); values not above it go left
    leaf: np.ndarray[Any, np.dtype[np.float64]]  # (T, N + 1)

    def probabilities(self, rows: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Rows (R, F) to the probability of a correct answer, (R,)."""
        score = np.full(len(rows), self.start)
        inner = self.feature.shape[1]
        each = np.arange(len(rows))
        for feature, threshold, leaf in zip(self.feature, self.threshold, self.leaf, strict=True):
            node = np.zeros(len(rows), dtype=np.int64)
            while len(node) and node[0] < inner:
                node = 2 * node + 1 + (rows[each, feature[node]] > threshold[node])
            score += leaf[node - inner]
        return np.asarray(1 / (1 + np.exp(-score)))

    def to_json(self) -> dict[str, Any]:
        """JSON that `from_json` reads."""
        return {
            "features": list(self.names),
            "start": self.start,
            "feature": self.feature.tolist(),
            "threshold": self.threshold.tolist(),
            "leaf": self.leaf.tolist(),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Trees:
        """Trees from the output of `to_json`."""
        arrays = (np.array(stored["feature"]), np.array(stored["threshold"]), np.array(stored["leaf"]))
        return cls(tuple(stored["features"]), float(stored["start"]), *arrays)


def grade_answer(question: str, gold: str, answer: str) -> GradedAnswer:
    """Grade one answer; see `grade_answers`."""
    return grade_answers([(question, gold, answer)])[0]


def grade_answers(rows: Iterable[tuple[str, str, str]], *, trees: Trees | None = None) -> list[GradedAnswer]:
    """Grade (question, gold, answer) rows, in order; deterministic.

    Raises `InputError` when a gold answer holds no word or number to compare with.
    """
    listed = list(rows)
    for question, gold, _ in listed:
        if not tokenise(gold):
            message = f"gold answer {gold!r} of the question {question!r} holds no word or number to compare with"
            raise InputError(f"{message}; give the expected answer in words, or leave the question out of the quiz")
    found = _probabilities(listed, trees or _shipped_trees())
    return [GradedAnswer(p >= 0.5, p) for p in found]


@lru_cache(maxsize=1)
def _shipped_trees() -> Trees:
    text = resources.files("seal_memory").joinpath("data/grader.json").read_text(encoding="utf-8")
    trees = Trees.from_json(json.loads(text))
    if trees.names != FEATURES:
        raise InputError(
            "seal_memory/data/grader.json was trained on other features than this version computes; "
            "run `python -m benchmarks.grader train` again, or reinstall seal-memory"
        )
    return trees


def _probabilities(rows: Sequence[tuple[str, str, str]], trees: Trees) -> list[float]:
    """The lower probability of the answer with and without sentences addressed to the grader, which so never help."""
    cleaned = [(q, g, strip_grader_talk(a)) for q, g, a in rows]
    addressed = [n for n, (row, clean) in enumerate(zip(rows, cleaned, strict=True)) if row[2] != clean[2]]
    variants = [*cleaned, *(rows[n] for n in addressed)]
    if not variants:
        return []
    raw = trees.probabilities(np.array([features(*row) for row in variants], dtype=np.float64))
    capped = [min(float(p), caps(*row)) for p, row in zip(raw, variants, strict=True)]
    for place, n in enumerate(addressed, start=len(rows)):
        capped[n] = min(capped[n], capped[place])
    return capped[: len(rows)]


# --- caps: cases that the verdicts rarely show, but must not be accepted --------------------------


def caps(question: str, gold: str, answer: str) -> float:
    """Upper bound on the probability from rules; 1.0 where none applies."""
    wanted = tokenise(gold)
    reply = tokenise(head(answer))
    if not wanted or not reply:
        return 0.0
    if exact_match(answer, gold):
        return 1.0
    for rule in (_denied, _other_number, _only_candidates):
        if rule(tokenise(question), wanted, reply):
            return DENIED
    return DENIED if _lists_everything(gold, head(answer)) else 1.0


def _denied(asked: list[Token], wanted: list[Token], reply: list[Token]) -> bool:
    """'It was not 1887': every match of the gold's key word follows a negation, and the gold has none."""
    if any(t.text in NEGATIONS for t in (*asked, *wanted)):
        return False
    content = [t for t in wanted if not t.is_stop] or wanted
    known = {t.stem for t in asked}
    first = next((t.stem for t in content if t.stem not in known), content[0].stem)
    places = [n for n, t in enumerate(reply) if t.stem == first]
    return bool(places) and all(
        any(t.text in _DENIALS and t.sentence == reply[n].sentence for t in reply[max(0, n - 3) : n]) for n in places
    )


_DENIALS = frozenset({"not", "never", "n't", "neither", "nor", "isnt", "wasnt"})


def _other_number(asked: list[Token], wanted: list[Token], reply: list[Token]) -> bool:
    """The gold is one bare number; the answer is short, lacks it and gives another."""
    content = [t for t in wanted if not t.is_stop] or wanted
    if len(content) != 1 or content[0].value is None or len(reply) > 40:
        return False
    given = {t.stem for t in reply if t.value is not None}
    return content[0].stem not in given and bool(given - {t.stem for t in asked})


def _only_candidates(asked: list[Token], wanted: list[Token], reply: list[Token]) -> bool:
    """The answer strings names or numbers together with hardly a word between them."""
    known = {t.stem for t in (*asked, *wanted)}
    foreign = [t for t in reply if (t.is_name or t.value is not None) and t.stem not in known]
    return len({t.stem for t in foreign}) > LISTED_ITEMS and len(foreign) >= 0.7 * len(reply)


_ITEM_END = re.compile(r",\s+(?:and\s+|or\s+)?|[;\n|]|[.!?]\s|(?<!\s)\s+(?:and|or|/)\s+")


def _lists_everything(gold: str, answer: str) -> bool:
    """The answer lists many short items besides the gold's."""
    run = longest = 0
    for item in _ITEM_END.split(answer):
        run = run + 1 if 0 < len(item.split()) <= 4 else 0
        longest = max(longest, run)
    return longest - len(_ITEM_END.split(gold)) >= LISTED_ITEMS
