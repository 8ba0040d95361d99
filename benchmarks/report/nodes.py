"""Validating readers of the values of a results file; errors name the file and the key.

Not here: the keys (`load`, `speed`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from seal_memory.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a file and the key it stands under, so that every message can name both."""

    file: Path
    key: str
    value: object

    def fail(self, expected: str) -> NoReturn:
        """Raise the one error of this module."""
        found = repr(self.value)
        found = found if len(found) <= 60 else found[:57] + "..."
        raise InputError(f"{self.file}: {self.key or 'the file'} is {found}, expected {expected}; see FORMAT.md")

    def entries(self) -> dict[str, Node]:
        """The members of an object that are not null."""
        if not isinstance(self.value, dict):
            self.fail("an object")
        prefix = f"{self.key}." if self.key else ""
        return {k: Node(self.file, f"{prefix}{k}", v) for k, v in self.value.items() if v is not None}

    def elements(self) -> Iterator[Node]:
        """The elements of a list, nulls included."""
        if not isinstance(self.value, list):
            self.fail("a list")
        return (Node(self.file, f"{self.key}[{i}]", v) for i, v in enumerate(self.value))

    def get(self, name: str, read: Callable[[Node], T]) -> T | None:
        """The member of that name, or None when it is absent or null."""
        found = self.entries().get(name)
        return None if found is None else read(found)

    def need(self, name: str, read: Callable[[Node], T]) -> T:
        """The member of that name; an error when it is absent or null."""
        found = self.entries().get(name)
        if found is None:
            key = f"{self.key}.{name}" if self.key else name
            raise InputError(f"{self.file}: {key} is missing; see FORMAT.md")
        return read(found)


def number(node: Node, expected: str, fits: Callable[[float], bool]) -> float:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or not fits(value):
        node.fail(expected)
    return float(value)


def share(node: Node) -> float:
    return number(node, "a number from 0 to 1", lambda x: 0 <= x <= 1)


def change(node: Node) -> float:
    return number(node, "a number from -1 to 1", lambda x: -1 <= x <= 1)


def amount(node: Node) -> float:
    return number(node, "a finite number from 0 up", lambda x: 0 <= x < math.inf)


def perplexity(node: Node) -> float:
    return number(node, "a number from 1 up", lambda x: x >= 1)  # infinite after a ruinous training: a result too


def count(node: Node) -> int:
    return int(number(node, "a whole number from 0 up", lambda x: 0 <= x < math.inf and x == int(x)))


def text(node: Node) -> str:
    if not isinstance(node.value, str):
        node.fail("a text")
    return node.value


def one_of(allowed: tuple[str, ...]) -> Callable[[Node], str]:
    def read(node: Node) -> str:
        if node.value not in allowed:
            node.fail("one of " + ", ".join(allowed))
        return str(node.value)

    return read


def truth(node: Node) -> bool:
    if not isinstance(node.value, bool):
        node.fail("true or false")
    return node.value


def same(node: Node) -> Node:
    """The member itself, to be read further."""
    return node
