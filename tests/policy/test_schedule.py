"""When a round of refining is due: what counts as an episode, and what as new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from seal_memory.config import PolicySettings, SleepSettings
from seal_memory.policy.schedule import next_round, published_episodes
from seal_memory.records import Decision, JobState, Manifest, QueuedJob, ShardEntry, Snapshot
from seal_memory.sleep.schedule import EPISODES, sleep_due

SETTINGS = PolicySettings(refine="both", refine_after=8)


@dataclass
class FakeLedger:
    """A published manifest and the gate's decisions; nothing else is asked."""

    shards: Sequence[ShardEntry] = ()
    made: list[Decision] = field(default_factory=list)

    @property
    def policy(self) -> Any:
        return self

    def versions(self) -> list[Any]:
        return []

    def current(self) -> Snapshot:
        return Snapshot(1, None, Manifest(tuple(self.shards)), 0.0, "base")

    def decisions(self) -> list[Decision]:
        return self.made[::-1]  # the newest first

    def publish(self, count: int, *, version: int, first: int = 0) -> None:
        """Episodes e<first>..., each a shard of its own; the later, the earlier by the clock, which is set back."""
        for n in range(first, first + count):
            self.shards = [*self.shards, ShardEntry(f"a-{n}", f"e{n}", (f"i{n}",))]
            self.made.append(Decision(f"d{n}", f"a-{n}", f"e{n}", True, (), {}, version, 1e6 - version))


def _round(number: int, *, version: int, episodes: int, kind: str = "refine") -> QueuedJob:
    payload = {"round": number, "episodes": episodes, "version": version}
    return QueuedJob(f"j{number}", kind, JobState.DONE, payload, 0, 1, 2, 1, 2e6, 2e6, 2e6, None, None, None)


def _next(ledger: FakeLedger, jobs: Sequence[QueuedJob]) -> int | None:
    found: Any = ledger
    return next_round(found, SETTINGS, jobs)


def test_a_part_that_moved_to_another_shard_counts_once() -> None:
    """The shard that it was taken from counts with the rest only."""
    parts = Decision("d", "a-s", "e-s", True, (), {EPISODES: 1.0}, 1, 0.0)  # half of either
    shards = [
        ShardEntry("a-1", "e1", ("i1", "i2")),
        ShardEntry("a-2", "e2", ("i3", "i4")),
        ShardEntry("a-3", "e3", ("i5",)),
        ShardEntry("a-s", "e-s", ("i2", "i3")),
    ]
    ledger: Any = FakeLedger(shards, [parts])
    assert published_episodes(ledger) == 3
    ledger.shards = ()
    assert published_episodes(ledger) == 0


def test_after_a_large_forget_what_is_new_counts() -> None:
    """And not only what is more than there ever was."""
    ledger = FakeLedger()
    ledger.publish(30, version=1)
    assert _next(ledger, []) == 1
    seen = [_round(1, version=1, episodes=30)]
    assert _next(ledger, seen) is None
    ledger.shards = ledger.shards[:10]  # twenty are forgotten
    assert _next(ledger, seen) is None
    ledger.publish(7, version=2, first=30)
    assert _next(ledger, seen) is None
    ledger.publish(1, version=3, first=37)
    assert _next(ledger, seen) == 2


def test_shards_that_came_after_a_sleep_are_new_but_not_those_that_it_made() -> None:
    """Whatever the clock says."""
    ledger: Any = FakeLedger()
    ledger.publish(3, version=1)
    settings = SleepSettings(mode="merge", after=3)
    assert sleep_due(ledger, settings, [])
    slept = [_round(1, version=1, episodes=3, kind="sleep")]
    ledger.shards = [*ledger.shards, ShardEntry("a-m", "m", ("i0", "i1"))]
    ledger.made.append(Decision("m", "a-m", "m", True, (), {EPISODES: 2.0}, 2, 1e6))
    ledger.publish(2, version=3, first=3)
    assert not sleep_due(ledger, settings, slept)
    ledger.publish(1, version=4, first=5)
    assert sleep_due(ledger, settings, slept)


@pytest.mark.parametrize("measures", [{EPISODES: 4.0}, {}])
def test_what_is_put_together_or_trained_again_is_not_new(measures: dict[str, float]) -> None:
    """A merge, or a weak shard that was rebuilt."""
    ledger = FakeLedger()
    ledger.publish(10, version=1)
    for n in range(10):
        episode = f"m{n}" if measures else f"e{n}"
        ledger.made.append(Decision(f"again{n}", f"b-{n}", episode, True, (), measures, 2, 30.0))
    assert _next(ledger, [_round(1, version=1, episodes=10)]) is None
