"""Checks of arguments by type and range, before any work: each raises `InputError` with name, value and expectation.

Not here: whether a text is worth recording (`intake.admission`), settings (`config`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from seal_memory.errors import InputError

__all__ = [
    "MAX_DEPTH",
    "require_count",
    "require_depth",
    "require_metadata",
    "require_name",
    "require_sequence",
    "require_string",
    "require_text",
    "require_texts",
    "require_time",
]

MAX_DEPTH = 100  # levels of mappings and lists in metadata; Python's own JSON ends at about 1,000
EARLIEST, LATEST = -62_135_596_800, 100_000_000_000  # Unix seconds: the years 1 and 5138; milliseconds are beyond
_MOST_PARTS = 1_000_000  # mappings and lists at one level


def require_string(value: object, name: str) -> str:
    """A string of any characters, such as a query."""
    if not isinstance(value, str):
        raise InputError(f"{name} is {_kind(value)}; expected a string")
    return value


def require_text(value: object, name: str) -> str:
    """A string of valid Unicode."""
    text = require_string(value, name)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} holds half of a surrogate pair at offset {error.start}; expected valid Unicode"
        ) from None
    return text


def require_texts(value: object, name: str) -> list[str]:
    """One string of valid Unicode, or a sequence of them, as a list."""
    if isinstance(value, str):
        return [require_text(value, name)]
    return [require_text(one, f"{name} {number}") for number, one in enumerate(require_sequence(value, name))]


def require_sequence(value: object, name: str) -> Sequence[Any]:
    """A list or another sequence, but no string or bytes."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        raise InputError(f"{name} is {_kind(value)}; expected a string or a list of strings")
    return value


def require_name(value: object, name: str) -> str | None:
    """A string of valid Unicode, or None."""
    return None if value is None else require_text(value, name)


def require_count(value: object, name: str, *, least: int = 0) -> int:
    """A whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} is {_kind(value)}; expected a whole number")
    if value < least:
        raise InputError(f"{name} {value} is too small; expected at least {least}.")
    return value


def require_time(value: object, name: str) -> None:
    """Unix seconds between the years 1 and 5138, or None."""
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"{name} is {_kind(value)}; expected Unix seconds")
    if not math.isfinite(value) or not EARLIEST <= value <= LATEST:
        hint = "; divide milliseconds by 1,000" if abs(value) > LATEST else ""
        raise InputError(f"{name} is {value!r}; expected Unix seconds between the years 1 and 5138{hint}")


def require_metadata(value: object, name: str) -> None:
    """A mapping with a JSON form: at most `MAX_DEPTH` levels, finite numbers, valid Unicode."""
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is {_kind(value)}; expected a mapping")
    require_depth(value, name)
    try:
        json.dumps(dict(value), ensure_ascii=False, allow_nan=False, sort_keys=True).encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{name} holds half of a surrogate pair; expected valid Unicode") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be stored as JSON: {error}") from error


def require_depth(value: object, name: str) -> None:
    """At most `MAX_DEPTH` levels of mappings and lists, and none that contains itself."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return
        if len(level) > _MOST_PARTS:
            raise InputError(f"{name} holds more than {_MOST_PARTS:,} lists and mappings; expected fewer")
    raise InputError(f"{name} is nested deeper than {MAX_DEPTH} levels; expected a flatter mapping")


def _kind(value: object) -> str:
    """A value's type for an error message, with the value of a number."""
    name = type(value).__name__
    number = f" ({value!r})" if isinstance(value, int | float) else ""
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}{number}"


def _parts(value: object) -> list[object]:
    """The mappings and lists directly inside one."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [one for one in inside if isinstance(one, Mapping | list | tuple)]
