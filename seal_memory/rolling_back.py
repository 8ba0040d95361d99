"""Rolling back: an earlier snapshot becomes the published one, and standings follow what it holds.

Not here: the lease around it (`SealMemory.rollback`), damaged snapshots (`opening`).
"""

from __future__ import annotations

from seal_memory.ledger import Ledger
from seal_memory.records import Snapshot, Standing


def roll_back(ledger: Ledger, version: int) -> Snapshot | None:
    """Publish a version again, 0 is the untouched base; what it does not hold is pending.

    Raises `UnknownIdError` for a version that never was or was destroyed by a forget.
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
