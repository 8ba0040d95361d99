"""The local grader: is a free-text answer right, given the question and the gold answer? No network, no model.

It judges answers to the quiz items that people hand in (`SealMemory.add_quiz`; `learning.grading`), where it may accept
what plain containment misses, and the *judged* column of the benchmarks; generated items are graded without it.

A small ensemble of boosted trees over `grader_features`, trained on real verdicts of GPT-4.1 (benchmarks/grader.py)
and read from `seal_memory/data/grader.json`, then a few caps for what the verdicts hardly show: denials of the gold,
lists of everything, text that talks to the grader. Not covered: synonyms, facts that need the passage, arithmetic.
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
from seal_memory.quizzes.grader_features import FEATURES, features
from seal_memory.quizzes.grader_forms import NEGATIONS, Token, head, tokenise, without_talk
from seal_memory.quizzes.metrics import exact_match

__all__ = ["Judgement", "Trees", "caps", "judge", "judge_all"]

DENIED = 0.1  # the probability at most, when the gold is denied or stands in a list of everything
LISTED_ITEMS = 8  # so many short items beside the gold's are no answer


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the answer counts as correct, and how probably GPT-4.1 would say so, 0..1."""

    correct: bool
    probability: float


@dataclass(frozen=True, slots=True)
class Trees:
    """Complete binary trees of one depth: T trees, N = 2^depth - 1 splits and N + 1 leaves each."""

    names: tuple[str, ...]
    start: float
    feature: np.ndarray[Any, np.dtype[np.int64]]  # (T, N)
    threshold: np.ndarray[Any, np.dtype[np.float64]]  # (T, N); not above it goes left
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
        """What `from_json` reads."""
        return {
            "features": list(self.names),
            "start": self.start,
            "feature": self.feature.tolist(),
            "threshold": self.threshold.tolist(),
            "leaf": self.leaf.tolist(),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Trees:
        """The trees that `to_json` wrote."""
        arrays = (np.array(stored["feature"]), np.array(stored["threshold"]), np.array(stored["leaf"]))
        return cls(tuple(stored["features"]), float(stored["start"]), *arrays)


def judge(question: str, gold: str, answer: str) -> Judgement:
    """One answer; see `judge_all`."""
    return judge_all([(question, gold, answer)])[0]


def judge_all(rows: Iterable[tuple[str, str, str]], *, trees: Trees | None = None) -> list[Judgement]:
    """A judgement per (question, gold, answer), in order; the same input always gives the same result.

    InputError when a gold answer holds no word or number: nothing could be compared with it.
    """
    listed = list(rows)
    for question, gold, _ in listed:
        if not tokenise(gold):
            message = f"gold answer {gold!r} of the question {question!r} holds no word or number to compare with"
            raise InputError(f"{message}; give the expected answer in words, or leave the question out of the quiz")
    found = _probabilities(listed, trees or _packaged())
    return [Judgement(p >= 0.5, p) for p in found]


@lru_cache(maxsize=1)
def _packaged() -> Trees:
    text = resources.files("seal_memory").joinpath("data/grader.json").read_text(encoding="utf-8")
    trees = Trees.from_json(json.loads(text))
    if trees.names != FEATURES:
        raise InputError(
            "seal_memory/data/grader.json was trained on other features than this version computes; "
            "run `python -m benchmarks.grader train` again, or reinstall seal-memory"
        )
    return trees


def _probabilities(rows: Sequence[tuple[str, str, str]], trees: Trees) -> list[float]:
    """With and without the sentences that talk to the grader, whichever is less: such talk never helps."""
    cleaned = [(q, g, without_talk(a)) for q, g, a in rows]
    spoken = [n for n, (row, clean) in enumerate(zip(rows, cleaned, strict=True)) if row[2] != clean[2]]
    asked = [*cleaned, *(rows[n] for n in spoken)]
    if not asked:
        return []
    raw = trees.probabilities(np.array([features(*row) for row in asked], dtype=np.float64))
    capped = [min(float(p), caps(*row)) for p, row in zip(raw, asked, strict=True)]
    for place, n in enumerate(spoken, start=len(rows)):
        capped[n] = min(capped[n], capped[place])
    return capped[: len(rows)]


# --- caps: what few of the verdicts show, but a gate must not let through --------------------------


def caps(question: str, gold: str, answer: str) -> float:
    """The highest probability that rules leave open: 1.0 when none of them speaks."""
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
    """'It was not 1887': each place of the gold's words has a negation just before it, and the gold has none."""
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
    """The gold is one bare number, which the answer lacks, and the answer is short and gives another."""
    content = [t for t in wanted if not t.is_stop] or wanted
    if len(content) != 1 or content[0].value is None or len(reply) > 40:
        return False
    told = {t.stem for t in reply if t.value is not None}
    return content[0].stem not in told and bool(told - {t.stem for t in asked})


def _only_candidates(asked: list[Token], wanted: list[Token], reply: list[Token]) -> bool:
    """Names or numbers strung together without a word between them."""
    known = {t.stem for t in (*asked, *wanted)}
    foreign = [t for t in reply if (t.is_name or t.value is not None) and t.stem not in known]
    return len({t.stem for t in foreign}) > LISTED_ITEMS and len(foreign) >= 0.7 * len(reply)


_ITEM_END = re.compile(r",\s+(?:and\s+|or\s+)?|[;\n|]|[.!?]\s|(?<!\s)\s+(?:and|or|/)\s+")


def _lists_everything(gold: str, answer: str) -> bool:
    """Many short items besides those of the gold, one after another."""
    run = longest = 0
    for item in _ITEM_END.split(answer):
        run = run + 1 if 0 < len(item.split()) <= 4 else 0
        longest = max(longest, run)
    return longest - len(_ITEM_END.split(gold)) >= LISTED_ITEMS
