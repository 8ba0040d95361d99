"""`python -m benchmarks faults`: names are checked, every fault has its module, and the quick ones pass here."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.faults import log
from benchmarks.faults.command import FAULTS
from benchmarks.faults.command import __doc__ as listed


def test_every_fault_is_listed_and_replays() -> None:
    for name in FAULTS:
        assert callable(importlib.import_module(f"benchmarks.faults.{name}").replay)
        assert f"\n{name} " in (listed or "")


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["faults", "nonsense"])
    assert "expected some of kills" in capsys.readouterr().err


def test_the_result_is_one_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the exit code says whether every bar is met."""
    monkeypatch.setattr(log, "SECONDS", 0.2)
    monkeypatch.setattr(log, "READERS", 1)
    assert main(["faults", "log", "--work", str(tmp_path), "--out", str(tmp_path / "out.json")]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["log"]["passed"]
    assert json.loads((tmp_path / "out.json").read_text()) == found
    monkeypatch.setattr(log, "BAR", 0)
    assert main(["faults", "log", "--work", str(tmp_path)]) == 1
