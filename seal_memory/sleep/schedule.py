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
    last = max((int(job.payload.get("version", 0)) for job in jobs if job.state in ENDED), default=0)
    return published_since(ledger, last) >= settings.after


def published_since(ledger: Ledger, version: int) -> int:
    """Number of published shards that came after a version, less those that sleep made.

    Versions only grow; times would not, where the clock was set back.
    """
    current = ledger.current()
    shards = {s.adapter_id for s in current.manifest.shards} if current is not None else set()
    return len(
        shards
        & {
            d.adapter_id
            for d in ledger.decisions()
            if (d.snapshot_version or 0) > version and EPISODES not in d.measures
        }
    )
