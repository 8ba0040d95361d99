"""Word comparison for routing: stems, names, and the share of a question that a text covers.

Not here: choosing a hit (`rankers`), other features (`features`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass

from seal_memory.language.spans import names, numbers
from seal_memory.language.text import content_words, stem

NAME_WEIGHT = 2.0
RESTATES_SHARE = 0.4  # of the shorter text's content words


@dataclass(frozen=True, slots=True)
class Query:
    """A question's content words by stem, each with its weight, and the stems that belong to names or numbers."""

    weight: Mapping[str, float]
    named: Set[str]

    @classmethod
    def of(cls, question: str) -> Query:
        """Weigh long words and names more: length stands in for rarity and needs no statistics."""
        figures = [n for n in numbers(question) if any(c.isdigit() for c in n.text)]
        named = {stem(w) for span in (*names(question), *figures) for w in content_words(span.text)}
        words = dict.fromkeys(stem(w) for w in content_words(question))
        return cls({w: math.log(1 + len(w)) * (NAME_WEIGHT if w in named else 1.0) for w in words}, named)

    def covered(self, known: Set[str]) -> float:
        """Weighted share of the question's words among `known`, 0..1.

        A single everyday word in common is a coincidence: of a question with several words, fewer than two matches
        without a name or number count 0.
        """
        found = [w for w in self.weight if w in known]
        if not found or (len(found) < min(2, len(self.weight)) and not self.named & set(found)):
            return 0.0
        return sum(self.weight[w] for w in found) / sum(self.weight.values())


def coverage(question: str, text: str) -> float:
    """Weighted share of the question's content words found in the text, 0..1."""
    return Query.of(question).covered(stems(text))


def stems(text: str) -> set[str]:
    """The stems of a text's content words."""
    return {stem(w) for w in content_words(text)}


def restates(one: str, other: str, *, share: float = RESTATES_SHARE) -> bool:
    """Whether two texts are about the same thing: two content words in common, and `share` of the shorter one's."""
    words, others = stems(one), stems(other)
    return len(words & others) >= max(2, share * min(len(words), len(others)))


def without_names(query: Query, question: str, text: str) -> tuple[str, str]:
    """The question (`query` is made of it) and the text, both without the names and numbers they share."""
    shared = query.named & stems(text)

    def rest(words: str) -> str:
        return " ".join(w for w in words.split() if not {stem(c) for c in content_words(w)} & shared)

    return rest(question), rest(text)
