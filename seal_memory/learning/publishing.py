"""Publishing: writes an adapter's files, makes a manifest's router, checks the whole memory.

Nothing here writes to the ledger: the transaction is the caller's (`consolidate`, `sleep.sleeper`, `policy.versions`),
and until it commits a sweep may delete the files. Not here: the verdict on one adapter (`gate`, `sleep.core`,
`sleep.merging`), the files' format and writing them crash-safe (`lora.store`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from seal_memory.errors import ChangedError
from seal_memory.learning import drift, gate
from seal_memory.learning.candidates import data_hash
from seal_memory.learning.gate import GateVerdict
from seal_memory.learning.old_recall import audit_old
from seal_memory.learning.workbench import Workbench
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.store import AdapterStore
from seal_memory.records import AdapterKind, AdapterRecord, Manifest, SelfEdit, ShardEntry, Snapshot
from seal_memory.routing.router import Router


class Publisher:
    """Prepares publications of one memory."""

    def __init__(self, bench: Workbench) -> None:
        self.bench, self.ledger, self.engine, self.settings = bench, bench.ledger, bench.engine, bench.settings.gate

    def store(self, edit: SelfEdit, adapter: LoraAdapter, kind: AdapterKind) -> AdapterRecord:
        """Write the adapter's files and put it into the engine under its lasting id; the record for the ledger."""
        record = store_adapter(
            self.bench.store,
            adapter,
            kind=kind,
            base_model=self.bench.base_model,
            base_fingerprint=self.engine.fingerprint,
            interaction_ids=edit.interaction_ids,
            seed=edit.seed,
            data_hash=data_hash(edit),
            now=self.bench.clock(),
            episode_id=edit.episode_id,
            self_edit_id=edit.id,
        )
        self.engine.put(record.id, adapter)
        return record

    def discard(self, records: Iterable[AdapterRecord]) -> None:
        """Delete the files of refused adapters, unless the same bytes were published before."""
        known = {a.id for a in self.ledger.adapters()}
        for adapter_id in {r.id for r in records} - known:
            self.engine.drop(adapter_id)
            self.bench.store.remove(adapter_id)

    def require_current(self, judged: Snapshot | None) -> None:
        """For the transaction that publishes. Raises `ChangedError` where another version than `judged` is current.

        Forgetting, correcting and rolling back wait for no trainer, so each may have come since.
        """
        now = self.ledger.current()
        if (now.version if now else 0) != (judged.version if judged else 0):
            raise ChangedError(
                f"version {now.version if now else 0} was published while what follows version "
                f"{judged.version if judged else 0} was trained: it is trained or judged again by the next call"
            )

    def router(self, manifest: Manifest) -> Router:
        """The router of a manifest."""
        return self.bench.routers(manifest, self.ledger)

    def check_memory(self, current: Snapshot | None, manifest: Manifest) -> GateVerdict:
        """The verdict on a manifest: recall of earlier memories, and drift."""
        router, published = self.router(manifest), self.router(current.manifest if current else Manifest())
        recall = audit_old(
            current,
            published,
            router,
            self.bench,
            moved=_moved(current.manifest, manifest) if current else frozenset(),
        )
        old = gate.check_old(recall.before, recall.after, self.settings)
        drifted = gate.check_drift(
            drift.routed_perplexity_increase(self.engine, router),
            drift.misrouted_share(router),
            self.settings,
        )
        return GateVerdict(
            old.accepted and drifted.accepted,
            (*old.reasons, *drifted.reasons),
            {**old.measures, "audit_changed": float(recall.changed), **drifted.measures},
        )


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


def _moved(current: Manifest, manifest: Manifest) -> frozenset[str]:
    """Interactions that another shard answers for in the new manifest."""
    holders = manifest.holders
    return frozenset(i for i, shard in current.holders.items() if i in holders and holders[i] != shard)


def without_replaced(shards: Sequence[ShardEntry]) -> tuple[ShardEntry, ...]:
    """The shards, oldest first, without those whose interactions later ones all hold (rebuilt or merged)."""
    kept: list[ShardEntry] = []
    later: set[str] = set()
    for shard in reversed(shards):
        if not later.issuperset(shard.interaction_ids):
            kept.append(shard)
        later.update(shard.interaction_ids)
    return tuple(reversed(kept))
