"""The demo's interactions and questions: the shipped story, or passages with questions from a file.

Only the interactions go into the memory, never the questions. Not here: observing (`demo`), asking (`demo_answers`).
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

GROUPS = 3  # sessions into which a file's passages are split


@dataclass(frozen=True, slots=True)
class StoryInteraction:
    """One interaction of the story."""

    text: str
    role: str = "document"
    source: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class StoryQuestion:
    """A held-out question; `interaction` is the index of the chapter's interaction that answers it."""

    question: str
    answer: str
    interaction: int


@dataclass(frozen=True, slots=True)
class Chapter:
    """One session: its interactions, and the questions about them."""

    session: str
    interactions: tuple[StoryInteraction, ...]
    questions: tuple[StoryQuestion, ...]


def load_story() -> list[Chapter]:
    """The story shipped with the package."""
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
    """The first `limit` passages of a file, in up to three sessions. Raises `InputError` if none has questions."""
    from seal_memory.intake.files import read_file

    documents = list(read_file(path))[:limit]
    if not any(d.questions for d in documents):
        raise InputError(
            f"{path} has no questions; expected passages like "
            '{"title": …, "context": …, "questions": [{"question": …, "answer": …}]}'
        )
    chapters = []
    for number, part in enumerate(_split(documents), start=1):
        interactions = tuple(StoryInteraction(d.text, d.role, d.source, d.title) for d in part)
        questions = tuple(StoryQuestion(q.question, q.answer, n) for n, d in enumerate(part) for q in d.questions)
        chapters.append(Chapter(f"part-{number}", interactions, questions))
    return chapters


def _split(items: Sequence[Document]) -> list[Sequence[Document]]:
    """Split into up to three consecutive groups, earlier ones not shorter than later ones."""
    groups = min(GROUPS, len(items))
    ends = [-(-len(items) * n // groups) for n in range(groups + 1)]
    return [items[a:b] for a, b in pairwise(ends)]
