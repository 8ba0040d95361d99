"""Reading test: whether the model answers questions about a text in its prompt, which decides how it studies.

24 questions about six invented texts, so that nothing can be known beforehand. A model that reads writes its own
questions and answers (`self_edits.self_study`); one that does not learns from items made by rules.
Not here: quizzes about what was observed (`generator`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

from seal_memory import prompts
from seal_memory.engines import base_cache
from seal_memory.engines.base import Engine, Prompt
from seal_memory.language.metrics import contains, mean

TEST_VERSION = 1  # of the questions: shares of different versions do not compare
ANSWER_TOKENS = 24
MIN_SHARE = 0.6  # of right answers, from which on a model studies its own answers


@dataclass(frozen=True, slots=True)
class ReadingTest:
    """Share of right answers, 0..1, and the number of questions."""

    share: float
    questions: int


@cache
def reading_questions() -> tuple[tuple[str, str, str], ...]:
    """(text, question, answer) of the shipped test."""
    stored = json.loads(resources.files("seal_memory").joinpath("data/reading_test.json").read_text(encoding="utf-8"))
    return tuple((t["text"], q["question"], q["answer"]) for t in stored for q in t["questions"])


def reading_test(engine: Engine) -> ReadingTest:
    """Ask the untouched base all questions, greedily, with the text in the prompt; cached with the engine."""
    asked = [Prompt(prompts.read(text, question)) for text, question, _ in reading_questions()]
    done = base_cache.complete(engine, asked, max_tokens=ANSWER_TOKENS)
    right = [contains(d.text, answer) for d, (_, _, answer) in zip(done, reading_questions(), strict=True)]
    return ReadingTest(mean(right), len(right))
