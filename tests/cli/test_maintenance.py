"""`correct`, `forget`, `history`, `rollback`, `export` and `status`, end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory.cli import maintenance

Run = Callable[..., Any]


def _id_of(run: Run, words: str) -> str:
    found: str = run("recall", words, "--json").json["hits"][0]["id"]
    return found


def test_correct_replaces_the_text_and_drops_what_was_trained_on_it(run: Run, published: Path) -> None:
    old = _id_of(run, "Velmar Timber")
    data = run("correct", old, "Velmar Timber brings oak planks every Friday.", "--json").json
    assert data["old_id"] == old
    assert data["adapters"]
    assert data["snapshots"]
    assert _id_of(run, "oak planks") == data["new_id"]
    assert run("status", "--json").json["interactions"]["superseded"] == 1


def test_correct_shows_both_ids(run: Run, published: Path) -> None:
    old = _id_of(run, "Velmar Timber")
    assert f"{old} is superseded by " in run("correct", old, "Velmar Timber brings oak planks.").out


@pytest.mark.parametrize("command", [["correct", "x", "A new text."], ["forget", "x"]], ids=lambda c: c[0])
def test_an_unknown_id_is_told(run: Run, published: Path, command: list[str]) -> None:
    assert run(*command, "--json", code=1).json["error"]["type"] == "UnknownIdError"


def test_forget_by_id_reports_what_went(run: Run, published: Path) -> None:
    data = run("forget", _id_of(run, "Velmar Timber"), "--json").json
    assert data["interactions"] == 1
    assert data["quiz_items"] == 1
    assert data["adapters"]
    assert {"recall_before", "recall_after", "recall_base"} <= set(data)
    assert run("recall", "Velmar Timber", "--json").json["hits"] == []


def test_forget_by_source(run: Run, published: Path, passages_file: Path) -> None:
    assert "Forgotten: 2 interactions" in run("forget", "--source", passages_file).out
    assert run("status", "--json").json["shards"] == 0


def test_forget_by_session_that_is_not_there(run: Run, published: Path) -> None:
    assert run("forget", "--session", "never", "--json", code=1).json["error"]["type"] == "UnknownIdError"


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("", 1), ("y\n", 0)], ids=["no", "end", "yes"])
def test_forget_asks_on_a_terminal(
    run: Run, published: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """It shows what would go, and only a yes lets it go; with --json it asks on standard error."""
    monkeypatch.setattr(maintenance, "_is_interactive", lambda: True)
    id = _id_of(run, "Velmar Timber")
    ran = run("forget", id, "--json", input=answer, code=code)
    assert "Velmar Timber brings" in ran.err
    assert "Forget 1 interactions for good?" in ran.err
    assert ("error" in ran.json) == bool(code)
    assert len(run("recall", "Velmar Timber", "--json").json["hits"]) == (1 if code else 0)


def test_forget_with_yes_does_not_ask(run: Run, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_is_interactive", lambda: True)
    assert "Forget" not in run("forget", _id_of(run, "Velmar"), "--yes", "--json").err


def test_history_and_rollback(run: Run, published: Path) -> None:
    """Rolling back to 0 serves the untouched base; a version that never was is an error."""
    data = run("history", "--json").json
    assert data["current"] == 2
    assert [v["version"] for v in data["versions"]] == [2, 1]
    assert data["versions"][0]["core"]
    assert run("rollback", "1", "--json").json["version"] == 1
    assert run("history", "--json").json["current"] == 1
    assert run("rollback", "0", "--json").json == {"version": 0, "shards": 0}
    assert "untouched base" in run("history").out
    assert "Version 2 is published." in run("rollback", "2").out
    assert run("rollback", "9", "--json", code=1).json["error"]["type"] == "UnknownIdError"


def test_history_before_anything_was_published(run: Run) -> None:
    run("observe", "Hello!")
    assert run("history", "--json").json == {"current": 0, "versions": []}
    assert "Nothing is published yet" in run("history").out


def test_export_of_adapters(run: Run, published: Path, tmp_path: Path) -> None:
    data = run("export", tmp_path / "out", "--json").json
    assert (data["version"], data["merged"]) == (2, False)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["shards"]) == 2
    assert "not an empty folder" in run("export", tmp_path / "out", code=1).err


def test_export_merged(run: Run, published: Path, tmp_path: Path) -> None:
    data = run("export", tmp_path / "out", "--merged", "--json").json
    assert "model.safetensors" in data["files"]


def test_export_before_anything_was_published(run: Run, tmp_path: Path) -> None:
    run("observe", "Hello!")
    assert "consolidate first" in run("export", tmp_path / "out", code=1).err


def test_status_counts_and_shows_what_was_skipped(run: Run, published: Path) -> None:
    data = run("status", "--json").json
    assert data["interactions"]["learned"] == 2
    assert data["skipped"]["reasons"] == {"greeting: nothing stated": 1}
    assert data["skipped"]["latest"][0]["text"] == "Hello!"
    assert (data["version"], data["shards"], data["quiz_items"]) == (2, 2, 2)
    shown = run("status").out
    assert "version 2" in shown
    assert "greeting: nothing stated" in shown


def test_texts_cannot_steer_the_terminal(run: Run) -> None:
    """Escape sequences and rich markup in a memory are shown, not obeyed."""
    run("observe", "-", input="The cat [bold]Bilgewater[/bold] sleeps \x1b[31min the loft.")
    shown = run("recall", "Bilgewater").out
    assert "\x1b" not in shown
    assert "[bold]" in shown
