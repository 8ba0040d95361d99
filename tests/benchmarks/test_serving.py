"""`python -m benchmarks serve`, small, with the tiny model over a real socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.serving.load import percentile


def test_the_load_run_measures_everything_once(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No request fails, idle or while a consolidation runs; every namespace answers; the file says where it is from."""
    out = tmp_path / "results" / "serve.json"
    small = [
        "--clients",
        "1",
        "3",
        "--requests",
        "6",
        "--namespaces",
        "3",
        "--max-tokens",
        "2",
        "--facts",
        "3",
        "--out",
        str(out),
    ]
    easy = [
        "learning.rank=4",
        "learning.epochs=1",
        "learning.min_steps=1",
        "learning.notes_per_statement=0",
        'engine.dtype="float32"',
        "gate.min_gain=0",
    ]
    easy.append(f'engine.cache_dir="{tmp_path / "cache"}"')
    assert main(["serve", *small, "--model", str(tiny_model_folder), *(f"--set={e}" for e in easy)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [(row["clients"], row["requests"], row["failed"]) for row in found["idle"]] == [(1, 6, 0), (3, 6, 0)]
    assert [(row["failed"], row["job"]) for row in found["consolidating"]] == [(0, "done")] * 2
    assert all(row["p50_seconds"] <= row["p95_seconds"] <= row["longest_seconds"] for row in found["idle"])
    assert found["namespaces"]["namespaces"] == 3
    assert found["namespaces"]["adapter_bytes"] > 0
    assert found["provenance"]["model"]["fingerprint"]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["idle"] == found["idle"]


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.95, 4.0), (1.0, 4.0), (0.0, 1.0)])
def test_percentiles(share: float, expected: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], share) == expected
