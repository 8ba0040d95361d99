"""An adapter's way to disk: its files, and the record that the ledger keeps of them.

The record is not in the ledger yet: until it is, a sweep may take the files. Not here: the files' format and the crash
safety of writing them (`lora.store`), publishing (`consolidate`, `policy.versions`).
"""

from __future__ import annotations

from collections.abc import Iterable

from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.store import AdapterStore
from seal_memory.records import AdapterKind, AdapterRecord


def store_adapter(
    store: AdapterStore,
    adapter: LoraAdapter,
    *,
    kind: AdapterKind,
    base_model: str,
    base_fingerprint: str,
    interaction_ids: Iterable[str],
    seed: int,
    data_hash: str,
    now: float,
    episode_id: str | None = None,
    self_edit_id: str | None = None,
) -> AdapterRecord:
    """Write the adapter's files; the record for the ledger. Raises `AdapterError` as `AdapterStore.write` does."""
    stored = store.write(adapter, base_model=base_model, base_fingerprint=base_fingerprint)
    config = adapter.config
    return AdapterRecord(
        stored.id,
        kind,
        episode_id,
        tuple(interaction_ids),
        self_edit_id,
        base_fingerprint,
        {"rank": config.rank, "alpha": config.alpha, "target_modules": list(config.target_modules)},
        seed,
        data_hash,
        stored.sha256,
        stored.bytes,
        now,
    )
