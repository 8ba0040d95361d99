"""When the background trainer sleeps: whether enough was published since the last time.

Needs no model and no torch: the worker asks it between jobs. Not here: sleep itself (`sleeping`).
"""

from __future__ import annotations

from collections.abc import Iterable

from seal_memory.config import SleepSettings
from seal_memory.ledger import Ledger
from seal_memory.records import JobState, QueuedJob

ENDED = (JobState.DONE, JobState.DEAD)
EPISODES = "episodes"  # the measure of a merge that says how many went into it


def merged_sizes(ledger: Ledger) -> dict[str, float]:
    """How many episodes earlier merges put into one, by the merged one's id; of a part of an episode its share."""
    found = {d.episode_id: d.measures.get(EPISODES) for d in ledger.decisions()}
    return {episode: size for episode, size in found.items() if episode is not None and size is not None}


def sleep_due(ledger: Ledger, settings: SleepSettings, jobs: Iterable[QueuedJob]) -> bool:
    """Whether `after` published shards are newer than the last sleep that ended; `jobs` are all sleep jobs.

    One that was given up counts: it is tried again when there is something new.
    """
    current = ledger.current()
    if settings.mode == "off" or current is None or len(current.manifest.shards) < 2:
        return False
    last = max((job.changed for job in jobs if job.state in ENDED), default=float("-inf"))
    return published_since(ledger, last) >= settings.after


def published_since(ledger: Ledger, time: float) -> int:
    """How many of the published shards are newer than that, in seconds since the epoch."""
    current = ledger.current()
    shards = current.manifest.shards if current is not None else ()
    return sum(record.created > time for record in ledger.adapters(ids=[s.adapter_id for s in shards]))
