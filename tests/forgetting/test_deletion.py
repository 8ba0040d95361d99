"""A forget waits for no trainer, leaves a running one's files alone, and says what it asks the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from seal_memory.config import AnsweringSettings, Settings
from seal_memory.engines.base import Completion, Prompt, Score
from seal_memory.errors import AdapterError, ModelUnavailableError
from seal_memory.forgetting.deletion import Deletion, ForgetReport
from seal_memory.learning.workbench import Workbench
from seal_memory.ledger import Ledger
from seal_memory.ledger.encoding import sortable_id
from seal_memory.ledger.leases import LEASE_SECONDS
from seal_memory.lora.store import AdapterStore
from seal_memory.records import (
    AdapterKind,
    AdapterRecord,
    Manifest,
    NewInteraction,
    QuizItem,
    ShardEntry,
    Status,
)
from seal_memory.routing.builtin import router_maker

SHARD, UNCOMMITTED = "a-" + "a" * 24, "a-" + "b" * 24


class World:
    """A memory that has learned one text, a clock, and a trainer that takes the lease when told to."""

    def __init__(self, folder: Path) -> None:
        self.now = 1.0
        self.ledger = Ledger.open(folder, clock=lambda: self.now)
        self.store = AdapterStore(folder / "adapters")
        (seen,) = self.ledger.observe([NewInteraction("The mill burned.")])
        self.id = seen.id
        self.ledger.add_adapter(
            AdapterRecord(SHARD, AdapterKind.SHARD, "e", (self.id,), None, "base", {}, 0, "d", "s", 1, 1.0)
        )
        shard = ShardEntry(SHARD, "e", (self.id,))
        self.ledger.add_snapshot(Manifest((shard,)), parent=None, base_fingerprint="base")
        self.ledger.set_status([self.id], Status.LEARNED)
        self.ledger.add_quiz_items([QuizItem("q", (self.id,), "What burned?", "the mill", True)])
        for name in (SHARD, UNCOMMITTED):
            self.store.folder(name).mkdir(parents=True)

    def train(self) -> None:
        self.ledger.start_job("consolidate", {}, owner="another", lease_seconds=LEASE_SECONDS)

    def forget(
        self, *, engine: Callable[[], object], drop: Callable[[str], None] = lambda adapter: None
    ) -> ForgetReport:
        bench = Workbench(
            self.ledger,
            engine,  # type: ignore[arg-type]
            self.store,
            Settings(),
            routers=router_maker(AnsweringSettings()),
            base_model="tiny",
            clock=lambda: self.now,
            make_id=sortable_id,
        )
        deletion = Deletion(bench, drop=drop)
        return deletion.with_recall(deletion.forget([self.id]))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.ledger.close()


def no_model() -> object:
    raise ModelUnavailableError("there is none")


@pytest.mark.parametrize("when", ["before", "while the model loads", "when the engine is told"])
def test_a_forget_waits_for_no_trainer(world: World, when: str) -> None:
    """And the trainer's files, which no row names yet, stay."""

    def slow() -> object:
        if when == "while the model loads":
            world.train()
        raise ModelUnavailableError("there is none, after a long time")

    if when == "before":
        world.train()
    told = world.train if when == "when the engine is told" else lambda: None
    report = world.forget(engine=slow, drop=lambda adapter: told())
    assert report.adapters == (SHARD,)
    assert report.wiped
    assert world.ledger.interactions() == []
    assert world.store.ids() == (UNCOMMITTED,)
    assert [job.state for job in world.ledger.jobs()] == ["running"]


def test_without_a_trainer_a_killed_ones_files_are_swept(world: World) -> None:
    """And the recalls are None where the model cannot be had."""
    report = world.forget(engine=no_model)
    assert report.recall_before is None
    assert world.store.ids() == ()


def test_the_report_says_that_a_reader_keeps_the_deleted_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are overwritten later, and the ledger says when."""
    monkeypatch.setattr("seal_memory.ledger.purge.RETRY_SECONDS", 0.0)
    world.ledger._scope.connection.rows("PRAGMA busy_timeout=20")
    with Ledger.open(world.ledger.path) as other:
        with other._scope.connection.reading():
            other.counts()
            assert not world.forget(engine=no_model).wiped
            assert not world.ledger.wiped
        assert world.ledger.retry_wipe()
    assert world.ledger.wiped


def test_an_engine_that_cannot_be_had_is_not_told(world: World) -> None:
    """Its server may be gone for good; the deletion is not undone by that."""

    def drop(adapter: str) -> None:
        raise ModelUnavailableError("no such server")

    world.forget(engine=no_model, drop=drop)
    assert world.ledger.interactions() == []


class Knows:
    """An engine that answers with any adapter; `watch` is told when it is asked."""

    def __init__(self, watch: Callable[[], None]) -> None:
        self.watch = watch

    def complete(self, prompts: Sequence[Prompt], **_: object) -> list[Completion]:
        self.watch()
        return [Completion("the mill" if p.adapter else "no idea", 1, 1, 1.0) for p in prompts]

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        return [Score(-1.0, 0.0, 1) for _ in requests]


def test_what_is_left_of_it_is_asked_when_it_is_gone(world: World) -> None:
    """Grading takes long, and the deletion is done by then."""
    held: list[int] = []
    engine = Knows(lambda: held.append(len(world.ledger.interactions())))
    report = world.forget(engine=lambda: engine)
    assert held == [1, 0]  # without an adapter it is asked once
    assert (report.recall_before, report.recall_after, report.recall_base) == (1.0, 0.0, 0.0)


def test_a_file_that_cannot_be_deleted_keeps_no_engine_from_letting_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the caller is told; the text is gone."""

    def refused(adapter_id: str) -> bool:
        raise AdapterError(f"The adapter {adapter_id} cannot be removed from here: Read-only file system.")

    dropped: list[str] = []
    monkeypatch.setattr(world.store, "remove", refused)
    with pytest.raises(AdapterError, match=r"cannot be removed.*The text is forgotten"):
        world.forget(engine=no_model, drop=dropped.append)
    assert dropped == [SHARD]
    assert world.ledger.interactions() == []


def test_a_report_says_what_is_left() -> None:
    done = ForgetReport(1, 0, 0, (), (), None, (), None, None, None)
    assert done.left == ""
    left = replace(done, wiped=False, still_served=("a-1",)).left
    assert "not overwritten" in left
    assert "a-1 until it is restarted" in left
