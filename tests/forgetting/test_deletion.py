"""A forget and the lease it holds: lost before, nothing goes; lost after, it stands. And what it asks the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from seal_memory.config import AnsweringSettings, Settings
from seal_memory.engines.base import Completion, Prompt, Score
from seal_memory.errors import BusyError, ModelUnavailableError
from seal_memory.forgetting.deletion import Deletion, ForgetReport
from seal_memory.forgetting.edits import forget_interactions
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
    """A memory that has learned one text, a clock, and a trainer that takes the lease over when told to."""

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

    def take_over(self) -> None:
        """The forgetting process was away for longer than its lease."""
        self.now += 2 * LEASE_SECONDS
        self.ledger.start_job("consolidate", {}, owner="another", lease_seconds=LEASE_SECONDS)

    def forget(
        self, *, engine: Callable[[], object], drop: Callable[[str], None] = lambda adapter: None
    ) -> ForgetReport:
        def deletion(heartbeat: Callable[[], None]) -> Deletion:
            bench = Workbench(
                self.ledger,
                engine,  # type: ignore[arg-type]
                self.store,
                Settings(),
                routers=router_maker(AnsweringSettings()),
                base_model="tiny",
                clock=lambda: self.now,
                make_id=sortable_id,
                heartbeat=heartbeat,
            )
            return Deletion(bench, drop=drop)

        return forget_interactions(self.ledger, [self.id], check_snapshot=lambda: None, deletion=deletion)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.ledger.close()


def no_model() -> object:
    raise ModelUnavailableError("there is none")


def test_who_lost_the_lease_while_the_model_loaded_deletes_nothing(world: World) -> None:
    """The other trainer builds on what is there."""

    def slow() -> object:
        world.take_over()
        raise ModelUnavailableError("there is none, after a long time")

    with pytest.raises(BusyError):
        world.forget(engine=slow)
    assert [i.id for i in world.ledger.interactions()] == [world.id]
    assert world.store.ids() == (SHARD, UNCOMMITTED)
    assert world.ledger.current() is not None


def test_a_forget_that_lost_the_lease_afterwards_stands(world: World) -> None:
    """It is reported, and the other trainer's files, which no row names yet, stay."""
    report = world.forget(engine=no_model, drop=lambda adapter: world.take_over())
    assert report.adapters == (SHARD,)
    assert world.ledger.interactions() == []
    assert world.store.ids() == (UNCOMMITTED,)


def test_with_the_lease_a_killed_trainers_files_are_swept(world: World) -> None:
    """And the recalls are None where the model cannot be had."""
    report = world.forget(engine=no_model)
    assert report.recall_before is None
    assert world.store.ids() == ()
    assert world.ledger.jobs()[0].state == "done"


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


def test_what_is_left_of_it_is_asked_without_the_lease(world: World) -> None:
    """Grading takes long, and the deletion is done by then."""
    states: list[str] = []
    engine = Knows(lambda: states.append(world.ledger.jobs()[0].state))
    report = world.forget(engine=lambda: engine)
    assert states == ["running", "done"]  # without an adapter it is asked once
    assert (report.recall_before, report.recall_after, report.recall_base) == (1.0, 0.0, 0.0)
