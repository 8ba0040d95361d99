"""`doctor`: what it sees, also when something is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]


def test_doctor_sees_everything_in_order(run: Run, published: Path, tiny_model_folder: Path) -> None:
    data = run("doctor", "--json").json
    assert data["problems"] == []
    assert data["ok"]
    assert data["hardware"]["device"]
    assert data["hardware"]["dtype"] == "float32"
    assert data["hardware"]["threads"] >= 1
    assert data["versions"]["torch"]
    assert data["versions"]["transformers"]
    assert data["versions"]["peft"]
    assert data["model"]["found"]
    assert data["model"]["folder"] == str(tiny_model_folder.resolve())
    assert len(data["model"]["fingerprint"]) >= 16
    assert (data["model"]["architecture"], data["model"]["tested"]) == ("LlamaForCausalLM", "real weights")
    assert data["model"]["end_tokens"] == "<|endoftext|>, <|im_end|>"
    assert data["model"]["suggested"] == "rank 16, alpha 32, learning rate 0.002"
    assert data["folder"]["writable"]
    assert data["folder"]["free_bytes"] > 0
    assert data["ledger"]["schema"] == data["ledger"]["known"]
    assert data["settings"]["changed"]["learning.rank"] == 4


def test_doctor_works_without_a_folder_and_makes_none(run: Run, tmp_path: Path) -> None:
    data = run("doctor", "--json").json
    assert not data["folder"]["exists"]
    assert data["folder"]["writable"]
    assert data["ledger"]["schema"] is None
    assert not (tmp_path / "memory").exists()
    assert "All checks passed" in run("doctor").out


def test_doctor_works_without_the_model_and_says_what_to_do(run: Run, tmp_path: Path) -> None:
    """A missing model is a problem with its remedy; the other checks stand, and it is no error."""
    data = run("doctor", "--model", tmp_path / "nowhere", "--json").json
    assert not data["ok"]
    assert not data["model"]["ok"]
    assert "Check the path" in data["problems"][0]
    assert data["hardware"]["ok"]
    assert "PROBLEM" in run("doctor", "--model", tmp_path / "nowhere").out


def test_doctor_does_not_download(run: Run) -> None:
    data = run("doctor", "--model", "nobody/no-such-model", "--json").json
    assert data["model"]["found"] is False
    assert "downloaded" in data["model"]["source"]


def test_doctor_reads_the_settings_file_and_tells_what_is_wrong_in_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "settings.toml").write_text("rnak = 8\n", encoding="utf-8")
    data = run("doctor", "--json").json
    assert data["settings"]["file_exists"]
    assert "rnak" in data["problems"][0]
    assert data["model"]["ok"]


def test_doctor_tells_a_damaged_ledger(run: Run, tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "ledger.sqlite").write_bytes(b"not a database at all" * 50)
    assert not run("doctor", "--json").json["ledger"]["ok"]


def test_doctor_tells_a_newer_ledger(run: Run, published: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(published / "ledger.sqlite")) as connection:
        connection.execute("PRAGMA user_version=99")
    assert "newer seal-memory" in run("doctor", "--json").json["problems"][0]
