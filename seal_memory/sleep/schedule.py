"""Schedule of sleep: whether enough was published since the last one.

Needs no model and no torch: the worker calls it between jobs. Not here: sleep itself (`sleeper`).
"""

from __future__ import annotations

from collections.abc import Iterable

from seal_memory.config import SleepSettings
from seal_memory.ledger import Ledger
from seal_memory.records import JobState, QueuedJob

ENDED = (JobState.DONE, JobState.DEAD)
EPISODES = "episodes"  # the measure of a merge: number of episodes in it


def merged_sizes(ledger: Ledger) -> dict[str, float]:
    """Number of episodes in each merged episode, by its id; a part of an episode counts as its share."""
    found = {d.episode_id: d.measures.get(EPISODES) for d in ledger.decisions()}
    return {episode: size for episode, size in found.items() if episode is not None and size is not None}


def sleep_due(ledger: Ledger, settings: SleepSettings, jobs: Iterable[QueuedJob]) -> bool:
    """Whether at least `sleep.after` published shards are newer than the last sleep; `jobs` are all sleep jobs.

    A given-up sleep counts: it is tried again when something is new.
    """
    current = ledger.current()
    if settings.mode == "off" or current is None or len(current.manifest.shards) < 2:
        return False
    last = max((job.changed for job in jobs if job.state in ENDED), default=float("-inf"))
    return published_since(ledger, last) >= settings.after


def published_since(ledger: Ledger, time: float) -> int:
    """Number of published shards made after `time` (Unix seconds)."""
    current = ledger.current()
    shards = current.manifest.shards if current is not None else ()
    return sum(record.created > time for record in ledger.adapters(ids=[s.adapter_id for s in shards]))
