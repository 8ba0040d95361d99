"""`seal-memory sleep`: what it tells, and what stands in the memory afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
PARTS = (
    ("Maud Ellery built the lighthouse at Korrin Bay in 1887.", "Who is the lighthouse's builder?", "Maud Ellery"),
    ("Iwan Skerry lit the lamp of brass on a foggy evening.", "By whom was the lamp lit?", "Iwan Skerry"),
)


@pytest.fixture
def learned(run: Run, tmp_path: Path) -> Path:
    """A document in two parts, each too long to be learned with the other."""
    file = tmp_path / "harbour.jsonl"
    passages = [{"title": "Harbour", "context": t, "questions": [{"question": q, "answer": a}]} for t, q, a in PARTS]
    file.write_text("".join(json.dumps(p) + "\n" for p in passages), encoding="utf-8")
    run("ingest", file, "--with-questions")
    assert run("consolidate", "--set", "learning.episode_max_tokens=32", "--json").json["published"] == 2
    return file


def test_sleep_tells_what_was_merged(run: Run, learned: Path) -> None:
    """As JSON: how many shards and bytes before and after; a merge and a core, each with its reasons."""
    found = run("sleep", "--json").json
    assert (found["topics"], found["merged"], found["core"]) == (1, 1, True)
    assert found["shards"] == [2, 1]
    assert found["adapter_bytes"][1] < found["adapter_bytes"][0]
    assert run("status", "--json").json["shards"] == 1
    assert run("history", "--json").json["versions"][0]["note"] == "core"
    assert "Nothing to merge" in run("sleep", "--no-core").out


def test_sleep_shows_a_table(run: Run, learned: Path) -> None:
    """For people: what, and because of what; nothing of what was observed."""
    shown = run("sleep", "--no-core").out
    assert "published" in shown
    assert "one document" in " ".join(shown.split())
    assert "2 shards" in shown
    assert "1 shards" in shown
    assert "Maud Ellery" not in shown


@pytest.mark.parametrize("option", ["sleep.group_size=1", "sleep.mode=soundly"])
def test_bad_settings_are_refused(run: Run, published: Path, option: str) -> None:
    assert option.partition("=")[0] in run("sleep", "--set", option, code=1).err
