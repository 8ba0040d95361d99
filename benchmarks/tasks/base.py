"""Task records: units of chunks to learn, and questions about them.

Not here: systems, and grouping units into sessions (the experiments).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Chunk:
    """One text that the agent sees. Memory observes it and retrievers index it: the same for all systems."""

    id: str
    text: str
    role: str = "document"  # user | assistant | tool | document
    title: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question about what was seen. Never shown to any system before it is asked.

    `answers`: what counts as right, the first is the canonical one; empty when the texts do not answer it.
    `chunk_ids`: the evidence (what the oracle reads). `kind`: the task's own category. `phrasing`: how it is put.
    `outdated`: values that were true once and must not be given any more. `valid_until`: index of the unit with
    which these answers stop being true (None: they stay true).
    """

    id: str
    text: str
    answers: tuple[str, ...]
    chunk_ids: tuple[str, ...]
    kind: str = "fact"
    phrasing: str = "plain"
    outdated: tuple[str, ...] = ()
    valid_until: int | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """What is learned together and asked about: a passage, a day of a diary, a session of a conversation."""

    id: str
    chunks: tuple[Chunk, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """Units in the order they happen. `data_sha256` names the bytes (or the generator's output) they came from."""

    name: str
    units: tuple[Unit, ...]
    data_sha256: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def chunks(self) -> dict[str, Chunk]:
        """Every chunk by its id."""
        return {c.id: c for unit in self.units for c in unit.chunks}


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def evidence(question: Question, chunks: dict[str, Chunk]) -> Sequence[str]:
    """The texts that answer a question, in order."""
    return [chunks[i].text for i in question.chunk_ids]
