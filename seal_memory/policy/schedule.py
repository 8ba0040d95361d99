"""When the edit policy is refined: which round comes next, and whether there is enough new to learn from.

Needs no model and no torch: the worker asks it between jobs. Not here: the round itself (`refining`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from seal_memory.config import PolicySettings
from seal_memory.learning.episodes import CORE_EPISODE
from seal_memory.ledger import Ledger
from seal_memory.records import QueuedJob, ShardEntry
from seal_memory.sleep.schedule import EPISODES, merged_sizes

LEAST_EPISODES = 8  # published ones; fewer cannot both teach a writer and judge it
LEAST_JUDGES = 4  # an interval over fewer pairs says nothing
JUDGES = 3  # every so-manieth episode judges, for good: it is never trained on


def is_judge(episode_id: str) -> bool:
    """Whether an episode judges new writers; follows from its id alone, so that it never changes sides."""
    return hashlib.sha256(episode_id.encode()).digest()[0] % JUDGES == 0


def training_shards(ledger: Ledger) -> list[ShardEntry]:
    """Published shards with what a round may learn from, less what judges."""
    return _side(ledger, judging=False)


def judging_shards(ledger: Ledger) -> list[ShardEntry]:
    """Published shards with what judges new writers, and nothing else."""
    return _side(ledger, judging=True)


def _side(ledger: Ledger, *, judging: bool) -> list[ShardEntry]:
    """Every text is on the side of the episode that it was first learned in, wherever sleep has put it since.

    A text that several shards hold counts with the last, which is asked about it.
    """
    current = ledger.current()
    shards = current.manifest.shards if current is not None else ()
    last = current.manifest.holders if current is not None else {}
    first: dict[str, str] = {}
    for record in sorted(ledger.adapters(interaction_ids=last), key=lambda r: (r.created, r.id)):
        if record.episode_id is not None and record.episode_id != CORE_EPISODE:
            for i in record.interaction_ids:
                first.setdefault(i, record.episode_id)
    found = []
    for shard in shards:
        own = [i for i in shard.interaction_ids if last[i] is shard]
        own = [i for i in own if is_judge(first.get(i, shard.episode_id)) is judging]
        if own:
            found.append(replace(shard, interaction_ids=tuple(own)))
    return found


def published_episodes(ledger: Ledger) -> int:
    """Episodes behind the published shards; a merge of several counts as what went into it.

    Of a shard that others took texts from only the share counts that it is still asked about.
    """
    current = ledger.current()
    if current is None:
        return 0
    sizes, last = merged_sizes(ledger), current.manifest.holders
    whole = 0.0
    for shard in current.manifest.shards:
        own = sum(last[i] is shard for i in shard.interaction_ids)
        whole += sizes.get(shard.episode_id, 1.0) * own / max(1, len(shard.interaction_ids))
    return round(whole)


def next_round(ledger: Ledger, settings: PolicySettings, jobs: Iterable[QueuedJob]) -> int | None:
    """The number of the round that is due now; None where refining is off or too little is new.

    `jobs` are all refine jobs on record, of any state. A round is due when `refine_after` episodes were published since
    the last one was enqueued, whatever was forgotten in between; a round that was given up counts.
    """
    if settings.refine == "off":
        return None
    jobs = list(jobs)
    episodes = published_episodes(ledger)
    new = min(episodes, _published_since(ledger, max(job.created for job in jobs))) if jobs else episodes
    if episodes < LEAST_EPISODES or new < settings.refine_after:
        return None
    if settings.refine == "notes" and len(judging_shards(ledger)) < LEAST_JUDGES:
        return None  # arms need no judges, a new writer does
    rounds = [int(job.payload.get("round", 0)) for job in jobs]
    known = [int(v.measures.get("round", 0)) for v in ledger.policy.versions()]
    return 1 + max((*rounds, *known, 0))


def _published_since(ledger: Ledger, time: float) -> int:
    """Episodes that were first published after that; what sleep puts together or apart is not new."""
    first: dict[str, float] = {}
    for d in reversed(ledger.decisions()):  # the oldest first
        if d.accepted and d.episode_id not in (None, CORE_EPISODE) and EPISODES not in d.measures:
            first.setdefault(d.episode_id, d.time)
    return sum(t > time for t in first.values())
