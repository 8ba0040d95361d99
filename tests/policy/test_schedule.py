"""When a round of refining is due: what counts as an episode, and what as new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from seal_memory.config import PolicySettings
from seal_memory.policy.schedule import next_round, published_episodes
from seal_memory.records import Decision, JobState, Manifest, QueuedJob, ShardEntry, Snapshot
from seal_memory.sleep.schedule import EPISODES

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

    def publish(self, count: int, *, time: float, first: int = 0) -> None:
        """Episodes e<first>..., each a shard of its own."""
        for n in range(first, first + count):
            self.shards = [*self.shards, ShardEntry(f"a-{n}", f"e{n}", (f"i{n}",))]
            self.made.append(Decision(f"d{n}", f"a-{n}", f"e{n}", True, (), {}, 1, time))


def _round(number: int, *, created: float, episodes: int) -> QueuedJob:
    payload = {"round": number, "episodes": episodes}
    return QueuedJob(
        f"j{number}", "refine", JobState.DONE, payload, 0, 1, 2, 1, created, created, created + 5, None, None, None
    )


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
    ledger.publish(30, time=10.0)
    assert _next(ledger, []) == 1
    seen = [_round(1, created=20.0, episodes=30)]
    assert _next(ledger, seen) is None
    ledger.shards = ledger.shards[:10]  # twenty are forgotten
    assert _next(ledger, seen) is None
    ledger.publish(7, time=30.0, first=30)
    assert _next(ledger, seen) is None
    ledger.publish(1, time=31.0, first=37)
    assert _next(ledger, seen) == 2


@pytest.mark.parametrize("measures", [{EPISODES: 4.0}, {}])
def test_what_is_put_together_or_trained_again_is_not_new(measures: dict[str, float]) -> None:
    """A merge, or a weak shard that was rebuilt."""
    ledger = FakeLedger()
    ledger.publish(10, time=10.0)
    for n in range(10):
        episode = f"m{n}" if measures else f"e{n}"
        ledger.made.append(Decision(f"again{n}", f"b-{n}", episode, True, (), measures, 2, 30.0))
    assert _next(ledger, [_round(1, created=20.0, episodes=10)]) is None
