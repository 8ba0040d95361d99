"""Rebuilding: a published shard that lost too much is trained again from the ledger.

What it answers for becomes pending (of what a later shard holds, too, that one does); the old shard goes on until a new
one is published, which replaces it in the manifest (`consolidate`), or is refused, and then it stays. Not here: who
decides that it lost too much (`forgetting.audits`).
"""

from __future__ import annotations

from collections.abc import Sequence

from seal_memory.ledger import Ledger
from seal_memory.records import Standing

REASON = "its shard weakened and is trained again"


def reopen(ledger: Ledger, adapter_ids: Sequence[str]) -> int:
    """Make what these shards answer for pending again; how often it was trained before, 0 where none is published.

    That number goes into the seed of the new training: the same seed would make the same adapter.
    """
    with ledger.atomic():
        current = ledger.current()
        wanted = set(adapter_ids)
        holders = current.manifest.holders if current is not None else {}
        held = {i for i, shard in holders.items() if shard.adapter_id in wanted}
        if not held:
            return 0
        known = ledger.interactions(ids=sorted(held))
        again = [i.id for i in known if i.standing in (Standing.LEARNED, Standing.PENDING)]
        ledger.set_standing(again, Standing.PENDING, REASON)
        return len(ledger.adapters(interaction_ids=again))
