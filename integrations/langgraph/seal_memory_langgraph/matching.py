"""Matching of LangGraph's filters and namespace patterns, and the text of a value. Pure functions.

Not here: where items are kept (`items`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any

from langgraph.store.base import MatchCondition, get_text_at_path

__all__ = ["as_text", "matches", "matches_namespace"]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def matches(value: Any, wanted: Any) -> bool:
    """Whether a stored value fits a filter; nested mappings and lists are compared by their parts.

    `$gt`, `$gte`, `$lt` and `$lte` compare numbers, also in texts ("2.5"), as numbers, and two texts of which one is no
    number in the order of their characters, as ISO dates are; any other pair fits none. Raises `ValueError` for an
    unknown `$` operator.
    """
    if isinstance(wanted, Mapping):
        if any(str(k).startswith("$") for k in wanted):
            return all(_holds(value, name, operand) for name, operand in wanted.items())
        return isinstance(value, Mapping) and all(matches(value.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list | tuple):
        same_length = isinstance(value, list | tuple) and len(value) == len(wanted)
        return same_length and all(matches(v, w) for v, w in zip(value, wanted, strict=True))
    return bool(value == wanted)


def _holds(value: Any, name: str, operand: Any) -> bool:
    if name in ("$eq", "$ne"):
        return bool(value == operand) == (name == "$eq")
    if name not in _ORDER:
        raise ValueError(f"Unsupported operator: {name}; expected $eq, $ne, {', '.join(_ORDER)}")
    numbers = _number(value), _number(operand)
    if None not in numbers:
        return _ORDER[name](*numbers)
    return isinstance(value, str) and isinstance(operand, str) and _ORDER[name](value, operand)


def _number(value: Any) -> float | int | None:
    """A number, also written as a text; None for anything else."""
    if isinstance(value, Real):
        return value  # type: ignore[return-value]
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def matches_namespace(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    """Whether a namespace begins (or ends) with the condition's path, in which "*" is any one label."""
    path = tuple(condition.path)
    if condition.match_type not in ("prefix", "suffix"):
        raise ValueError(f"Unsupported match type: {condition.match_type}; expected prefix or suffix")
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(p in ("*", label) for p, label in zip(path, part, strict=True))


def as_text(value: Mapping[str, Any], paths: list[str] | None) -> str:
    """The text to learn from a value: its texts at LangGraph's index `paths`, or (None) all of its leaves.

    Leaves of more than one word are taken as they are, others as "name: value".
    """
    if paths is not None:
        return "\n".join(text for path in paths for text in get_text_at_path(value, path))
    return "\n".join(_leaves("", value))


def _leaves(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(str(key), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(name, inner)
    elif isinstance(value, str) and len(value.split()) > 1:
        yield value
    elif value is not None and str(value).strip():
        yield f"{name}: {value}"
