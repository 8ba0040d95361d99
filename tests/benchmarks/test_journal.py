"""A run's journal: killed anywhere, finished steps stay and half ones are repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.journal import Journal, finished
from seal_memory.errors import InputError

HEAD = {"experiment": "single", "seed": 0, "provenance": {"started": "now"}}


def _write(path: Path) -> None:
    journal = Journal(path, HEAD)
    journal.add("one", [{"kind": "answer", "text": "a"}, {"kind": "answer", "text": "b"}])
    journal.add("two", [{"kind": "answer", "text": "é\n"}])
    journal.took(1.5)


def test_finished_steps_are_not_done_again(tmp_path: Path) -> None:
    """A second opening knows them, and keeps their records."""
    path = tmp_path / "j.jsonl"
    _write(path)
    again = Journal(path, HEAD)
    assert again.is_done("one")
    assert again.is_done("two")
    assert not again.is_done("three")
    assert [r.get("text") for r in finished(path) if r["kind"] == "answer"] == ["a", "b", "é\n"]


@given(st.data())
def test_cut_anywhere_only_whole_steps_count(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Every prefix of the file's bytes is a state that a kill can leave: it opens, and no half step is in it."""
    path = tmp_path_factory.mktemp("cut") / "j.jsonl"
    _write(path)
    whole = path.read_bytes()
    head = len(whole.split(b"\n", 1)[0]) + 1
    path.write_bytes(whole[: data.draw(st.integers(head, len(whole)))])
    journal = Journal(path, HEAD)
    texts = [r["text"] for r in finished(path) if r["kind"] == "answer"]
    expected = {(False, False): [], (True, False): ["a", "b"], (True, True): ["a", "b", "é\n"]}
    assert texts == expected[journal.is_done("one"), journal.is_done("two")]
    journal.add("three", [{"kind": "answer", "text": "c"}])
    assert [r["text"] for r in finished(path) if r["kind"] == "answer"] == [*texts, "c"]


def test_another_commit_may_go_on_but_other_flags_may_not(tmp_path: Path) -> None:
    """What changes the figures must be the same."""
    path = tmp_path / "j.jsonl"
    _write(path)
    Journal(path, {**HEAD, "provenance": {"started": "later"}})
    with pytest.raises(InputError, match="another run"):
        Journal(path, {**HEAD, "seed": 1})
