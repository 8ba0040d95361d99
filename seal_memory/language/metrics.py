"""Answer metrics: containment, exact match, token F1 (SQuAD's normalisation).

Not here: asking (the engine), aggregating over a memory (`learning`), the trained grader (`quizzes.grader`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from seal_memory.language.text import normalise


def contains(answer: str, gold: str) -> bool:
    """True when the normalised gold answer occurs in the normalised answer, word by word."""
    wanted = normalise(gold)
    return bool(wanted) and f" {wanted} " in f" {normalise(answer)} "


def exact_match(answer: str, gold: str) -> bool:
    """True when both are equal after normalisation."""
    return normalise(answer) == normalise(gold)


def token_f1(answer: str, gold: str) -> float:
    """Harmonic mean of token precision and recall after normalisation, 0..1."""
    found, wanted = normalise(answer).split(), normalise(gold).split()
    common = sum((Counter(found) & Counter(wanted)).values())
    if common == 0:
        return float(found == wanted)
    precision, recall = common / len(found), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean; 0.0 of nothing."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
