"""`observe` and `ingest`, end to end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
FACT = "The workshop cat Bilgewater sleeps in the sail loft."


def test_observe_tells_id_standing_and_reason(run: Run) -> None:
    """A fact is pending, a greeting is skipped with its reason, a repeated text is known."""
    ran = run("observe", FACT, "Hello!", "--session", "monday", "--json")
    fact, greeting = ran.json["observed"]
    assert (fact["new"], fact["status"], fact["reason"]) == (True, "pending", None)
    assert (greeting["status"], greeting["reason"]) == ("skipped", "greeting: nothing stated")
    (again,) = run("observe", FACT, "--json").json["observed"]
    assert (again["id"], again["new"]) == (fact["id"], False)


def test_observe_keeps_role_session_source_and_title(run: Run) -> None:
    run("observe", FACT, "--role", "tool", "--session", "s", "--source", "log", "--title", "Cats")
    (hit,) = run("recall", "Bilgewater", "--json").json["hits"]
    assert [hit[key] for key in ("role", "session", "source", "title", "text")] == ["tool", "s", "log", "Cats", FACT]


def test_observe_reads_standard_input(run: Run) -> None:
    """A dash is standard input, as one text."""
    (seen,) = run("observe", "-", "--json", input=f"{FACT}\nIt eats herring.\n").json["observed"]
    assert seen["status"] == "pending"
    assert "herring" in run("recall", "herring", "--json").json["hits"][0]["text"]


def test_observe_shows_a_table_with_whole_ids(run: Run) -> None:
    (seen,) = run("observe", FACT, "--json").json["observed"]
    shown = run("observe", FACT).out
    assert seen["id"] in shown
    assert "known" in shown
    assert "pending" in shown


@pytest.mark.parametrize(("text", "kind"), [("   ", "InputError"), ("a\x00b", "InputError")], ids=["empty", "binary"])
def test_observe_refuses_junk(run: Run, text: str, kind: str) -> None:
    assert run("observe", "-", "--json", input=text, code=1).json["error"]["type"] == kind


def test_observe_refuses_an_unknown_role(run: Run) -> None:
    assert "unknown role" in run("observe", FACT, "--role", "ghost", code=1).err


SHAPES = {
    "plain.txt": FACT,
    "notes.md": f"# Cats\n\n{FACT}\n\n## Dogs\n\nThe yard dog Captain guards the slipway.\n",
    "talk.jsonl": "\n".join(
        json.dumps({"role": role, "content": text})
        for role, text in [("user", FACT), ("assistant", "I have noted it."), ("user", "Thanks!")]
    ),
    "talks.json": json.dumps([{"messages": [{"role": "user", "content": FACT}]}]),
    "passage.json": json.dumps({"title": "Cats", "context": FACT}),
    "passages.jsonl": json.dumps({"title": "Cats", "context": FACT}) + "\n",
}


@pytest.mark.parametrize("name", SHAPES)
def test_ingest_takes_every_shape(run: Run, tmp_path: Path, name: str) -> None:
    """The fact comes out of each, pending; what states nothing is skipped and counted."""
    file = tmp_path / name
    file.write_text(SHAPES[name], encoding="utf-8")
    data = run("ingest", file, "--json").json
    assert data["pending"] >= 1
    assert data["observed"] == data["pending"] + data["skipped"] == len(data["files"][0]["ids"])
    hit = run("recall", "Bilgewater", "--json").json["hits"][0]
    assert FACT in hit["text"]
    assert hit["source"] == str(file)


def test_ingest_hands_questions_in_only_when_asked(run: Run, passages_file: Path) -> None:
    """Without --with-questions they stay in the file; handed in twice they are there once."""
    ran = run("ingest", passages_file)
    assert "2 questions in the files were left out" in ran.out
    assert run("status", "--json").json["quiz_items"] == 0
    assert run("ingest", passages_file, "--with-questions", "--json").json["questions"] == 2
    assert run("ingest", passages_file, "--with-questions", "--json").json["questions"] == 0
    assert run("status", "--json").json["quiz_items"] == 2


def test_ingest_checks_every_file_before_it_records_one(run: Run, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.jsonl"
    good.write_text(FACT, encoding="utf-8")
    bad.write_text('{"context": "x"}\n{"nothing": 1}\n', encoding="utf-8")
    assert "line 2" in run("ingest", good, bad, code=1).err
    assert not (tmp_path / "memory").exists()


def test_ingest_names_a_missing_file(run: Run, tmp_path: Path) -> None:
    assert "no such file" in run("ingest", tmp_path / "gone.txt", "--json", code=1).json["error"]["message"]


def test_a_namespace_sees_only_its_own(run: Run) -> None:
    run("observe", FACT, "--namespace", "ann")
    assert run("recall", "Bilgewater", "--namespace", "ben", "--json").json["hits"] == []
    assert len(run("recall", "Bilgewater", "--namespace", "ann", "--json").json["hits"]) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.pdf", b"%PDF-1.4 text"),
        ("b.jsonl", b'{"context": "half \\ud800 a pair"}'),
        ("b.txt", "Ω".encode("utf-16-le")),
        (b"caf\xe9.txt", b"The ferry is red."),
    ],
)
def test_every_file_is_checked_before_the_first_is_recorded(
    run: Run, tmp_path: Path, name: str | bytes, content: bytes
) -> None:
    good, bad = tmp_path / "a.txt", Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), os.fsencode(name))))
    good.write_text(FACT)
    try:
        bad.write_bytes(content)
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    ran = run("ingest", good, bad, "--json", code=1)
    assert ran.json["error"]["type"] == "InputError"
    assert not (tmp_path / "memory").exists()


def test_a_page_in_standard_input_becomes_its_words(run: Run) -> None:
    page = f"<!DOCTYPE html><html><title>Cats</title><script>1</script><p>{FACT}</p></html>"
    assert run("observe", "-", "--json", input=page).json["observed"][0]["status"] == "pending"
    assert run("recall", "Bilgewater", "--json").json["hits"][0]["text"] == FACT


def test_standard_input_may_be_utf16_with_its_mark(run: Run) -> None:
    (seen,) = run("observe", "-", "--json", input=FACT.encode("utf-16")).json["observed"]
    assert seen["status"] == "pending"
