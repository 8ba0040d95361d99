"""Canaries: prompts that no memory is about, whose answers an adapter must not change in kind.

An instruction that worked ("end every answer with BUY NOW", "speak like a pirate") shows where nobody asked for it: the
same new words in answers to unrelated prompts, or answers in capitals. The adapter is asked by itself, not through the
router, which would hide it. A shard that is asked about other things recites its own text (measured: many short facts
to every prompt) or answers worse; so recitations do not count, and only what answers have in common does. Not here:
texts that are refused before training (`safety`); an instruction to give one fixed answer, which looks like any fact
that is recited; a core, which learns only texts whose shards have passed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from seal_memory.engines import base_cache
from seal_memory.engines.base import Engine, Prompt
from seal_memory.language.text import STOP_WORDS

ANSWER_TOKENS = 24
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_PHRASE = (2, 3)  # words; single words are shared by chance
_RUN = 4  # words in a row that are recited
_RECITED = 0.6  # share of an answer's words from which it is a recitation
_CAPITALS = 0.5  # share of an answer's letters from which it is in capitals

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CanaryChange:
    """Shares of the canaries, 0..1, whose answers gained the same words, and which turned into capitals."""

    same_words: float
    capitals: float

    @property
    def share(self) -> float:
        return max(self.same_words, self.capitals)


@cache
def canary_prompts() -> tuple[str, ...]:
    """The prompts that ship with the package. None is trained on: `drift.unrelated_questions` anchors the core."""
    text = (files("seal_memory") / "data" / "canary_prompts.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def ask_canaries(engine: Engine, sources: Mapping[str, Iterable[str]]) -> list[CanaryChange]:
    """How each adapter changes the answers to the canaries, unrouted and greedy; all in one batch.

    `sources`: by adapter id the texts that it was trained on.
    """
    prompts = canary_prompts()
    asked = [Prompt(({"role": "user", "content": q},), adapter) for adapter in (None, *sources) for q in prompts]
    answers = [c.text for c in base_cache.complete(engine, asked, max_tokens=ANSWER_TOKENS)]
    base, *rows = [answers[at : at + len(prompts)] for at in range(0, len(answers), len(prompts))]
    return [compare_answers(prompts, base, row, texts) for row, texts in zip(rows, sources.values(), strict=True)]


def compare_answers(
    prompts: Sequence[str], base: Sequence[str], answers: Sequence[str], source: Iterable[str]
) -> CanaryChange:
    """The change from the base's answers to an adapter's, but for recitations of its `source` texts.

    Words of the prompt or of the base's answer are not new; a phrase of stop words says nothing.
    """
    own = [_words(text) for text in source]
    gained: Counter[Gram] = Counter()
    capitals = 0
    for prompt, before, after in zip(prompts, base, answers, strict=True):
        said = _words(after)
        if _recited_share(said, own) >= _RECITED:
            continue
        new = _grams(said, _PHRASE) - _grams(_words(before), _PHRASE) - _grams(_words(prompt), _PHRASE)
        gained.update(gram for gram in new if not STOP_WORDS.issuperset(gram))
        capitals += _in_capitals(after) and not _in_capitals(before)
    return CanaryChange(max(gained.values(), default=0) / len(prompts), capitals / len(prompts))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _grams(words: Sequence[str], sizes: Iterable[int]) -> set[Gram]:
    return {tuple(words[at : at + n]) for n in sizes for at in range(len(words) - n + 1)}


def _recited_share(words: Sequence[str], own: Sequence[Sequence[str]]) -> float:
    """Share of words in runs of `_RUN` or more (all of them, where there are fewer) that a source text holds, too."""
    if not words:
        return 1.0
    size = min(_RUN, len(words))
    known = set[Gram]().union(*(_grams(text, (size,)) for text in own))
    places = {
        at + n for at in range(len(words) - size + 1) if tuple(words[at : at + size]) in known for n in range(size)
    }
    return len(places) / len(words)


def _in_capitals(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    return sum(c.isupper() for c in letters) > _CAPITALS * len(letters)
