"""`python -m benchmarks sleep`: a small memory through every way, resumable, and figures that follow from answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.sleeping.figures import of_size, table
from benchmarks.sleeping.tiers import MERGED, WAYS
from benchmarks.tasks.base import Question

QUICK = {
    "engine.dtype": "float32", "learning.epochs": 1, "learning.document_epochs": 1, "learning.document_readings": 1,
    "learning.min_steps": 1, "learning.rank": 4, "learning.notes_per_statement": 0, "learning.episode_max_tokens": 200,
    "answering.max_tokens": 4, "gate.quiz_answer_tokens": 4,
}  # fmt: skip


@pytest.fixture
def arguments(tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A diary of two small episodes with the tiny model, every quiz item counting and few anchors."""
    monkeypatch.setattr("seal_memory.quizzes.generator.MIN_GAIN", -100.0)
    monkeypatch.setattr("seal_memory.sleep.anchoring.FREE", 1)
    monkeypatch.setattr("seal_memory.sleep.anchoring.TOKENS", 4)
    given = ["sleep", "--sizes", "2", "--model", str(tiny_model_folder), "--facts-per-day", "3", "--max-tokens", "4"]
    given += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out.json"), "--core-epochs", "1"]
    for name, value in {**QUICK, "engine.cache_dir": str(tmp_path / "cache")}.items():
        given += ["--set", f"{name}={json.dumps(value)}"]
    return given


def test_every_way_is_measured_and_a_second_run_trains_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line of standard output is the result; the file holds figures and where they come from, no answers."""
    ways = [w for w in WAYS if w != "top-1-learned"]  # that one needs the wheel of an embedder
    arguments += ["--ways", *ways]
    assert main(arguments) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    size = found["sizes"]["2"]
    forced = [f"{way}-forced" for way in MERGED]
    assert set(last["accuracy"]["2"]) == set(size["ways"]) == {*ways, *forced}
    assert size["learned"]["shards"] == 2
    assert size["ways"]["top-1"]["bytes"] == size["learned"]["bytes"] > size["ways"]["core"]["bytes"] / 2
    assert size["ways"]["core-anchor"]["tokens"] > size["ways"]["core"]["tokens"]
    assert size["ways"]["merged-forced"]["bytes"] <= size["ways"]["merged"]["bytes"]
    assert found["provenance"]["model"]["fingerprint"]
    assert size["core_bwt"]["n"] == size["ways"]["core-half"]["accuracy"]["n"] < size["questions"]
    assert '"text"' not in json.dumps(found)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("everything was done")

    monkeypatch.setattr("benchmarks.sleeping.tiers.run", never)
    assert main(arguments) == 0
    again = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert again["sizes"] == found["sizes"]


def test_a_run_goes_on_with_other_ways_in_another_process(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shards come from the work folder then: nothing is in memory."""
    assert main([*arguments, "--ways", "untouched"]) == 0
    assert main([*arguments, "--ways", "untouched", "right-shard"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(last["accuracy"]["2"]) == {"untouched", "right-shard"}


def test_a_sampled_memory_trains_less_and_answers_its_questions_like_the_whole(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shards do not know of each other: those that no question reaches need not be there."""
    arguments = [a if a != "2" else "4" for a in arguments]
    arguments += ["--ways", "right-shard", "top-1", "--set", "answering.samples=1"]
    said: dict[str, dict[str, dict[str, str]]] = {}
    learned = {}
    for name, more in (("whole", []), ("sampled", ["--asked-episodes", "2"])):
        assert main([*arguments, *more, "--work", str(tmp_path / name)]) == 0
        journal = (tmp_path / name / "size-4-seed0.jsonl").read_text(encoding="utf-8")
        records = [json.loads(line) for line in journal.splitlines()]
        ways = [r for r in records if r["kind"] == "way"]
        said[name] = {r["way"]: {a["question"]: a["text"] for a in r["answers"]} for r in ways}
        found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["sizes"]["4"]
        learned[name] = found["learned"]["shards"], found["ways"]["top-1"]["bytes"]
    capsys.readouterr()
    for way, answers in said["sampled"].items():
        assert 0 < len(answers) < len(said["whole"][way])
        assert answers.items() <= said["whole"][way].items()
    assert learned["sampled"][0] == 2 < learned["whole"][0] == 4
    assert learned["sampled"][1] == learned["whole"][1], "bytes are those of all four"


def test_figures_follow_from_the_answers() -> None:
    """Accuracy by containment; the router's accuracy; no router, no figure."""
    questions = [Question("q0", "?", ("drawer 12",), ("c",)), Question("q1", "?", ("Oslo",), ("c",))]
    answers = [
        {"question": "q0", "text": "In drawer 12.", "first": True},
        {"question": "q1", "text": "Bergen", "first": False},
    ]
    way = {"kind": "way", "answers": answers, "answering_seconds": 4.0, "perplexity_increase": 0.1, "seconds": 9.0}
    bare = {**way, "way": "core", "bytes": 2, "answers": [{**a, "first": None} for a in answers]}
    records = [{"kind": "learn", "step": "learn", "shards": 2}, {**way, "way": "top-1", "bytes": 10}, bare]
    found = of_size(records, questions, seed=0)
    assert found["learned"] == {"shards": 2}
    top, core = found["ways"]["top-1"], found["ways"]["core"]
    assert (top["accuracy"]["mean"], top["router_first"]) == (0.5, 0.5)
    assert (top["seconds_per_question"], core["router_first"]) == (2.0, None)
    assert "| 8 | top-1 | 2 | 0.50 | 0.50 | +10.0% |" in table({"8": found})


def test_a_core_built_again_is_held_against_the_one_of_the_first_half() -> None:
    """On the first half's questions only: of two that it knew one is gone."""
    questions = [Question(f"q{n}", "?", (gold,), ("c",)) for n, gold in enumerate(("Oslo", "Bergen", "Narvik"))]
    said = {"core-half": ("Oslo.", "Bergen."), "core-anchor": ("Oslo.", "Oslo.", "Narvik.")}
    records: list[dict[str, Any]] = [{"kind": "learn", "step": "learn", "shards": 2}]
    for way, texts in said.items():
        answers = [{"question": f"q{n}", "text": t, "first": None} for n, t in enumerate(texts)]
        records.append({"kind": "way", "way": way, "answers": answers, "answering_seconds": 1.0, "bytes": 1,
                        "perplexity_increase": 0.0, "seconds": 1.0})  # fmt: skip
    assert of_size(records, questions, seed=0)["core_bwt"]["mean"] == -0.5


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--ways", "core-nothing"], "core-nothing"),
        (["--sizes", "1"], "less than 2"),
        (["--core-epochs", "0"], "core-epochs"),
        (["--task", "squad"], "--data"),
        (["--asked-episodes", "9", "--ways", "top-1"], "ask about 9 episodes"),
        (["--asked-episodes", "2", "--ways", "merged"], "needs every shard"),
    ],
)
def test_bad_options_are_refused(arguments: list[str], more: list[str], reason: str, capsys: Any) -> None:
    assert main([*arguments, *more]) == 2
    assert reason in capsys.readouterr().err
