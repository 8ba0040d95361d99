"""`python -m benchmarks policy`, as a user calls it, with the tiny model: what it says, and what a stop leaves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.policy.measuring import by_unit
from benchmarks.policy.options import GENRES, Options
from benchmarks.policy.results import compare, figures, last_line
from benchmarks.report import load
from benchmarks.report.__main__ import main as report
from seal_memory.errors import InputError
from seal_memory.policy.refining import exploration_from_record
from seal_memory.policy.rest_em import Exploration
from seal_memory.records import Genre, PolicyExample
from seal_memory.self_edits.genres import MODEL_GENRES

NAMES = ("Maud Ellery", "Tomas Lind", "Iwan Sorrel", "Rosa Klein", "Ada Bell", "Nils Berg")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six passages of two sentences, two questions each."""
    lines = []
    for n, name in enumerate(NAMES):
        context = f"{name} built the lighthouse at Bay {n} in 188{n}. The keeper there was called Otto{n} Fenn."
        questions = [
            {"question": f"Who built the lighthouse at Bay {n}?", "answer": name},
            {"question": "Who kept it?", "answer": f"Otto{n} Fenn"},
        ]
        lines.append(json.dumps({"id": n, "title": f"Bay {n}", "context": context, "questions": questions}))
    path = tmp_path / "squad.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _arguments(data: Path, model: Path, place: Path, *more: str) -> list[str]:
    small = ["--train", "2", "--judges", "2", "--held-out", "2", "--rounds", "2", "--samples", "1", "--seeds", "1"]
    small += ["--recipe-start", "4", "--recipe-passages", "2", "--genre-passages", "1", "--bandit-passages", "1"]
    small += ["--most-seeds", "1", "--chunk", "2", "--max-tokens", "3", "--arms", "2", "--bootstrap-samples", "1"]
    small += ["--bootstrap-rounds", "2"]
    training = [
        f"--set={s}"
        for s in (
            "learning.rank=2",
            "learning.epochs=1",
            "learning.document_epochs=1",
            "learning.document_readings=1",
            "learning.min_steps=1",
        )
    ]
    training += ["--set=learning.rows_per_statement=1", "--set=gate.quiz_answer_tokens=3"]
    places = ["--work", str(place / "work"), "--out", str(place / "results" / "policy-squad.json")]
    return ["policy", "--data", str(data), "--model", str(model), *small, *training, *places, *more]


def _last_line(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.mark.timeout(600)
def test_a_run_measures_every_way_and_goes_on_after_a_stop(
    data: Path, tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Out of its budget it says what is next; called again it ends with one JSON object, a third time repeats it."""
    for name in ("seal_memory.quizzes.generator.MIN_GAIN", "seal_memory.policy.guards.MIN_GAIN"):
        monkeypatch.setattr(name, -100.0)
    monkeypatch.setattr("seal_memory.policy.guards.MIN_LOGPROB_WITH", -100.0)
    arguments = _arguments(data, tiny_model_folder, tmp_path)
    assert main([*arguments, "--budget-seconds", "0"]) == 0
    stopped = _last_line(capsys)
    assert (stopped["complete"], stopped["next"]) == (False, "ask/text-only/0")
    assert main(arguments) == 0
    said = _last_line(capsys)
    assert said["complete"]
    assert {"recipe: oracle", "recipe: before", "recipe: after"} <= set(said["recall"])
    ways = ["text-only", "before", "default arm", "bandit only", "after bootstrap 1", "after bootstrap 2"]
    ways += ["after round 1", "after round 2"]
    assert set(ways) <= set(said["recall"])
    assert {"before: qa", "after: qa", "before: rewrite"} <= set(said["recall"])
    assert set(said["gain"]) == {"after bootstrap 1", "after bootstrap 2", "after round 1", "after round 2"}
    found = json.loads(Path(said["out"]).read_text(encoding="utf-8"))
    assert [r["round"] for r in found["rounds"]] == [-1, 0, 1, 2]
    assert all(r["reasons"] for r in found["rounds"])
    assert sum(a["tried"] for a in found["bandit"]["rewards"].values()) == 2
    assert "Maud" not in json.dumps(found)
    assert [sheet.name for sheet in load.load(tmp_path / "results").sheets] == ["policy"]
    journal = (tmp_path / "work" / "policy.jsonl").read_text(encoding="utf-8")
    assert main(arguments) == 0
    assert _last_line(capsys) == said
    again = (tmp_path / "work" / "policy.jsonl").read_text(encoding="utf-8")
    assert journal.count('"figures"') == again.count('"figures"')


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--held-out", "40"], "has 6 passages from 0 on; expected 44"),
        (["--train", "0"], "--train is 0; expected 1 or more"),
        (["--genre-passages", "0"], "--genre-passages is 0; expected 1 or more"),
        (["--recipe-start", "3"], "overlap the training or validation passages"),
        (["--recipe-passages", "9"], "has 2 passages from 4 on; expected 9"),
        (["--more-bootstrap", "1", "--bootstrap-start", "1"], "overlap the training or validation passages"),
        (["--more-bootstrap", "1", "--bootstrap-start", "5"], "squad-5 would be in training and test"),
        (["--ways", "sideways"], "Unknown way 'sideways'"),
        (["--genres", "poems"], "--genres poems: expected some of qa, reversed"),
        (["--held-out-start", "3"], "--held-out-start 3 and 2 passages overlap the training or validation passages"),
        (["--held-out-start", "4", "--more-bootstrap", "1", "--bootstrap-start", "5"], "squad-5 would be in training"),
    ],
)
def test_impossible_options_are_refused_with_the_way_out(
    data: Path, tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str],
    message: str,
) -> None:  # fmt: skip
    """Exit code 2, one sentence."""
    assert main(_arguments(data, tiny_model_folder, tmp_path, *more)) == 2
    assert message in capsys.readouterr().err


def test_without_data_it_says_which_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """No file is shipped."""
    assert main(["policy"]) == 2
    assert "--data FILE" in capsys.readouterr().err


# -- figures ----------------------------------------------------------------------------------------


def _answers(recalls: dict[str, list[float]]) -> list[dict[str, Any]]:
    return [
        {"unit": unit, "question": f"{unit}-{n}", "correct": r, "f1": r, "recall": r, "notes": 2}
        for unit, values in recalls.items()
        for n, r in enumerate(values)
    ]


def test_pairs_are_passages() -> None:
    """A passage with many questions weighs as much as one with few; the gain is also told as a share."""
    old, new = _answers({"a": [0.2, 0.2, 0.2], "b": [0.4]}), _answers({"a": [0.4, 0.4, 0.4], "b": [0.6]})
    assert by_unit(old, "recall") == pytest.approx({"a": 0.2, "b": 0.4})
    row = compare(old, new, names=("x", "y"), seed=0)
    assert row["recall"]["mean"] == pytest.approx(0.2)
    assert row["recall"]["pairs"] == 2
    assert row["recall"]["relative"] == pytest.approx(0.2 / 0.3)
    assert compare(_answers({"a": [0.0]}), new, names=("x", "y"), seed=0)["recall"]["relative"] is None


def test_figures_compare_before_with_after_and_the_bandit_with_its_default() -> None:
    """Each way once, reliability beside SEAL's."""
    answers = {w: _answers({"a": [0.1], "b": [0.3]}) for w in ("text-only", "before", "default arm", "bandit only")}
    answers |= {w: _answers({"a": [0.3], "b": [0.5]}) for w in ("after bootstrap", "after round 1")}
    steps = [{"round": 1, "promoted": True, "reliability": {"single": 0.4, "split_half": 0.5}}]
    made = figures({"answers": answers, "steps": steps, "bandit": None}, Options(Path("x")), provenance={})
    pairs = {(c["old"], c["new"]) for c in made["compared"]}
    assert {("before", "after round 1"), ("default arm", "bandit only"), ("text-only", "after round 1")} <= pairs
    assert made["seal"]["reliability_single"] == 0.32
    said = last_line(made, Path("out"))
    assert said["gain"]["after round 1"]["relative"] == pytest.approx(1.0)
    assert said["promoted"] == [1]
    assert said["reliability"] == [{"single": 0.4, "split_half": 0.5}]


def test_the_report_shows_ways_rounds_and_reliability(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A block of the ways, a section of the page; what a file lacks is told with its key."""
    answers = {w: _answers({"a": [0.1], "b": [0.3]}) for w in ("text-only", "before", "before: qa")}
    answers |= {w: _answers({"a": [0.3], "b": [0.2]}) for w in ("after round 1", "after: qa")}
    reliable = {"single": 0.4, "mean": 0.5, "split_half": 0.6, "noise": 0.1, "candidates": 8, "seeds": 2}
    steps = [
        {"round": 0, "promoted": False, "reasons": ["Too few."], "measures": {"kept": 4.0}},
        {"round": 1, "promoted": True, "sets": 9, "reward": -0.01, "baseline": 0.02, "reliability": reliable},
    ]
    made = figures({"answers": answers, "steps": steps, "bandit": None}, Options(Path("x")), provenance={"cpu": "<c>"})
    path = tmp_path / "policy-squad.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    page = tmp_path / "results.md"
    page.write_text("a\n<!-- bench:policy -->\n<!-- /bench:policy -->\nb\n", encoding="utf-8")
    assert report(["--results", str(tmp_path), "--tables", str(page)]) == 0
    assert json.loads(capsys.readouterr().out)["tables"] == ["policy"]
    (row,) = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| after round 1")]
    assert "| 2 | 2.0 | 0.250 [0.200–0.300] | 0.25 [0.20–0.30] |" in row
    assert "+0.050, +25 % on before [−0.100 to +0.200] |" in row
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    for said in ("Too few.", "−0.010", "SEAL (arXiv 2506.10943)", "+0.32", "&lt;c&gt;", "round 1"):
        assert said in html
    del made["rounds"][1]["reliability"]
    path.write_text(json.dumps(made), encoding="utf-8")
    assert report(["--results", str(tmp_path), "--tables", str(page)]) == 0
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "SEAL (arXiv 2506.10943)" not in html  # alone it would be held against nothing
    assert capsys.readouterr().out
    del made["ways"]["before"]["recall"]
    path.write_text(json.dumps(made), encoding="utf-8")
    assert report(["--results", str(tmp_path), "--tables", str(page)]) == 2
    assert "ways.before.recall is missing" in capsys.readouterr().err


def test_what_was_explored_is_read_back_from_the_journal() -> None:
    """A killed round selects from what it had explored, to the last bit."""
    example = PolicyExample("x", ("i", "j"), Genre.QA, "A statement.", "A", "What?", 0.25)
    explored = Exploration("e", ((example,), (example, example)), ((0.1, 0.2), (0.3, 0.4)), (0.0, 0.05), (0.0, 0.1))
    assert exploration_from_record(json.loads(json.dumps(asdict(explored)))) == explored


def test_the_genres_are_the_writers_own() -> None:
    """The command's --help names them without loading the writer."""
    assert GENRES == MODEL_GENRES


def test_a_journal_does_not_mind_more_rounds_or_other_ways() -> None:
    """What changes the figures does: then it is another run."""
    one, other = Options(Path("x"), rounds=1, ways=("before",)), Options(Path("y"), rounds=3)
    assert one.head == other.head
    assert Options(Path("x"), samples=2).head != one.head
    with pytest.raises(InputError, match="--arms is 1; expected 2"):
        Options(Path("x"), arms=1)
