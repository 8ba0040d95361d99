"""Words as the router compares them: stems, names, and the share of a question that a text covers.

Not here: which hit wins (`judges`), other figures (`features`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass

from seal_memory.language.spans import names, numbers
from seal_memory.language.text import content_words, stem

NAME_WEIGHT = 2.0
SAME = 0.4  # share of content words


@dataclass(frozen=True, slots=True)
class Query:
    """A question's content words by stem, each with its weight, and which of them belong to names or numbers."""

    weight: Mapping[str, float]
    named: Set[str]

    @classmethod
    def of(cls, question: str) -> Query:
        """Long words and names weigh more: length stands in for rarity and needs no statistics."""
        figures = [n for n in numbers(question) if any(c.isdigit() for c in n.text)]
        named = {stem(w) for span in (*names(question), *figures) for w in content_words(span.text)}
        words = dict.fromkeys(stem(w) for w in content_words(question))
        return cls({w: math.log(1 + len(w)) * (NAME_WEIGHT if w in named else 1.0) for w in words}, named)

    def covered(self, known: Set[str]) -> float:
        """The weighted share of the words among `known`, 0..1.

        A single everyday word in common is a coincidence, not a memory: of a longer question, less than two words (or
        a name or number) counts as nothing.
        """
        found = [w for w in self.weight if w in known]
        if not found or (len(found) < min(2, len(self.weight)) and not self.named & set(found)):
            return 0.0
        return sum(self.weight[w] for w in found) / sum(self.weight.values())


def coverage(question: str, text: str) -> float:
    """Share of the question's content words found in the text, 0..1; long words and names weigh more."""
    return Query.of(question).covered(stems(text))


def stems(text: str) -> set[str]:
    """The stems of a text's content words."""
    return {stem(w) for w in content_words(text)}


def restates(one: str, other: str, *, share: float = SAME) -> bool:
    """Whether two texts are about the same thing: they share two content words, and `share` of the shorter one's."""
    words, others = stems(one), stems(other)
    return len(words & others) >= max(2, share * min(len(words), len(others)))


def without_names(query: Query, question: str, text: str) -> tuple[str, str]:
    """A question (`query` is made of it) and a text, both without the names and numbers that they have in common."""
    shared = query.named & stems(text)

    def rest(words: str) -> str:
        return " ".join(w for w in words.split() if not {stem(c) for c in content_words(w)} & shared)

    return rest(question), rest(text)
