"""Consolidation: candidates, the gate's verdicts and what stands in the ledger afterwards; repeatable by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seal_memory import Answer, SealMemory
from seal_memory.engines.base import Completion, Prompt
from seal_memory.errors import AdapterError, BusyError
from seal_memory.learning import grading
from seal_memory.records import Grade, Status

LIGHTHOUSE = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
REPORT = "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office."
Q_LIGHTHOUSE = ("Who is the builder of the lighthouse at Korrin Bay?", "Maud Ellery")
Q_REPORT = ("Where does Tomas Lindqvist keep his quarterly report?", "drawer 12")

Open = Callable[..., SealMemory]
Fake = Callable[[Prompt], str]


def _observe(memory: SealMemory, text: str, quiz: tuple[str, str], session: str) -> str:
    (seen,) = memory.observe(text, session=session)
    memory.add_quiz([quiz], interaction_ids=[seen.id])
    return seen.id


def _standings(memory: SealMemory) -> set[Status]:
    return {i.status for i in memory.ledger.interactions()}


def _say(memory: SealMemory, monkeypatch: pytest.MonkeyPatch, say: Fake) -> None:
    """Training stays real; what the engine generates is `say(prompt)`."""

    def complete(asked: Sequence[Prompt], **_: Any) -> list[Completion]:
        return [Completion(say(p), 1, 1, 1.0) for p in asked]

    monkeypatch.setattr(memory.engine, "complete", complete)


# -- refused ----------------------------------------------------------------------------------------


def test_a_refused_shard_changes_nothing_and_says_why(open_memory: Open) -> None:
    """No version, no adapter, a recorded decision; the text still answers by retrieval."""
    memory = open_memory(gate={"min_gain": 0.5})
    seen = _observe(memory, LIGHTHOUSE, Q_LIGHTHOUSE, "s")
    report = memory.consolidate()
    assert (report.version, report.published, report.refused, report.episodes) == (None, 0, 1, 1)
    (decision,) = report.decisions
    assert decision == memory.ledger.decisions()[0]
    assert not decision.accepted
    assert (decision.adapter_id, decision.snapshot_version) == (None, None)
    assert "+0.50 is needed" in decision.reasons[0]
    assert decision.measures["held_out_items"] == report.held_out_items == 1
    (interaction,) = memory.ledger.interactions()
    assert (interaction.status, interaction.reason) == (Status.REFUSED, decision.reasons[0])
    assert memory.history() == []
    assert memory.store.ids() == ()
    assert memory.ledger.adapters() == []
    for mode in ("retrieval", "hybrid"):
        answer = memory.ask(Q_LIGHTHOUSE[0], mode=mode)
        assert isinstance(answer, Answer)
        assert answer.sources == (seen,)
    assert memory.consolidate().episodes == 0  # and it is not tried again on its own


def test_without_a_held_out_question_nothing_is_published(open_memory: Open) -> None:
    """The tiny model's own quiz does not pass its gate, and nobody handed one in."""
    memory = open_memory()
    memory.observe("Pelle Grandin was seen.")
    report = memory.consolidate()
    assert report.published == 0
    assert _standings(memory) == {Status.REFUSED}


def test_one_bad_shard_does_not_hold_up_a_good_one(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is judged by its own held-out recall."""
    memory = open_memory(gate={"min_gain": 0.5})
    good = _observe(memory, LIGHTHOUSE, Q_LIGHTHOUSE, "one")
    bad = _observe(memory, REPORT, Q_REPORT, "two")
    _say(memory, monkeypatch, lambda p: "Maud Ellery" if p.adapter else "")
    report = memory.consolidate()
    assert (report.published, report.refused, report.version) == (1, 1, 1)
    assert {i.id: i.status for i in memory.ledger.interactions()} == {
        good: Status.LEARNED,
        bad: Status.REFUSED,
    }
    current = memory.ledger.current()
    assert current is not None
    assert [s.interaction_ids for s in current.manifest.shards] == [(good,)]
    assert (report.recall_before, report.recall_after) == (0.0, 0.5)


def test_what_states_nothing_is_skipped(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """An episode without a statement is no shard."""
    memory = open_memory()
    monkeypatch.setattr("seal_memory.learning.candidates.statements_of", lambda episode: [])
    memory.observe(LIGHTHOUSE)
    assert memory.consolidate().episodes == 0
    assert _standings(memory) == {Status.SKIPPED}


def test_a_shard_that_steals_the_routes_of_the_old_is_refused(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit asks the old questions through the new router and finds recall lost."""
    memory = open_memory(gate={"max_old_loss": 0.0})
    _say(memory, monkeypatch, lambda p: "Maud Ellery" if p.adapter else "")  # so it is graded as it will be asked
    old = _observe(memory, LIGHTHOUSE, ("Which engineer planned the Korrin lighthouse?", "Maud Ellery"), "one")
    assert memory.consolidate().version == 1
    current = memory.ledger.current()
    assert current is not None
    (shard,) = current.manifest.adapter_ids
    _say(memory, monkeypatch, lambda p: "Maud Ellery" if p.adapter == shard else "")
    thief = "The engineer planned nothing in Korrin: which Korrin lighthouse an engineer planned, nobody knows."
    new = _observe(memory, thief, ("Who knows which lighthouse was planned?", "nobody"), "two")
    before = memory.ask("Which engineer planned the Korrin lighthouse?", mode="weights")
    report = memory.consolidate()
    assert (report.published, report.refused, report.version) == (0, 1, None)
    (decision,) = report.decisions
    assert "Recall of the old, asked again, fell from 1.00 to 0.00" in decision.reasons[0]
    assert decision.measures["audited_items"] == 1
    assert {i.id: i.status for i in memory.ledger.interactions()} == {
        old: Status.LEARNED,
        new: Status.REFUSED,
    }
    assert memory.ledger.interactions(ids=[new])[0].reason == decision.reasons[0]
    assert memory.store.ids() == (shard,)
    assert memory.ask("Which engineer planned the Korrin lighthouse?", mode="weights") == before


def test_a_shard_that_steals_does_not_hold_up_the_others(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards of one wave, judged together and refused, are judged one by one; the innocent one is published."""
    memory = open_memory(gate={"max_old_loss": 0.0})
    _say(memory, monkeypatch, lambda p: "Maud Ellery" if p.adapter else "")
    _observe(memory, LIGHTHOUSE, ("Which engineer planned the Korrin lighthouse?", "Maud Ellery"), "one")
    assert memory.consolidate().version == 1
    current = memory.ledger.current()
    assert current is not None
    (shard,) = current.manifest.adapter_ids
    _say(memory, monkeypatch, lambda p: "Maud Ellery" if p.adapter == shard else "")
    thief = "The engineer planned nothing in Korrin: which Korrin lighthouse an engineer planned, nobody knows."
    bad = _observe(memory, thief, ("Who knows which lighthouse was planned?", "nobody"), "two")
    good = _observe(memory, "Tomas Lindqvist sells herring in Oslo.", ("Who sells herring?", "Tomas"), "three")
    report = memory.consolidate()
    assert (report.episodes, report.published, report.refused, report.version) == (2, 1, 1, 2)
    statuses = {i.id: i.status for i in memory.ledger.interactions(ids=[bad, good])}
    assert statuses == {bad: Status.REFUSED, good: Status.LEARNED}
    after = memory.ledger.current()
    assert after is not None
    assert set(memory.store.ids()) == set(after.manifest.adapter_ids) == {shard, report.decisions[-1].adapter_id}


# -- published --------------------------------------------------------------------------------------


def test_everything_behind_a_shard_is_in_the_ledger(open_memory: Open) -> None:
    """Self-edit with its items and plan, quiz, adapter, decision, and grades of base and shard."""
    memory = open_memory()
    seen = _observe(memory, LIGHTHOUSE, Q_LIGHTHOUSE, "s")
    report = memory.consolidate()
    (adapter,) = memory.ledger.adapters()
    (edit,) = memory.ledger.self_edits()
    (decision,) = memory.ledger.decisions()
    assert adapter.interaction_ids == edit.interaction_ids == (seen,)
    assert (adapter.self_edit_id, adapter.episode_id) == (edit.id, edit.episode_id)
    assert (adapter.seed, adapter.base_fingerprint) == (edit.seed, memory.engine.fingerprint)
    assert adapter.config["rank"] == edit.hyperparameters.rank == 4
    assert memory.store.verify(adapter.id, adapter.sha256)
    assert (decision.adapter_id, decision.snapshot_version, decision.accepted) == (adapter.id, 1, True)
    (item,) = memory.ledger.quiz_items(held_out=True)
    grades = memory.ledger.grades(quiz_item_ids=[item.id])
    assert [(g.adapter_id, g.snapshot_version) for g in grades] == [(None, None), (adapter.id, 1)]
    assert {y.genre for y in report.yields} >= {i.genre for i in edit.items}
    assert all(0 <= y.kept <= y.made for y in report.yields)
    assert all(Q_LIGHTHOUSE[0] != i.prompt for i in edit.items)


def test_many_episodes_are_published_in_waves(open_memory: Open) -> None:
    """As many at once as fit into a stack; each wave is its own version, with all earlier shards."""
    memory = open_memory(learning={"stack_size": 2})
    for n, place in enumerate(["Oslo", "Bergen", "Lima"]):
        _observe(memory, f"Crate {n} was shipped to {place}.", (f"Where was crate {n} shipped?", place), str(n))
    report = memory.consolidate()
    assert (report.version, report.episodes, report.published) == (2, 3, 3)
    assert [len(s.manifest.shards) for s in memory.history()] == [3, 2]


def test_repeating_a_run_gives_the_same_adapters(open_memory: Open, tmp_path: Path) -> None:
    """Ids are made of bytes: the same text, settings and seed, in another folder; another seed, another id."""

    def run(name: str, **changes: Any) -> tuple[str, ...]:
        memory = open_memory(tmp_path / name, learning={"notes_per_statement": 1}, **changes)
        _observe(memory, LIGHTHOUSE, Q_LIGHTHOUSE, "one")
        _observe(memory, REPORT, Q_REPORT, "two")
        memory.consolidate()
        current = memory.ledger.current()
        assert current is not None
        return current.manifest.adapter_ids

    first = run("first")
    assert len(first) == 2
    assert run("again") == first
    assert not set(run("other", seed=1)) & set(first)


def test_progress_counts_up_to_the_end(
    open_memory: Open, tiny_model_folder: Path, tmp_path: Path, easy_settings: Callable[..., Any]
) -> None:
    """Each phase is named and ends complete."""
    ticks: list[tuple[str, int, int]] = []
    with SealMemory.open(
        tmp_path / "m",
        model=str(tiny_model_folder),
        settings=easy_settings(),
        progress=lambda phase, done, total: ticks.append((phase, done, total)),
    ) as memory:
        _observe(memory, LIGHTHOUSE, Q_LIGHTHOUSE, "s")
        memory.consolidate()
    assert {"quiz", "self-edits", "train"} <= {phase for phase, _, _ in ticks}
    for phase in {phase for phase, _, _ in ticks}:
        done = [(d, t) for p, d, t in ticks if p == phase]
        assert done[-1][0] == done[-1][1]
        assert done == sorted(done)


def test_a_failed_run_can_be_run_again(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is over and names the error's kind; what was held out stays held out."""
    memory = open_memory()
    _observe(memory, LIGHTHOUSE, Q_LIGHTHOUSE, "s")

    def full(*_: Any, **__: Any) -> None:
        raise AdapterError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(memory.store, "write", full)
        with pytest.raises(AdapterError, match="disk full"):
            memory.consolidate()
    assert memory.ledger.jobs(1)[0].state == "failed"
    assert _standings(memory) == {Status.PENDING}
    before = memory.ledger.quiz_items()
    assert memory.consolidate().published == 1
    assert [i for i in memory.ledger.quiz_items() if i in before] == before


def test_a_taken_over_lease_publishes_nothing(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lost the lease while training finds out before the commit."""
    memory = open_memory()
    _observe(memory, LIGHTHOUSE, Q_LIGHTHOUSE, "s")
    store = memory.store.write

    def meanwhile(*args: Any, **options: Any) -> Any:
        (job,) = [j for j in memory.ledger.jobs() if j.state == "running"]
        memory.ledger.finish_job(job.id, "lease expired")
        return store(*args, **options)

    monkeypatch.setattr(memory.store, "write", meanwhile)
    with pytest.raises(BusyError, match="no longer holds its lease"):
        memory.consolidate()
    assert memory.history() == []
    assert _standings(memory) == {Status.PENDING}


# -- the core ---------------------------------------------------------------------------------------


def test_a_core_is_built_from_everything_and_gated(open_memory: Open) -> None:
    """Beside the shards, on top of their version; a refused one changes nothing."""
    memory = open_memory()
    ids = {
        _observe(memory, LIGHTHOUSE, Q_LIGHTHOUSE, "one"),
        _observe(memory, REPORT, Q_REPORT, "two"),
    }
    report = memory.consolidate(core=True)
    assert report.version == 2
    current = memory.ledger.current()
    assert current is not None
    assert (len(current.manifest.shards), current.parent, current.note) == (2, 1, "core")
    (record,) = memory.ledger.adapters(ids=[str(current.manifest.core)])
    assert set(record.interaction_ids) == ids
    assert report.decisions[-1].adapter_id == current.manifest.core
    assert report.decisions[-1].measures["held_out_items"] == 2

    strict = open_memory(gate={"min_gain": 1.0})
    report = strict.consolidate(core=True)
    assert not report.decisions[-1].accepted
    assert report.version is None
    assert strict.ledger.current() == current
    assert set(_standings(strict)) == {Status.LEARNED}


def test_a_core_that_knows_less_does_not_replace_the_published_one(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Being no worse than the base is not enough where a better core answers."""
    memory = open_memory(gate={"max_old_loss": 0.0})
    _observe(memory, LIGHTHOUSE, Q_LIGHTHOUSE, "one")
    first = memory.consolidate(core=True).decisions[-1]
    assert first.accepted
    real = grading.grade

    def forgetful(pairs: Any, *args: Any, **more: Any) -> list[Grade]:
        """Whatever is not published yet answers nothing."""
        published = {a.id for a in memory.ledger.adapters()}
        return [replace(g, correct=g.adapter_id in published) for g in real(pairs, *args, **more)]

    monkeypatch.setattr(grading, "grade", forgetful)
    again = memory.consolidate(core=True).decisions[-1]
    assert not again.accepted
    assert "fell from 1.00 to 0.00" in again.reasons[-1]
    current = memory.ledger.current()
    assert current is not None
    assert current.manifest.core == first.adapter_id


def test_a_core_over_nothing_is_nothing(open_memory: Open) -> None:
    """No shards, no core, no error."""
    report = open_memory().consolidate(core=True)
    assert (report.version, report.decisions) == (None, ())


def test_a_new_shard_keeps_the_core(open_memory: Open) -> None:
    """Until it is rebuilt, it goes on answering for what it holds."""
    memory = open_memory()
    _observe(memory, LIGHTHOUSE, Q_LIGHTHOUSE, "one")
    _observe(memory, "The invoice for the sails goes to Petra Vandermolen.", ("Who gets the invoice?", "Petra"), "2")
    memory.consolidate(core=True)
    core = memory.history()[0].manifest.core
    assert core is not None
    _observe(memory, REPORT, Q_REPORT, "three")
    memory.consolidate()
    assert memory.history()[0].manifest.core == core
