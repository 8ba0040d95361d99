"""Pruning: deletes old snapshots and their adapters' files beyond the number that the settings keep.

The rule: the published snapshot and the newest `storage.snapshots_kept` stay; an older one keeps its number, parent
and time, and can no longer be rolled back to. An adapter's files go when no snapshot that is left and no version of the
note-writer names it; its record stays, so that the lineage is whole and no seed is used twice. The ledger goes first:
killed in between, the next consolidation sweeps the files. Not here: forgetting (`forgetting.deletion`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seal_memory.errors import InputError
from seal_memory.ledger import Ledger

if TYPE_CHECKING:  # torch
    from seal_memory.lora.store import AdapterStore


@dataclass(frozen=True, slots=True)
class PruneReport:
    """Pruned versions, and adapters whose files were deleted."""

    snapshots: tuple[int, ...]
    adapters: tuple[str, ...]


def needed(ledger: Ledger) -> set[str]:
    """Adapters whose files are in use: a snapshot names them, or a version of the note-writer."""
    shards = {a for s in ledger.history() for a in s.manifest.adapter_ids}
    return shards | {v.adapter_id for v in ledger.policy.versions() if v.adapter_id is not None}


def prune_snapshots(
    ledger: Ledger, store: AdapterStore, *, keep: int, drop: Callable[[str], None] = lambda adapter_id: None
) -> PruneReport:
    """Prune to the newest `keep` snapshots; 0 keeps all. `drop(adapter_id)` removes it from the engine.

    The caller holds the namespace's lease. Raises `InputError` for a negative number.
    """
    if keep < 0:
        raise InputError(f"{keep} snapshots are to be kept; expected 1 or more, or 0 for all")
    if keep == 0:
        return PruneReport((), ())
    with ledger.atomic():
        current = ledger.current()
        published = current.version if current is not None else 0
        before = needed(ledger)
        old = [s.version for s in ledger.history()[keep:] if s.version != published]
        ledger.destroy_snapshots(old, note=f"pruned: only the newest {keep} are kept")
        gone = sorted(before - needed(ledger))
    for adapter_id in gone:
        store.remove(adapter_id)
        drop(adapter_id)
    return PruneReport(tuple(sorted(old)), tuple(gone))
