"""Schedule of refining the edit policy: when a round is due, and which episodes train and validate.

Needs no model and no torch: the worker calls it between jobs. Not here: the round itself (`refining`).
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

MIN_EPISODES = 8  # published; fewer cannot both train a writer and validate it
MIN_VALIDATION_EPISODES = 4  # an interval over fewer pairs is meaningless
VALIDATION_EVERY = 3  # about one episode in so many validates, for good: it is never trained on


def is_validation(episode_id: str) -> bool:
    """Whether an episode validates new writers. Depends on its id alone, so that it never changes sides."""
    return hashlib.sha256(episode_id.encode()).digest()[0] % VALIDATION_EVERY == 0


def training_shards(ledger: Ledger) -> list[ShardEntry]:
    """Published shards, with only the interactions that a round may train on."""
    return _side(ledger, validation=False)


def validation_shards(ledger: Ledger) -> list[ShardEntry]:
    """Published shards, with only the interactions that validate new writers."""
    return _side(ledger, validation=True)


def _side(ledger: Ledger, *, validation: bool) -> list[ShardEntry]:
    """One side of the split: an interaction's side is that of the episode it was first learned in, whatever sleep did.

    An interaction in several shards counts with the last, which answers for it.
    """
    current = ledger.current()
    shards = current.manifest.shards if current is not None else ()
    last = current.manifest.holders if current is not None else {}
    first: dict[str, str] = {}
    for record in ledger.adapters(interaction_ids=last):  # the oldest first
        if record.episode_id is not None and record.episode_id != CORE_EPISODE:
            for i in record.interaction_ids:
                first.setdefault(i, record.episode_id)
    found = []
    for shard in shards:
        own = [i for i in shard.interaction_ids if last[i] is shard]
        own = [i for i in own if is_validation(first.get(i, shard.episode_id)) is validation]
        if own:
            found.append(replace(shard, interaction_ids=tuple(own)))
    return found


def published_episodes(ledger: Ledger) -> int:
    """Number of episodes in the published shards; a merged shard counts as the episodes merged into it.

    A shard some of whose interactions later shards hold counts in part.
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

    `jobs`: all refine jobs on record, in any state, given-up ones included. A round is due when `policy.refine_after`
    episodes were published since the last one was enqueued, even if some were forgotten since.
    """
    if settings.refine == "off":
        return None
    jobs = list(jobs)
    episodes = published_episodes(ledger)
    versions = [int(job.payload.get("version", 0)) for job in jobs]
    new = min(episodes, _published_since(ledger, max(versions))) if jobs else episodes
    if episodes < MIN_EPISODES or new < settings.refine_after:
        return None
    if settings.refine == "notes" and len(validation_shards(ledger)) < MIN_VALIDATION_EPISODES:
        return None  # arms need no validation, a new writer does
    rounds = [int(job.payload.get("round", 0)) for job in jobs]
    known = [int(v.measures.get("round", 0)) for v in ledger.policy.versions()]
    return 1 + max((*rounds, *known, 0))


def _published_since(ledger: Ledger, version: int) -> int:
    """Number of episodes first published after that version; episodes that sleep made are not new."""
    first: dict[str, int] = {}
    for d in reversed(ledger.decisions()):  # the oldest first
        if d.accepted and d.episode_id not in (None, CORE_EPISODE) and EPISODES not in d.measures:
            first.setdefault(d.episode_id, d.snapshot_version or 0)
    return sum(v > version for v in first.values())
