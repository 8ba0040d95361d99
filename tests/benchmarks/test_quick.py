"""What `make bench` runs, whole, with the tiny model: every experiment, every system, the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.report import load

pytest.importorskip("bm25s", reason="make installs the benchmarks' packages")


@pytest.mark.timeout(600)
def test_the_quick_run_ends_with_a_page(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of each experiment and one page; called again it has nothing left to do but the report."""
    for name in ("EPOCHS", "DOCUMENT_EPOCHS", "DOCUMENT_READINGS", "MIN_STEPS"):  # a random model learns nothing
        monkeypatch.setenv(f"SEAL_MEMORY_LEARNING__{name}", "1")
    arguments = ["quick", "--model", str(tiny_model_folder), "--work", str(tmp_path)]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert Path(said["page"]).is_file()
    found = {r.name: r for r in load.load(Path(said["results"])).results}
    assert set(found) == {"sessions-diary", "update-diary", "delete-diary", "scale-diary"}
    assert {"seal-recipe", "naive-lora", "dense", "core"} <= {w.name for w in found["sessions-diary"].ways}
    before = sorted(tmp_path.rglob("*.jsonl"))
    answers = [line for path in before for line in path.read_text(encoding="utf-8").splitlines() if '"answer"' in line]
    assert main(arguments) == 0
    again = [line for path in before for line in path.read_text(encoding="utf-8").splitlines() if '"answer"' in line]
    assert answers == again
