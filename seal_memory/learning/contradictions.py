"""Duplicates and contradictions between two things said: rules on words, precision before recall.

A newer statement supersedes an older one only where both are about the same subject, say the same thing of it, and give
another value; and only where the older one says nothing else that would be lost. Two ways to know that it is no second
fact ("Ada likes tea", "Ada likes coffee"): the newer says that something changed ("now", "no longer", "moved from"), or
the statement can have one value only ("The code of the shed is ..."). English only. Not here: finding pairs and what
becomes of them (`superseding`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from seal_memory.spans import Span, dates, names, numbers
from seal_memory.text import content_words, normalise, sentences, stem

FORMER_ALIKE = 0.5  # share of the newer one's words that the older one has, where it names the older one's value
MOST_VALUE_WORDS = 5

_CHANGED = re.compile(
    r"\b(?:now|no longer|instead of|from now on|any ?more|(?:has|have|was|were) changed|moved|switched|replaced"
    r"|given up|gone off|(?:has|have) left)\b",
    re.IGNORECASE,
)
_FORMER = re.compile(
    r"\b(?:(?:moved|changed|switched|gone)(?: \w+)? from|instead of|no longer(?: \w+)?|left"
    r"|given up(?: \w+){0,3}?|gone off)"
    r" (?:the |a |an )?$",
    re.IGNORECASE,
)
_FORMER_WORDS = re.compile(
    r"\b(?:instead of|no longer(?: in| by| on| an?)?|gone off|given up \w+ing as an?) ((?:[\w-]+ ?){1,3}?)"
    r"(?= (?:to|and|now|the)\b|[.,:;!]|$)"
)
_DEFINITE = re.compile(
    r"^(?:(?:[Tt]he|[Mm]y|[Oo]ur|[Hh]is|[Hh]er|[Tt]heir)\b|[A-Z][\w.-]*(?: [A-Z][\w.-]*)*['’]s\b)[^,;]*$"
)
_IS = re.compile(r"\s(?:is|are)(?: now)?(?: on| in| at| called)?\s", re.IGNORECASE)
_ME = re.compile(r"\b(?:I|my|me|mine)\b")
_CLAUSES = re.compile(r",\s(?!no longer|instead|not )|;\s| and (?:\w+s|has|have|was|can)\b")


def _stems(words: str) -> frozenset[str]:
    return frozenset(stem(w) for w in content_words(words))


_EMPTY = _stems("change changed new moved long longer left given gone switch switched replace replaced")
_STATES = _stems("live lives living work works stay stays home house reside resides")  # "born in" is for ever


@dataclass(frozen=True, slots=True)
class _Said:
    """One statement: whom or what it names, what it counts, and its other content words, all by stem."""

    names: frozenset[str]
    figures: tuple[Span, ...]
    words: frozenset[str]

    @classmethod
    def of(cls, text: str) -> _Said:
        named = _all_stems(names(text))
        figures = tuple(s for s in (*numbers(text), *dates(text)) if any(c.isdigit() for c in s.text))
        speaker = frozenset({"<speaker>"}) if _ME.search(text) else frozenset()
        return cls(named | speaker, figures, _stems(text) - named - _all_stems(figures) - _EMPTY)


def same_statement(one: str, other: str) -> bool:
    """Whether two texts say the same in the same words, whatever the case, punctuation and articles."""
    words = normalise(one)
    return bool(words) and words == normalise(other)


def supersedes(newer: str, older: str) -> bool:
    """Whether `newer` gives another value for what `older` states, so that `older` holds no more.

    False where either is more than one sentence, or the older one says something beside it.
    """
    if len(sentences(newer)) != 1 or len(sentences(older)) != 1 or same_statement(newer, older):
        return False
    if _CLAUSES.search(older) is not None:
        return False
    if _replaces_value(newer, older):
        return True
    if _CHANGED.search(newer) is None:
        return False
    new, old = _Said.of(newer), _Said.of(older)
    return _names_the_former(newer, older, new, old) or _counts_anew(new, old)


def _replaces_value(newer: str, older: str) -> bool:
    """Both have one frame, "The code of the shed is ...", and end in other values of a kind."""
    new, old = _framed(newer), _framed(older)
    if new is None or old is None or new[0] != old[0] or new[1] == old[1]:
        return False
    return _is_figure(new[1]) == _is_figure(old[1])


def _framed(text: str) -> tuple[frozenset[str], str] | None:
    """The words of a definite subject and its value, where the whole text is "subject is value"."""
    match = _IS.search(text)
    if match is None or not _DEFINITE.match(text[: match.start()].strip()):
        return None
    subject, value = _stems(text[: match.start()]), normalise(text[match.end() :])
    told = len(value.split()) <= MOST_VALUE_WORDS and len(subject) >= 2
    return (subject, value) if told and value else None


def _is_figure(value: str) -> bool:
    """Figures are never replaced by words: "is 40", "is open"."""
    return any(c.isdigit() for c in value)


def _names_the_former(newer: str, older: str, new: _Said, old: _Said) -> bool:
    """The newer one names, as what it was, the value that the older one gives of the same subject."""
    for former in _former_values(newer):
        parts = _stems(former)
        if not parts or not parts <= _stems(older):
            continue
        about = old.names - parts
        if not about <= new.names or not (about or old.figures):
            continue
        rest, told = old.words - parts, new.words - parts
        if rest <= _STATES or len(told & rest) >= max(2, FORMER_ALIKE * len(told)) or (about and told & rest):
            return True
    return False


def _former_values(text: str) -> list[str]:
    """Names, figures and words that stand where a former value stands: "moved from Oslo", "no longer a baker"."""
    found = [s.text for s in (*names(text), *numbers(text), *dates(text)) if _FORMER.search(text[: s.start])]
    return [*found, *(m.strip() for m in _FORMER_WORDS.findall(text))]


def _counts_anew(new: _Said, old: _Said) -> bool:
    """Both give one figure of one kind for the same thing, and the newer one says that it changed."""
    if len(new.figures) != 1 or len(old.figures) != 1 or new.figures[0].kind != old.figures[0].kind:
        return False
    if not new.words or new.figures[0].text == old.figures[0].text or new.names != old.names:
        return False
    return new.words <= old.words


def _all_stems(spans: Iterable[Span]) -> frozenset[str]:
    return frozenset(s for span in spans for s in _stems(span.text))
