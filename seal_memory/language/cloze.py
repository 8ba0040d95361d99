"""Cloze questions from a sentence, without a model: a span is replaced by a question word.

Unsupervised cloze questions (Lewis et al., arXiv 1906.04980), in four shapes. They are not fluent English, but pair
the words of the sentence with the span, which suffices to train and quiz a small model.
Not here: choosing spans (`spans`), model-written questions (`self_edits.writer`).
"""

from __future__ import annotations

import random
from enum import IntEnum

from seal_memory.language.quantities import Span, SpanKind
from seal_memory.language.text import content_words

_WH: dict[SpanKind, tuple[str, ...]] = {
    SpanKind.NAME: ("who", "what", "which name"),
    SpanKind.PLACE: ("where", "what place", "which place"),
    SpanKind.DATE: ("when", "what date"),
    SpanKind.TIME: ("at what time", "when"),
    SpanKind.MONEY: ("how much", "what amount"),
    SpanKind.NUMBER: ("how many", "how much", "what number"),
    SpanKind.CODE: ("what code", "which number", "what"),
    SpanKind.QUOTE: ("what",),
    SpanKind.CHUNK: ("what", "which"),
}


class Shape(IntEnum):
    """Arrangement of the sentence's words in the question."""

    IN_PLACE = 0  # ... bought the workshop from who?
    FRONTED = 1  # Who: bought the workshop from?
    KEYWORDS = 2  # Who workshop bought sailmaker?
    BLANK = 3  # Complete the sentence: ... bought the workshop from ____.


def cloze_question(sentence: str, span: Span, *, shape: Shape, rng: random.Random, window: int = 12) -> str | None:
    """Question that `span` answers, with at most `window` words of the sentence on either side.

    None when fewer than two content words remain around the span.
    """
    left, right = sentence[: span.start].split(), sentence[span.end :].split()
    left, right = left[-window:], right[:window]
    if len(content_words(" ".join(left + right))) < 2:
        return None
    wh = rng.choice(_WH[span.kind])
    if shape is Shape.BLANK:
        return "Complete the sentence: " + _clean(" ".join([*left, "____", *right])) + "."
    if shape is Shape.IN_PLACE:
        words = [*left, wh, *right]
    elif shape is Shape.FRONTED:
        words = [wh, *right, *left] if rng.random() < 0.5 and right else [wh, *left, *right]
    else:
        words = content_words(" ".join(left + right))
        rng.shuffle(words)
        words = [wh, *words[: max(3, round(len(words) * rng.uniform(0.4, 0.9)))]]
    question = _clean(" ".join(words))
    return question[0].upper() + question[1:] + "?"


def random_cloze_question(sentence: str, span: Span, rng: random.Random) -> str | None:
    """Question of a random shape and window; never `BLANK`, which the cloze genre uses."""
    shape = rng.choice((Shape.IN_PLACE, Shape.FRONTED, Shape.KEYWORDS))
    return cloze_question(sentence, span, shape=shape, rng=rng, window=rng.randint(4, 14))


def _clean(text: str) -> str:
    return " ".join(text.split()).strip(" ,.;:!?")
