"""Checks of model-written text against its source, before it may be trained.

A small model copies and invents; a trained invention becomes a false memory. Every name and number must come from the
source, a question must ask about it without giving its answer away, and no text may copy a held-out quiz question or
instruct its reader. Not here: whether an item is *useful*, which only the inner loop's reward shows.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import SequenceMatcher

from seal_memory.language.spans import dates, names, numbers
from seal_memory.language.text import content_words, normalise, stem
from seal_memory.safety.injection import find_injection

MAX_COPY = 0.8  # similarity of word sequences from which two questions count as the same
_MARKUP = re.compile(r"<\||\|>|https?://|```|\n")


def grounded(text: str, source: str) -> bool:
    """True when every name, number and date of `text` occurs in `source`."""
    known = f" {normalise(source)} "
    found = [span.text for span in (*names(text), *numbers(text), *dates(text))]
    return all(f" {normalise(f)} " in known for f in found if normalise(f))


def mentions_source(text: str, source: str, *, share: float = 0.5) -> bool:
    """True when at least `share` of the text's content words occur in the source (compared by stem)."""
    words = content_words(text)
    known = {stem(w) for w in content_words(source)}
    return bool(words) and sum(stem(w) in known for w in words) >= share * len(words)


def too_close(text: str, others: Collection[str], *, limit: float = MAX_COPY) -> bool:
    """True when `text` has nearly the same word sequence as one of `others`."""
    words = normalise(text).split()
    for other in others:
        matcher = SequenceMatcher(None, words, normalise(other).split(), autojunk=False)
        if matcher.quick_ratio() >= limit and matcher.ratio() >= limit:
            return True
    return False


def good_question(question: str, answer: str, source: str) -> bool:
    """True for a question about the source that `answer` answers.

    As `fit_question`, the answer occurring in the source but not in the question.
    """
    wanted = normalise(answer)
    if not wanted or f" {wanted} " in f" {normalise(question)} " or f" {wanted} " not in f" {normalise(source)} ":
        return False
    return fit_question(question, source)


def fit_question(question: str, source: str) -> bool:
    """True for a question about the source, whatever its answer.

    One line ending in "?", 4 to 30 words, its names and numbers from the source, at least two content words shared
    with it.
    """
    words = question.split()
    if _MARKUP.search(question) or find_injection(question) or not question.endswith("?") or not 4 <= len(words) <= 30:
        return False
    stems = {stem(w) for w in content_words(source)}
    shared = sum(stem(w) in stems for w in content_words(question))
    return shared >= 2 and grounded(question, source)


def good_answer(answer: str, question: str, source: str) -> bool:
    """True for a reader's answer that says something that its question does not, in the source's own words.

    One line, names and numbers from the source or the question, every other content word from them, too.
    """
    if _MARKUP.search(answer) or find_injection(answer) or not grounded(answer, f"{source} {question}"):
        return False
    asked = {stem(w) for w in content_words(question)}
    new = {stem(w) for w in content_words(answer)} - asked
    return bool(new) and new <= {stem(w) for w in content_words(source)}


def good_note(note: str, source: str) -> bool:
    """True for a rewrite or implication worth training: grounded, about the source, reworded, 4 to 60 words."""
    words = note.split()
    if _MARKUP.search(note) or find_injection(note) or not 4 <= len(words) <= 60 or note.endswith("?"):
        return False
    return grounded(note, source) and mentions_source(note, source) and not too_close(note, [source], limit=0.95)
