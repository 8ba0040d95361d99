"""Encoding of column values: JSON, normalised text, content hashes, sortable ids.

Not here: the columns themselves (`schema`).
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import time
import unicodedata
from collections.abc import Iterable
from typing import Any

from seal_memory.errors import InputError

_SEPARATOR = "\x1f"


def to_json(value: Any, name: str) -> str:
    """Compact JSON; raises InputError with `name` in its message when the value has no JSON form."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be stored as JSON: {error}") from error


def from_json(text: str) -> Any:
    return json.loads(text)


def id_list(ids: Iterable[str | int]) -> str:
    """Ids as a JSON array for `IN (SELECT value FROM json_each(?))`, which has no limit on their number."""
    if isinstance(ids, str):
        raise InputError(f"expected a list of ids, got the text {ids!r}: write [{ids!r}]")
    return json.dumps(list(ids))


def normalise(text: str) -> str:
    """Unicode NFC, runs of white space collapsed to one space, ends stripped."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def content_hash(role: str, title: str | None, text: str) -> str:
    """SHA-256 over the role and the normalised title and text.

    The title is included because "Weight: 2 kg" under two titles is two facts. Source, session and time are not:
    they distinguish sightings, not interactions.

    Raises:
        InputError: a text holds a lone surrogate, which UTF-8 cannot carry.
    """
    joined = _SEPARATOR.join((role, normalise(title or ""), normalise(text)))
    try:
        return hashlib.sha256(joined.encode()).hexdigest()
    except UnicodeEncodeError as error:
        raise InputError(
            "a text holds a lone surrogate that UTF-8 cannot carry: decode the bytes with errors='replace' first"
        ) from error


def question_key(question: str) -> str:
    """Key under which equal questions match: the normalised, case-folded text."""
    return normalise(question).casefold()


def text_key(text: str) -> str:
    """Key under which texts match whatever their role, title, case and white space: a hash."""
    return hashlib.sha256(question_key(text).encode("utf-8", "replace")).hexdigest()


def sortable_id() -> str:
    """A UUIDv7-like id: 12 hex digits of milliseconds, then 80 random bits."""
    return f"{int(time.time() * 1000) & 0xFFFFFFFFFFFF:012x}{secrets.token_hex(10)}"


def not_nan(value: float, name: str) -> float:
    """`value` as a float; raises InputError for NaN, which SQLite would silently store as NULL."""
    if math.isnan(value):
        raise InputError(f"{name} is not a number (NaN)")
    return float(value)
