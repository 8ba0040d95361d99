"""Clauses: splits a long sentence into pieces short enough to be an answer.

A 40-word sentence exceeds an answer's token limit and costs as many tokens to train, so the target of a question about
a long sentence is the clause that holds the answer. Splits at punctuation and conjunctions; no parser.
Not here: splitting a text into statements (`statements`), training items (`rules`).
"""

from __future__ import annotations

import re

MIN_WORDS, MAX_WORDS = 6, 18
MIN_LAST_WORDS = 4
_AFTER_PUNCTUATION = re.compile(r"(?<=[,;:)–—])\s+")
_BEFORE_WORD = re.compile(
    r"(?<!\s)\s+(?=\()|(?<!\s)\s+(?=(?:and|but|or|which|who|whose|where|while|because|when|after|before|although|though|as|that"
    r"|with|by|from|in|to|for)\b)"
)


def clause_bounds(sentence: str) -> list[tuple[int, int]]:
    """(start, end) of the clauses, in order; they cover all words. A short sentence is one clause."""
    strong = {m.start() for m in _AFTER_PUNCTUATION.finditer(sentence)}
    weak = strong | {m.start() for m in _BEFORE_WORD.finditer(sentence)}
    bounds, start = [], 0
    while len(sentence[start:].split()) > MAX_WORDS + 2:
        cut = _cut(sentence, start, strong) or _cut(sentence, start, weak) or _hard_cut(sentence, start)
        bounds.append((start, cut))
        start = cut + len(sentence[cut:]) - len(sentence[cut:].lstrip())
    bounds.append((start, len(sentence)))
    return bounds


def clause_around(sentence: str, start: int, end: int) -> str:
    """The clause that holds the span [start:end], extended where the span crosses its end."""
    for first, last in clause_bounds(sentence):
        if first <= start < last:
            return sentence[first : max(last, end)].strip()
    return sentence


def _cut(sentence: str, start: int, places: set[int]) -> int | None:
    """The last position that leaves a clause of 6 to 18 words and at least 4 words after it; None if there is none."""
    fitting = [
        p
        for p in places
        if p > start
        and MIN_WORDS <= len(sentence[start:p].split()) <= MAX_WORDS
        and len(sentence[p:].split()) >= MIN_LAST_WORDS
    ]
    return max(fitting, default=None)


def _hard_cut(sentence: str, start: int) -> int:
    """The position after `MAX_WORDS` words."""
    words = list(re.finditer(r"\S+", sentence[start:]))
    return start + words[MAX_WORDS - 1].end()
