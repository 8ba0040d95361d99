"""Many namespaces, each with an adapter, in one process: memory use, and the cost of switching between them.

The adapters are random: only their size and loading matter here.
Not here: clients and sockets (`load`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from benchmarks.serving.load import percentile
from seal_memory.engines.base import Decoding
from seal_memory.learning.publishing import store_adapter
from seal_memory.lora.adapter import LoraConfig
from seal_memory.pool import MemoryPool
from seal_memory.records import AdapterKind, Manifest, ShardEntry


@dataclass(frozen=True, slots=True)
class NamespaceLoad:
    """Seconds of one chat of `tokens` tokens: first use of a namespace (opens its ledger, reads its adapter), at once
    again, and after all other namespaces. `swap_seconds`: reading one adapter into memory, nothing else.
    """

    namespaces: int
    adapter_bytes: int
    resident_before: int
    resident_after: int
    first_p50: float
    first_p95: float
    again_p50: float
    later_p50: float
    swap_p50: float
    swap_p95: float


def measure(pool: MemoryPool, count: int, *, tokens: int, seed: int = 0) -> NamespaceLoad:
    """Make `count` namespaces in the pool's folder and chat in each, in random orders."""
    names = [f"agent-{n:04d}" for n in range(count)]
    sizes = [_made(pool, name, n) for n, name in enumerate(names)]
    process, order = psutil.Process(), random.Random(seed)
    before = process.memory_info().rss
    first, again, swaps = [], [], []
    order.shuffle(names)
    for name in names:
        first.append(_chat(pool, name, tokens))
        again.append(_chat(pool, name, tokens))
    order.shuffle(names)
    later = [_chat(pool, name, tokens) for name in names]
    for name in names:
        swaps.append(_swap(pool, name))
    return NamespaceLoad(
        count,
        sum(sizes) // count,
        before,
        process.memory_info().rss,
        *(_at(first, 0.5), _at(first, 0.95), _at(again, 0.5), _at(later, 0.5), _at(swaps, 0.5), _at(swaps, 0.95)),
    )


def _made(pool: MemoryPool, name: str, n: int) -> int:
    """Make a namespace with one published shard; returns the adapter's bytes."""
    with pool.memory(name) as memory:
        engine, settings, ledger = memory.engine, memory.settings, memory.ledger
        (seen,) = memory.observe(f"The badge number of agent {n} is B-{n:05d}.", session="badge")
        config = LoraConfig(settings.learning.rank, settings.learning.alpha, settings.learning.target_modules)
        adapter = engine.stack.create(config, seed=n)
        record = store_adapter(
            memory.store,
            adapter,
            kind=AdapterKind.SHARD,
            base_model=memory.model,
            base_fingerprint=engine.fingerprint,
            interaction_ids=[seen.id],
            seed=n,
            data_hash=name,
            now=time.time(),
            episode_id=f"badge-{n}",
        )
        with ledger.atomic():
            ledger.add_adapter(record)
            shard = ShardEntry(record.id, f"badge-{n}", (seen.id,))
            ledger.add_snapshot(Manifest((shard,)), parent=None, base_fingerprint=engine.fingerprint)
        return record.bytes


def _chat(pool: MemoryPool, name: str, tokens: int) -> float:
    asked = [{"role": "user", "content": f"What is the badge number of agent {int(name[-4:])}?"}]
    began = time.perf_counter()
    with pool.memory(name) as memory:
        memory.converse(asked, mode="weights", decoding=Decoding(tokens)).run()
    return time.perf_counter() - began


def _swap(pool: MemoryPool, name: str) -> float:
    with pool.memory(name) as memory:
        current = memory.published()
        adapter_id = current.manifest.shards[0].adapter_id if current is not None else None
        engine = memory.engine
        engine.drop(adapter_id or "")
        began = time.perf_counter()
        engine.adapter(adapter_id)
        return time.perf_counter() - began


def _at(values: Sequence[float], share: float) -> float:
    return percentile(sorted(values), share)
