"""What the demo tells and asks: the shipped story, or passages with questions from a file.

Questions are kept apart from what is told: only the chapters' interactions go into the memory. Not covered: telling
it (`demo`), and asking (`demo_answers`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from seal_memory.errors import InputError

if TYPE_CHECKING:
    from seal_memory.intake.files import Document

__all__ = ["StoryQuestion", "Chapter", "StoryInteraction", "load_passages", "load_story"]

GROUPS = 3  # sessions that a file's passages are split into


@dataclass(frozen=True, slots=True)
class StoryInteraction:
    """One interaction of the story."""

    text: str
    role: str = "document"
    source: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class StoryQuestion:
    """A held-out question; `place` is the index of the chapter's interaction that answers it."""

    question: str
    answer: str
    place: int


@dataclass(frozen=True, slots=True)
class Chapter:
    """One session: what the agent saw, and what is asked about it."""

    session: str
    told: tuple[StoryInteraction, ...]
    asked: tuple[StoryQuestion, ...]


def load_story() -> list[Chapter]:
    """The story that is shipped with the package."""
    text = resources.files("seal_memory").joinpath("data/demo_story.json").read_text(encoding="utf-8")
    return [
        Chapter(
            session["session"],
            tuple(
                StoryInteraction(i["text"], i["role"], i.get("source"), i.get("title")) for i in session["interactions"]
            ),
            tuple(StoryQuestion(q["question"], q["answer"], q["interaction"]) for q in session["questions"]),
        )
        for session in json.loads(text)["sessions"]
    ]


def load_passages(path: Path, limit: int | None = None) -> list[Chapter]:
    """The first `limit` passages of a file, in up to three sessions. Raises `InputError` without any question."""
    from seal_memory.intake.files import read_file

    documents = list(read_file(path))[:limit]
    if not any(d.questions for d in documents):
        raise InputError(
            f"{path}: no questions in it; expected passages like "
            '{"title": …, "context": …, "questions": [{"question": …, "answer": …}]}'
        )
    chapters = []
    for number, part in enumerate(_split(documents), start=1):
        told = tuple(StoryInteraction(d.text, d.role, d.source, d.title) for d in part)
        asked = tuple(StoryQuestion(q.question, q.answer, place) for place, d in enumerate(part) for q in d.questions)
        chapters.append(Chapter(f"part-{number}", told, asked))
    return chapters


def _split(items: Sequence[Document]) -> list[Sequence[Document]]:
    """Up to three runs in order, the earlier ones not shorter than the later ones."""
    groups = min(GROUPS, len(items))
    ends = [-(-len(items) * n // groups) for n in range(groups + 1)]
    return [items[a:b] for a, b in pairwise(ends)]
