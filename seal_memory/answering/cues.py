"""Cues: short closed-book questions that ask an adapter what it knows about a request.

An adapter was trained on short questions, and on "What do you know about NAME?". A request of an agent is longer than
that, and a follow-up ("And his phone number?") names nobody: its subject is taken from the turns before. Not here:
which adapter is asked (`routing`), and what becomes of its answers (`recollecting`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seal_memory import prompts
from seal_memory.language.spans import names, numbers
from seal_memory.language.text import content_words, sentences, stem, word_set

SHORT = 240  # longest cue, in characters
READ = 2000  # characters of a message that are read, from its end, where the request stands
LOOK_BACK = 4  # messages before the last one in which a follow-up's subject is looked for
MOST_CLAUSES = 4  # of the request's own words, the last ones
MOST_NAMES = 3
_VERBS = word_set(  # that open a request, with a capital letter
    "add answer ask call check create describe do draft explain fill find finish fix get give help list look make name"
    " note pick please plan put read remember remind reply say send set show suggest sum summarise summarize take tell"
    " translate try turn use write"
)
_CLAUSE_END = re.compile(r"[:;]\s|,?\s(?:and|und|et|y)\s|,\s")


@dataclass(frozen=True, slots=True)
class Cue:
    """A question for an adapter. `about`: the name it asks everything about; "" for the request's own words."""

    text: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Cues:
    """The cues of one request. `stems`: of the names that it is about."""

    cues: tuple[Cue, ...]
    stems: frozenset[str]


def cues_of(messages: Sequence[Mapping[str, Any]]) -> Cues:
    """The cues of a conversation's last user message, or of what it follows."""
    said = [(str(m["role"]), str(m.get("content") or "")) for m in messages]
    last = max((n for n, (role, _) in enumerate(said) if role == "user"), default=len(said) - 1)
    before = [(role, text) for role, text in said[:last] if role != "system"][-LOOK_BACK:]
    before.reverse()
    before.sort(key=lambda m: m[0] != "user")  # what the user spoke of, the latest first
    return _cues(said[last][1], [text for _, text in before])


def cues_of_text(text: str) -> Cues:
    """The cues of plain text to continue."""
    return _cues(text, ())


def _cues(request: str, before: Sequence[str]) -> Cues:
    """The cues of a request; `before`: texts in which its subject is looked for where it names none."""
    request = request.strip()[-READ:]
    asked = _own_words(request)
    found = _names(request)
    if not found:
        found = next((own for text in before if (own := _names(text[-READ:]))), [])
        asked += [f"{found[0]}: {text}" for text in asked[:1] if found]
    found = found[:MOST_NAMES]
    cues = {text: Cue(text) for text in asked} | {c.text: c for c in (Cue(prompts.about(n), n) for n in found)}
    named = frozenset(stem(w) for name in found for w in content_words(name))
    return Cues(tuple(cues.values()), named)


def _own_words(request: str) -> list[str]:
    """The request's last sentences; of one with several clauses that name something, these clauses."""
    asked = [clause for sentence in sentences(request) for clause in _clauses(sentence) if len(clause) <= SHORT]
    return asked[-MOST_CLAUSES:]


def _clauses(sentence: str) -> list[str]:
    pieces = [p.strip(" .") for p in _CLAUSE_END.split(sentence)]
    naming = [p for p in pieces if _names(p) and len(content_words(p)) > 1]
    return naming if len(naming) > 1 else [sentence]


def _names(text: str) -> list[str]:
    """Names, and numbers written in figures, in order."""
    return list(dict.fromkeys(name for sentence in sentences(text) for name in _names_of(sentence)))


def _names_of(sentence: str) -> Iterator[str]:
    found = names(sentence)
    for span in found:
        # JSON, PDF, OK and Write are words of the request, not its subject
        if not (span.text.isupper() and span.text.isalpha()) and span.text.lower() not in _VERBS:
            yield span.text
    for number in numbers(sentence):
        inside = any(number.text in span.text for span in found)
        if not inside and any(c.isdigit() for c in number.text) and len(number.text) > 1:
            yield number.text
