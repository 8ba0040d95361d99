"""Experiments, end to end with a system made by hand: what is asked when, what a kill leaves, what the results say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchmarks.experiments.asking import Make, Options
from benchmarks.experiments.delete import delete
from benchmarks.experiments.sessions import facts, scale, sessions, sized, update
from benchmarks.experiments.single import single
from benchmarks.harness import results
from benchmarks.harness.journal import Journal
from benchmarks.systems.base import Cost, Reply, Unsupported
from benchmarks.tasks.base import Chunk, Question, Task, Unit
from seal_memory.errors import InputError

DAYS = 4


def _task() -> Task:
    """Four days, each with a fact of its own; on day 2 the fact of day 0 changes."""
    units = []
    for day in range(DAYS):
        chunk = Chunk(f"c{day}", f"The code of door {day} is K-{day}{day}.")
        question = Question(f"q{day}", f"Code of door {day}?", (f"K-{day}{day}",), (chunk.id,))
        chunks, questions = [chunk], [question]
        if day == 0:
            questions = [Question("q0", "Code of door 0?", ("K-00",), ("c0",), valid_until=2)]
        if day == 2:
            chunks.append(Chunk("c2b", "The code of door 0 is now K-99."))
            questions.append(
                Question("q0new", "Code of door 0 now?", ("K-99",), ("c2b",), kind="update", outdated=("K-00",))
            )
        if day == 3:
            questions.append(Question("q-none", "Colour of door 3?", (), (), kind="unanswerable"))
        units.append(Unit(f"day-{day}", tuple(chunks), tuple(questions)))
    return Task("doors", tuple(units), "0" * 64)


class Notebook:
    """Answers with the text of the evidence if it was seen and lies no more than `reach` steps back."""

    name = "notebook"
    ways: tuple[str, ...] = ("reads", "guesses")
    costly_ways: tuple[str, ...] = ("guesses",)
    log: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, folder: Path, *, reach: int = 99, can_forget: bool = True, die_at: int | None = None) -> None:
        self.folder, self.reach, self.can_forget, self.die_at = folder, reach, can_forget, die_at
        self.seen: dict[str, tuple[str, int]] = {}
        self.step = 0

    def learn(self, chunks: Sequence[Chunk], *, step: int) -> Cost:
        self.log.append(("learn", step))
        if step == self.die_at:
            raise KeyboardInterrupt
        self.resume(chunks, step=step)
        return Cost(2.0, 10)

    def resume(self, chunks: Sequence[Chunk], *, step: int) -> None:
        self.seen.update({c.id: (c.text, step) for c in chunks})
        self.step = step

    def answer(self, way: str, questions: Sequence[Question], *, max_tokens: int) -> list[Reply]:
        if way == "guesses":
            raise Unsupported("it never guesses")
        return [self._answer(q) for q in questions]

    def _answer(self, question: Question) -> Reply:
        known = [i for i in question.chunk_ids if i in self.seen and self.step - self.seen[i][1] <= self.reach]
        return Reply(" ".join(self.seen[i][0] for i in known), 5, 3, tuple(known))

    def forget(self, chunk_ids: Sequence[str]) -> None:
        if not self.can_forget:
            raise Unsupported("it cannot forget")
        for i in chunk_ids:
            del self.seen[i]

    def perplexity(self, way: str) -> float:
        return 10.0 + self.step

    def bytes_on_disk(self) -> int:
        return 100 * len(self.seen)

    def close(self) -> None:
        """Nothing to close."""


def _run(experiment: Any, make: Make, work: Path, options: Options) -> dict[str, Any]:
    """The experiment through its journal to the results."""
    head = {
        "system": "notebook",
        "seed": 0,
        "options": asdict(options),
        "settings": {"passages": 3},
        "provenance": {"started": "2026-01-01"},
    }
    journal = Journal(work / "notebook-seed0.jsonl", json.loads(json.dumps(head)))
    experiment(make, _task(), None, options, journal, work / "notebook", lambda done, total: None)
    run = results.read_run(work, experiment.__name__, _task(), options.per_session)
    return results.results(run, ["reads"])


PLAIN = Options(latency=0, per_session=1)


def test_single_learns_each_unit_in_a_memory_of_its_own(tmp_path: Path) -> None:
    """Every question is answered from its own unit, and the folders are cleared away."""
    found = _run(single, Notebook, tmp_path, PLAIN)
    row = found["ways"]["reads"]
    assert row["accuracy"]["mean"] == 1.0
    assert row["accuracy"]["n"] == DAYS + 1
    assert row["evidence_accuracy"] == 1.0
    assert row["training_seconds"] == 2.0 * DAYS
    assert row["by_kind"]["unanswerable"]["n"] == 1
    assert not list((tmp_path / "notebook").iterdir())


def test_sessions_give_the_retention_matrix_of_what_holds_to_the_end(tmp_path: Path) -> None:
    """A notebook that reaches one step back: R is 1 on and beside the diagonal; a fact that changes is not in it."""
    found = _run(sessions, lambda folder: Notebook(folder, reach=1), tmp_path, PLAIN)
    row = found["ways"]["reads"]
    assert row["retention"] == [[None], [None, 1.0], [None, 1.0, 1.0], [None, 0.0, 1.0, 1.0]]
    assert row["bwt"] == pytest.approx(-0.5)
    assert row["forgetting"] == pytest.approx(0.5)
    assert row["perplexity_by_session"] == [10, 11, 12, 13]


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Sessions that were finished are not learned again, and the figures are those of an unbroken run."""
    Notebook.log.clear()
    with pytest.raises(KeyboardInterrupt):
        _run(sessions, lambda folder: Notebook(folder, die_at=2), tmp_path / "killed", PLAIN)
    found = _run(sessions, Notebook, tmp_path / "killed", PLAIN)
    assert Notebook.log == [("learn", 0), ("learn", 1), ("learn", 2), ("learn", 2), ("learn", 3)]
    whole = _run(sessions, Notebook, tmp_path / "whole", PLAIN)
    for row in (*found["ways"].values(), *whole["ways"].values()):
        del row["peak_memory_bytes"]  # of this process
    assert found == whole


def test_update_asks_for_the_new_value_and_counts_the_old_one(tmp_path: Path) -> None:
    """Only what changed is asked; a reader of the newest text is right."""
    row = _run(update, Notebook, tmp_path, PLAIN)["ways"]["reads"]
    assert row["new_value"]["mean"] == 1.0
    assert row["new_value"]["n"] == 1
    assert row["old_value"]["mean"] == 0.0


def test_delete_compares_with_a_memory_that_never_saw_it(tmp_path: Path) -> None:
    """Forgotten facts are as unknown as unseen ones; the rest stays."""
    options = Options(latency=0, forget_every=2)
    row = _run(delete, Notebook, tmp_path, options)["ways"]["reads"]
    assert row["before"]["mean"] == 1.0
    assert row["after"]["mean"] == row["never_saw"]["mean"] == 0.0
    assert row["kept_before"]["mean"] == row["kept_after"]["mean"] == 1.0


def test_a_system_that_cannot_forget_says_so(tmp_path: Path) -> None:
    """Its row has no "after", and a note."""
    row = _run(delete, lambda folder: Notebook(folder, can_forget=False), tmp_path, PLAIN)["ways"]["reads"]
    assert row["after"] is None
    assert "cannot forget" in row["notes"]


def test_scale_asks_at_each_size(tmp_path: Path) -> None:
    """One point a size, with the cost of growing to it."""
    options = Options(latency=0, sizes=(2, 5, 1000))
    points = _run(scale, Notebook, tmp_path, options)["ways"]["reads"]["points"]
    assert [p["facts"] for p in points] == [2, 5]
    assert points[1]["training_seconds_per_fact"] == pytest.approx(2 / 3)
    assert points[1]["accuracy"]["mean"] == 1.0


def test_sizes_that_no_unit_reaches_are_left_out_or_refused() -> None:
    """At least one must be reached."""
    task = _task()
    assert facts(task.units) == 5
    assert [len(p) for p in sized(task.units, [1, 2, 99])] == [1, 1]
    with pytest.raises(InputError, match="5 facts"):
        sized(task.units, [99])


@pytest.mark.parametrize(
    "text", ["", "I don't know.", "I don’t know that.", "There is no information on it.", "Unknown"]
)
def test_saying_that_one_does_not_know_is_abstaining(text: str) -> None:
    """In several wordings."""
    assert results.abstains(text)


@pytest.mark.parametrize("text", ["Green.", "K-99", "The known world", "Nobody"])
def test_an_answer_is_no_abstaining(text: str) -> None:
    """Whatever it says."""
    assert not results.abstains(text)


def test_an_unanswerable_question_counts_apart(tmp_path: Path) -> None:
    """It is in no accuracy, only among the kinds."""
    found = _run(single, Notebook, tmp_path, PLAIN)
    assert found["questions"] == DAYS + 2
    assert found["ways"]["reads"]["accuracy"]["n"] == DAYS + 1
