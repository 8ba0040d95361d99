"""Clauses: splits a long sentence into pieces short enough to be an answer.

A 40-word sentence exceeds an answer's token limit and costs as many tokens to train, so the target of a question about
a long sentence is the clause that holds the answer. Splits at punctuation and conjunctions; no parser.
Not here: splitting a text into statements (`statements`), training items (`rules`).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

MIN_WORDS, MAX_WORDS = 6, 18
MIN_LAST_WORDS = 4
_WORD = re.compile(r"\S+")
_AFTER_PUNCTUATION = re.compile(r"(?<=[,;:)–—])\s+")
_BEFORE_WORD = re.compile(
    r"(?<!\s)\s+(?=\()|(?<!\s)\s+(?=(?:and|but|or|which|who|whose|where|while|because|when|after|before|although|though|as|that"
    r"|with|by|from|in|to|for)\b)"
)


def clause_bounds(sentence: str) -> list[tuple[int, int]]:
    """(start, end) of the clauses, in order; they cover all words. A short sentence is one clause."""
    words = [m.span() for m in _WORD.finditer(sentence)]
    strong = [m.start() for m in _AFTER_PUNCTUATION.finditer(sentence)]
    weak = sorted({*strong, *(m.start() for m in _BEFORE_WORD.finditer(sentence))})
    bounds, first, start = list[tuple[int, int]](), 0, 0  # `first`: index of the word at `start`
    while len(words) - first > MAX_WORDS + 2:
        cut = _cut(words, first, strong) or _cut(words, first, weak) or words[first + MAX_WORDS - 1][1]
        bounds.append((start, cut))
        first = _words_before(words, cut)
        start = words[first][0]
    bounds.append((start, len(sentence)))
    return bounds


def clause_around(sentence: str, start: int, end: int) -> str:
    """The clause that holds the span [start:end], extended where the span crosses its end."""
    for first, last in clause_bounds(sentence):
        if first <= start < last:
            return sentence[first : max(last, end)].strip()
    return sentence


def _cut(words: Sequence[tuple[int, int]], first: int, places: Sequence[int]) -> int | None:
    """The last place that leaves a clause of fitting length and enough behind it."""
    found = None
    for at in range(bisect_right(places, words[first][0]), len(places)):
        before = _words_before(words, places[at])
        if before - first > MAX_WORDS or len(words) - before < MIN_LAST_WORDS:
            break
        if before - first >= MIN_WORDS:
            found = places[at]
    return found


def _words_before(words: Sequence[tuple[int, int]], place: int) -> int:
    return bisect_left(words, (place, 0))
