"""Rules that judge an answer of the composition task; no model judges.

Not here: whether an answer to a request that needs nothing differs from the untouched model's (`figures`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from benchmarks.composing.requests import TOOL, Request
from seal_memory.language.metrics import contains
from seal_memory.language.text import normalise

_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n+")
MOST_WORDS = 120  # of an e-mail of two sentences with its greeting and name


def is_right(request: Request, text: str) -> bool:
    """Whether the answer has the form that was asked for and holds the remembered values."""
    if request.kind == "mail":
        return _is_mail(text) and _holds_all(request, text)
    if request.kind == "json":
        return any(set(o) == {"subject", request.key} and _is_value(request, o[request.key]) for o in objects(text))
    if request.kind == "call":
        return any(o.get("tool") == TOOL and _has_argument(request, o.get("arguments")) for o in objects(text))
    if request.kind == "about":
        return any(contains(text, form) for forms in request.values for form in forms)
    return _holds_all(request, text)


def objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object in a text, also in a code fence or after other words."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            end = at + 1
        else:
            if isinstance(found, dict):
                yield found
        at = text.find("{", end)


def is_same(one: str, other: str) -> bool:
    """Whether two answers are the same but for case, punctuation and articles."""
    return normalise(one) == normalise(other)


def _holds_all(request: Request, text: str) -> bool:
    return all(any(contains(text, form) for form in forms) for forms in request.values)


def _is_mail(text: str) -> bool:
    parts = [p for p in _SENTENCE_END.split(text) if any(c.isalpha() for c in p)]
    return len(parts) >= 2 and len(text.split()) <= MOST_WORDS


def _is_value(request: Request, value: Any) -> bool:
    return isinstance(value, str | int | float) and _holds_all(request, str(value))


def _has_argument(request: Request, arguments: Any) -> bool:
    return isinstance(arguments, dict) and _is_value(request, arguments.get("value"))
