"""The shipped story and the test story: facts that can be asked for, and noise that is not learned."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import seal_memory
from seal_memory.intake.admission import admit, parse_role
from seal_memory.language.spans import answer_spans
from seal_memory.language.text import content_words, normalise
from seal_memory.records import Role, Status

DATA = Path(seal_memory.__file__).parent / "data"
STORIES = [DATA / "demo_story.json", Path(__file__).parent / "data" / "tiny_story.json"]


def _story(path: Path) -> dict[str, Any]:
    story: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return story


def _facts(path: Path) -> list[tuple[str, str, str]]:
    """(statement, question, answer) of every fact."""
    return [
        (session["interactions"][q["interaction"]]["text"], q["question"], q["answer"])
        for session in _story(path)["sessions"]
        for q in session["questions"]
    ]


def _grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[i : i + 4]) for i in range(len(words) - 3)}


def test_the_demo_has_three_sessions_and_enough_facts() -> None:
    sessions = _story(STORIES[0])["sessions"]
    assert len(sessions) == 3
    assert all(len(session["questions"]) >= 12 for session in sessions)
    assert len(_facts(STORIES[0])) >= 36


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_every_question_is_held_out(path: Path) -> None:
    facts = _facts(path)
    for statement, question, answer in facts:
        assert answer in statement
        assert len(answer.split()) <= 4
        assert normalise(answer) not in normalise(question)
        assert not _grams(statement) & _grams(question), question
        assert set(content_words(statement)) & set(content_words(question)), question
    assert len({normalise(answer) for _, _, answer in facts}) == len(facts)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_answers_do_not_stand_in_other_statements(path: Path) -> None:
    """One may: Elspeth Corran is an answer and, later, somebody of whom more is told."""
    facts = _facts(path)
    shared = [
        answer
        for _, _, answer in facts
        if sum(f" {normalise(answer)} " in f" {normalise(statement)} " for statement, _, _ in facts) > 1
    ]
    assert len(shared) <= 1, shared


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_gate_admits_the_facts_and_nothing_else(path: Path) -> None:
    for session in _story(path)["sessions"]:
        facts = {question["interaction"] for question in session["questions"]}
        for index, interaction in enumerate(session["interactions"]):
            role = parse_role(interaction["role"])
            verdict = admit(interaction["text"], role=role)
            assert (verdict.status is Status.PENDING) == (index in facts), interaction["text"]


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_answers_lie_in_spans_that_need_no_model(path: Path) -> None:
    for statement, _, answer in _facts(path):
        found = [span.text for span in answer_spans(statement)]
        assert any(answer in text and len(text.split()) <= 4 for text in found), (answer, found)


def test_the_fixed_text_is_long_enough() -> None:
    text = (DATA / "fixed_text.txt").read_text(encoding="utf-8")
    assert 1000 <= len(text.split()) <= 1400
    assert len(text.split("\n\n")) >= 8


def test_the_unrelated_questions_state_nothing_and_ask_nothing_about_the_story() -> None:
    lines = (DATA / "unrelated_questions.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(set(lines)) == 24
    names = {span.text for statement, _, _ in _facts(STORIES[0]) for span in answer_spans(statement)[:2]}
    for line in lines:
        assert admit(line, role=Role.USER).status is Status.SKIPPED, line
        assert not any(name in line for name in names), line
