"""Rebuilding: a published shard that lost too much is trained again from the ledger.

What it holds becomes pending; the old shard goes on answering until a new one is published, which replaces it in the
manifest (`consolidate`), or is refused, and then it stays. So it is after a rollback: what the older version does not
hold becomes pending. Not here: who decides that it lost too much
(`forgetting.audits`).
"""

from __future__ import annotations

from collections.abc import Sequence

from seal_memory.ledger import Ledger
from seal_memory.records import Snapshot, Standing

REASON = "its shard weakened and is trained again"


def reopen(ledger: Ledger, adapter_ids: Sequence[str]) -> int:
    """Make what these shards hold pending again; how often it was trained before, 0 where none is published.

    That number goes into the seed of the new training: the same seed would make the same adapter.
    """
    with ledger.atomic():
        current = ledger.current()
        wanted = set(adapter_ids)
        shards = current.manifest.shards if current is not None else ()
        held = {i for s in shards if s.adapter_id in wanted for i in s.interaction_ids}
        if not held:
            return 0
        known = ledger.interactions(ids=sorted(held))
        again = [i.id for i in known if i.standing in (Standing.LEARNED, Standing.PENDING)]
        ledger.set_standing(again, Standing.PENDING, REASON)
        return len(ledger.adapters(interaction_ids=again))


def roll_back(ledger: Ledger, version: int) -> Snapshot | None:
    """Publish an earlier version, 0 the untouched base, and put right what is learned and what is pending.

    Raises `UnknownIdError` for a version that never was, was destroyed by a forget, or was pruned.
    """
    with ledger.atomic():
        ledger.set_current(version or None)
        current = ledger.current()
        held = {i for s in current.manifest.shards for i in s.interaction_ids} if current else set()
        states = {i.id: i.standing for i in ledger.interactions()}
        gone = [i for i, standing in states.items() if standing is Standing.LEARNED and i not in held]
        ledger.set_standing(gone, Standing.PENDING, f"rolled back to version {version}")
        back = [i for i in held if states[i] in (Standing.PENDING, Standing.REFUSED)]
        ledger.set_standing(back, Standing.LEARNED)
    return current
