"""`python -m benchmarks`, as a user calls it, with the tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.harness.results import FORMAT
from benchmarks.quick import plans
from benchmarks.report import load
from benchmarks.report.__main__ import main as report

REPOSITORY = Path(__file__).parents[2]


def _arguments(model: Path, place: Path, *systems: str) -> list[str]:
    small = ["--limit", "2", "--facts-per-day", "2", "--per-session", "1", "--max-tokens", "3", "--latency", "1"]
    training = ["--set", "learning.rank=2", "--set", "learning.epochs=1", "--set", "learning.notes_per_statement=0"]
    places = ["--work", str(place / "work"), "--out", str(place / "results" / "sessions-diary.json")]
    return [
        "run", "sessions", "--task", "diary", *small, *training, *places, "--model", str(model), "--systems", *systems,
    ]  # fmt: skip


def _last_line(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_a_run_writes_results_that_the_report_reads(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line is one JSON object; the file has every way's row and where it comes from; the page is made."""
    assert main(_arguments(tiny_model_folder, tmp_path, "prompted", "bm25-fts5", "seal-memory")) == 0
    said = _last_line(capsys)
    found = json.loads((tmp_path / "results" / "sessions-diary.json").read_text(encoding="utf-8"))
    ways = ["untouched", "oracle", "full-context", "bm25-fts5", "weights", "weights-right-shard", "hybrid"]
    assert list(found["ways"]) == list(said["accuracy"]) == ways
    assert found["format"] == FORMAT
    assert len(found["ways"]["weights"]["retention"]) == 2
    assert found["ways"]["bm25-fts5"]["answer_seconds"]["n"] == 1
    assert {"commit", "versions", "cpu", "model", "data_sha256", "seeds", "command"} <= found["provenance"].keys()
    assert [r.name for r in load.load(tmp_path / "results").results] == ["sessions-diary"]
    assert report(["--results", str(tmp_path / "results"), "--no-tables"]) == 0
    assert (tmp_path / "results" / "report" / "index.html").is_file()


def test_several_processes_share_a_run_and_what_is_done_stays(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another call with another system adds its rows; the first one's answers are not computed again."""
    assert main(_arguments(tiny_model_folder, tmp_path, "prompted")) == 0
    journal = tmp_path / "work" / "prompted-seed0.jsonl"
    answers = [line for line in journal.read_text(encoding="utf-8").splitlines() if '"answer"' in line]
    assert main(_arguments(tiny_model_folder, tmp_path, "bm25-fts5", "prompted")) == 0
    assert answers == [line for line in journal.read_text(encoding="utf-8").splitlines() if '"answer"' in line]
    assert list(_last_line(capsys)["accuracy"]) == ["untouched", "oracle", "full-context", "bm25-fts5"]


def test_other_systems_are_taken_over_from_an_earlier_file(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the table's order, with where they come from; own figures win; a file that asked something else is refused."""
    earlier, later = tmp_path / "earlier", tmp_path / "later"
    assert main(_arguments(tiny_model_folder, earlier, "prompted", "bm25-fts5")) == 0
    file = earlier / "results" / "sessions-diary.json"
    marked = json.loads(file.read_text(encoding="utf-8"))
    for way in marked["ways"].values():
        way["notes"] = "earlier"
    file.write_text(json.dumps(marked), encoding="utf-8")
    assert main([*_arguments(tiny_model_folder, later, "bm25-fts5"), "--beside", str(file)]) == 0
    found = json.loads((later / "results" / "sessions-diary.json").read_text(encoding="utf-8"))
    assert {w: row.get("notes") for w, row in found["ways"].items()} == {
        "untouched": "earlier", "oracle": "earlier", "full-context": "earlier", "bm25-fts5": None
    }  # fmt: skip
    known = marked["ways"]["untouched"]["perplexity_base"]
    assert known is not None
    assert {row["perplexity_base"] for row in found["ways"].values()} == {known}  # the prompted system's run knew it
    (source,) = found["provenance"]["taken_over"]
    assert (source["systems"], source["started"]) == (["prompted"], marked["provenance"]["started"])
    assert found["provenance"]["flags"]["systems"].keys() == {"prompted", "bm25-fts5"}
    assert load.load(later / "results").results
    capsys.readouterr()
    other = [*_arguments(tiny_model_folder, tmp_path / "other", "bm25-fts5"), "--seed", "1", "--beside", str(file)]
    assert main(other) == 2
    assert "data_sha256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "squad"], "--data"),
        (["--task", "diary", "--systems", "mem9"], "mem9"),
        (["--task", "diary", "--set", "rank"], "NAME=VALUE"),
        (["--task", "diary", "--set", "rnk=2"], "rank"),
        (["--task", "diary", "--beside", "nowhere.json"], "nowhere.json"),
    ],
)
def test_bad_arguments_end_with_a_sentence(
    arguments: list[str], said: str, tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the value and the way out on standard error."""
    places = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out.json"), "--model", str(tiny_model_folder)]
    assert main(["run", "single", *arguments, *places]) == 2
    assert said in capsys.readouterr().err


def test_the_published_tables_are_those_of_the_results() -> None:
    """`python -m benchmarks report` has nothing to change."""
    places = [
        "--results",
        str(REPOSITORY / "benchmarks" / "results"),
        "--tables",
        str(REPOSITORY / "docs" / "results.md"),
    ]
    assert report([*places, "--check"]) == 0


def test_the_quick_run_tries_every_experiment() -> None:
    """With a file of passages also `single`."""
    assert {p[0] for p in plans(Path("x.jsonl"))} == {"single", "sessions", "update", "delete", "scale"}
