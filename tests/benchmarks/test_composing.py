"""`python -m benchmarks compose`: requests repeat by seed, rules judge the form and the value, and a run resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.composing.checks import is_right, objects
from benchmarks.composing.command import main as compose
from benchmarks.composing.figures import figures
from benchmarks.composing.requests import KINDS, NEEDS_MEMORY, TOOL, Request, make
from benchmarks.composing.ways import WAYS
from seal_memory.errors import InputError
from seal_memory.language.metrics import contains
from tests.benchmarks.test_sleeping import QUICK

HOME = Request("r", "mail", "…", (("Korrfell", "the town of Korrfell"),), ("c",), "home")


def _of(kind: str) -> Request:
    return Request("r", kind, "…", HOME.values, HOME.chunk_ids, HOME.key)


def test_requests_repeat_and_never_hold_their_answer() -> None:
    """Every kind is there; each value stands in its evidence, and no other day changes it."""
    made = make(days=3, facts_per_day=4, per_kind=5, seed=3)
    assert made == make(days=3, facts_per_day=4, per_kind=5, seed=3)
    assert made != make(days=3, facts_per_day=4, per_kind=5, seed=4)
    assert {r.kind for r in made.requests} == set(KINDS)
    chunks = made.task.chunks
    for request in made.requests:
        assert "{" not in request.text.replace('{"', "")
        told = " ".join(chunks[c].text for c in request.chunk_ids)
        for forms in request.values:
            assert any(contains(told, form) for form in forms)
            assert not any(contains(request.text, form) for form in forms)
    pairs = [r for r in made.requests if r.kind == "two-facts"]
    assert all(len({c.partition("-m")[0] for c in r.chunk_ids}) == 2 for r in pairs)


@pytest.mark.parametrize(
    ("kind", "text", "right"),
    [
        ("mail", "Dear Greta, Anton lives in Korrfell. Best wishes!", True),
        ("mail", "Anton lives in Korrfell.", False),  # a recitation
        ("mail", "Dear Greta, Anton lives in Oslo. Best wishes!", False),
        ("json", 'Sure:\n```json\n{"subject": "Anton", "home": "Korrfell"}\n```', True),
        ("json", '{"home": "Korrfell"}', False),
        ("json", '{"subject": "Anton", "home": ["Korrfell"]}', False),
        ("json", "Korrfell", False),
        ("call", json.dumps({"tool": TOOL, "arguments": {"subject": "Anton", "value": "Korrfell"}}), True),
        ("call", json.dumps({"tool": "other", "arguments": {"subject": "Anton", "value": "Korrfell"}}), False),
        ("call", json.dumps({"tool": TOOL, "arguments": "Korrfell"}), False),
        ("two-facts", "In the town of Korrfell.", True),
        ("about", "I know nothing.", False),
    ],
)
def test_rules_judge_form_and_value(kind: str, text: str, right: bool) -> None:
    assert is_right(_of(kind), text) is right


def test_every_fact_is_needed_but_for_a_summary() -> None:
    two = (("Korrfell",), ("baker",))
    assert not is_right(Request("r", "two-facts", "…", two), "He is a baker.")
    assert is_right(Request("r", "two-facts", "…", two), "He is a baker in Korrfell.")
    assert is_right(Request("r", "about", "…", two), "He is a baker.")


def test_broken_json_beside_whole_json_is_passed_over() -> None:
    assert list(objects('{oops {"a": 1} [{"b": {"c": 2}}]')) == [{"a": 1}, {"b": {"c": 2}}]
    assert list(objects("{" * 50)) == []


def test_side_effects_are_counted_apart() -> None:
    """A changed answer where nothing is needed lowers no accuracy; tokens count what a way adds."""
    requests = [HOME, Request("n", "nothing", "What is 7 plus 5?")]

    def answers(mail: str, sum_: str, tokens: int) -> list[dict[str, Any]]:
        told = [("r", mail), ("n", sum_)]
        return [{"request": i, "text": t, "prompt_tokens": tokens, "spent": tokens, "notes": []} for i, t in told]

    good = "Dear Greta, he lives in Korrfell. Bye!"
    found = figures({"untouched": answers("Hm.", "12.", 10), "compose": answers(good, "13", 30)}, requests, seed=0)
    row = found["ways"]["compose"]
    assert (row["accuracy"]["mean"], row["changed_where_nothing_is_needed"]) == (1.0, 1.0)
    assert (row["prompt_tokens_added"], row["with_notes"]) == (20, 0.0)
    assert found["ways"]["untouched"]["changed_where_nothing_is_needed"] == 0.0


def test_a_run_is_resumed_and_tells_figures_only(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every way on a small memory; a second run answers nothing again; an unknown way is refused by name."""
    monkeypatch.setattr("seal_memory.quizzes.generator.MIN_GAIN", -100.0)
    given = ["compose", "--days", "2", "--facts-per-day", "3", "--per-kind", "1", "--max-tokens", "3"]
    given += ["--model", str(tiny_model_folder), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out.json")]
    for name, value in {**QUICK, "engine.cache_dir": str(tmp_path / "cache"), "answering.samples": 1}.items():
        given += ["--set", f"{name}={json.dumps(value)}"]
    assert main(given) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert set(found["ways"]) == set(last["accuracy"]) == set(WAYS)
    assert set(found["ways"]["compose"]["by_kind"]) == set(KINDS)
    assert found["ways"]["oracle"]["accuracy"]["n"] == len(NEEDS_MEMORY)
    assert found["ways"]["oracle"]["prompt_tokens_added"] > 0
    assert {c["new"] for c in found["compared"]} == {"compose"}
    assert '"text"' not in json.dumps(found)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("everything was done")

    monkeypatch.setattr("benchmarks.composing.ways.answer", never)
    assert main(given) == 0
    with pytest.raises(InputError, match=r"'magic'.*compose"):
        compose(["--ways", "magic"], lambda text: (text, None))
