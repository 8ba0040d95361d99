"""`demo`: end to end with the tiny model, the new process included. A random model knows nothing; the keys count."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seal_memory.cli.demo_answers import SYSTEMS, DemoAnswer, Inquiry, Request, figures
from seal_memory.cli.demo_story import load_passages, load_story
from seal_memory.errors import InputError
from seal_memory.memory import SealMemory

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]

KEYS = {
    "accuracy",
    "f1",
    "first_session",
    "prompt_tokens",
    "seconds",
    "questions",
    "versions",
    "router_accuracy",
    "consolidate_seconds",
    "peak_memory_mb",
    "seed",
}


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the new process finds the package when it is not installed."""
    monkeypatch.chdir(ROOT)


def test_demo_json_has_exactly_its_keys(run_in: Run, passages_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passages from a file and two sessions. The answering process is the story's; here it spares its imports."""
    from seal_memory.cli import demo, demo_answers

    def answer(command: Any, *, input: str, **_: Any) -> Any:
        assert command[1:] == ["-m", "seal_memory.cli.demo_answers"]
        monkeypatch.setattr(sys, "stdin", io.StringIO(input))
        with redirect_stdout(io.StringIO()) as told:
            return SimpleNamespace(returncode=demo_answers.main(), stdout=told.getvalue())

    monkeypatch.setattr(demo.subprocess, "run", answer)
    data = run_in(None, "demo", "--data", passages_file, "--seed", "7", "--json").json
    assert set(data) == KEYS
    for figure in ("accuracy", "f1", "prompt_tokens", "seconds"):
        assert tuple(data[figure]) == SYSTEMS
        assert all(isinstance(value, float) for value in data[figure].values()), figure
    assert all(0 <= value <= 1 for figure in ("accuracy", "f1") for value in data[figure].values())
    assert set(data["first_session"]) == {"after_first", "after_last"}
    assert data["prompt_tokens"]["oracle"] > data["prompt_tokens"]["base"] == data["prompt_tokens"]["weights"]
    assert (data["questions"], data["seed"]) == (2, 7)
    assert isinstance(data["versions"], int)
    assert data["peak_memory_mb"] > 50
    assert data["consolidate_seconds"] > 0


def test_demo_story_table_and_the_folder_that_it_keeps(run_in: Run, tmp_path: Path) -> None:
    """The table names every system; no question of the story reaches the memory, neither as text nor as a quiz."""
    ran = run_in(tmp_path / "story", "demo", "--set", "answering.retrieval_passages=1")
    for shown in ("untouched model", "weights only", "retrieval", "hybrid", "oracle", "session 1: ", "rank "):
        assert shown in ran.out, shown
    assert "router accuracy" in ran.out
    assert "entity_statement" in ran.out
    assert str(tmp_path / "story") in ran.out.replace("\n", "")
    questions = {a.question for chapter in load_story() for a in chapter.questions}
    with SealMemory.open(tmp_path / "story") as memory:
        assert not questions & {i.text for i in memory.ledger.interactions()}
        assert not questions & {q.question for q in memory.ledger.quiz_items()}
        assert not questions & {item.prompt for edit in memory.ledger.self_edits() for item in edit.items}
        assert {i.session for i in memory.ledger.interactions()} == {"monday", "wednesday", "friday"}


def test_demo_refuses_a_folder_with_something_in_it(run_in: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious", encoding="utf-8")
    assert "not an empty folder" in run_in(tmp_path, "demo", "--json", code=1).json["error"]["message"]


def test_kept_and_temporary_folders(capsys: pytest.CaptureFixture[str]) -> None:
    """A temporary folder goes, also after an error; --keep leaves it and tells where it is."""
    from seal_memory.cli.demo import _demo_folder

    gone = _demo_folder(None, keep=False)
    place = gone.__enter__()
    assert place.is_dir()
    assert not gone.__exit__(InputError, InputError("stop"), None)
    assert not place.exists()
    with _demo_folder(None, keep=True) as place:
        pass
    assert place.is_dir()
    assert str(place) in capsys.readouterr().err.replace("\n", "")
    place.rmdir()


def test_an_error_in_the_new_process_is_an_error_of_the_demo(
    run_in: Run, passages_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as one JSON object, like every error."""
    from seal_memory.cli import demo as room

    class Done:
        returncode, stdout = 1, '{"error": "InputError: too long"}\n'

    monkeypatch.setattr(room.subprocess, "run", lambda *args, **more: Done)
    error = run_in(None, "demo", "--data", passages_file, "--json", code=1).json["error"]
    assert error["type"] == "SealMemoryError"
    assert "too long" in error["message"]


def test_the_story_is_told_without_its_questions() -> None:
    chapters = load_story()
    assert len(chapters) == 3
    assert sum(len(c.questions) for c in chapters) >= 30
    for chapter in chapters:
        for asked in chapter.questions:
            assert asked.answer in chapter.interactions[asked.interaction].text
            assert asked.question not in {told.text for told in chapter.interactions}


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1]), (2, [1, 1]), (5, [2, 2, 1]), (7, [3, 2, 2]), (None, [3, 3, 2])])
def test_passages_are_split_into_up_to_three_sessions(tmp_path: Path, limit: int | None, sizes: list[int]) -> None:
    """In order, every passage once, each with its own questions."""
    file = tmp_path / "eight.jsonl"
    rows = [
        {"title": f"t{n}", "context": f"Text {n}.", "questions": [{"question": f"q{n}", "answer": "a"}]}
        for n in range(8)
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    chapters = load_passages(file, limit)
    assert [len(c.interactions) for c in chapters] == sizes
    texts = [told.text for c in chapters for told in c.interactions]
    assert texts == [f"Text {n}." for n in range(sum(sizes))]
    assert all(c.interactions[a.interaction].text == f"Text {a.question[1:]}." for c in chapters for a in c.questions)


def test_a_file_without_questions_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plain.txt"
    file.write_text("Just a text.", encoding="utf-8")
    with pytest.raises(InputError, match="no questions"):
        load_passages(file)


def test_figures_count_what_is_contained() -> None:
    inquiries = [Inquiry("q", "dark green", "text", ("i",), "s"), Inquiry("r", "1887", "text", ("i",), "s")]
    found = figures(inquiries, [DemoAnswer("It is Dark Green.", 10), DemoAnswer("no idea", 30)], 3.0)
    assert (found.accuracy, found.prompt_tokens, found.seconds) == (0.5, 20.0, 1.5)
    assert found.right == (True, False)
    assert 0 < found.f1 < 0.5


def test_a_request_survives_its_journey() -> None:
    from dataclasses import asdict

    request = Request("f", "m", "n", {"rank": "4"}, (Inquiry("q", "a", "t", ("i", "j"), "s"),), True)
    assert Request.from_json(json.dumps(asdict(request))) == request
