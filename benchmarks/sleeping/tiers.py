"""Compared ways, each a function of a trained world: routed shards, merged shards, cores, oracle.

Merges pass the product's gate in "merged" (similar shards) and "subjects" (everything about one name, over all
sessions); "merged-forced" and "subjects-forced" include refused ones. A core is asked without routing and never
published; "core-half" is the core after the first half of the episodes, asked about those: its difference to
"core-anchor" shows the loss of building a core again. Not here: measuring answers (`world`).
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from benchmarks.sleeping.figures import HALF
from benchmarks.sleeping.world import Record, World
from seal_memory.learning.candidates import Candidates, candidate_id
from seal_memory.learning.gate import GateVerdict
from seal_memory.records import AdapterKind, Manifest, SelfEdit, ShardEntry
from seal_memory.sleep import core as core_room
from seal_memory.sleep import merging
from seal_memory.sleep.sleeper import Sleeper
from seal_memory.sleep.topics import Topic

MERGED: Mapping[str, str] = {"merged": "shards", "subjects": "subjects"}  # by way, what is put together (`sleep.by`)

ROUTED: Mapping[str, Mapping[str, Any]] = {
    "top-1": {},
    "top-1-learned": {"answering.router": "learned"},
}
CORES: Mapping[str, Mapping[str, Any]] = {  # anchored, as the settings have it, but for the plain one
    "core": {"sleep.core_kl_weight": 0.0},
    "core-anchor": {"sleep.core_kl_weight": 1.0},
    "core-anchor-10": {"sleep.core_kl_weight": 10.0},
}
FEW = ("untouched", "oracle", "right-shard", *ROUTED)  # those that need no shard but the ones that are asked
WAYS = (*FEW, *MERGED, *CORES, HALF)


def run(way: str, world: World, *, max_tokens: int, core_changes: Mapping[str, Any]) -> list[Record]:
    """The records of one way; merging yields those of two."""
    if way == "untouched":
        return [{"way": way, "seconds": 0.0, "bytes": 0, **world.one_adapter(None, max_tokens=max_tokens)}]
    if way == "oracle":
        return [{"way": way, "seconds": 0.0, "bytes": 0, **world.with_the_text(max_tokens=max_tokens)}]
    if way == "right-shard":
        return [{"way": way, "seconds": 0.0, "bytes": 0, **world.right_shard(world.manifest, max_tokens=max_tokens)}]
    if way in ROUTED:
        found = world.routed(world.manifest, max_tokens=max_tokens, **ROUTED[way])
        return [{"way": way, "seconds": 0.0, "bytes": world.bytes_of(world.manifest), **found}]
    if way in MERGED:
        return _merged(way, world, max_tokens)
    if way == HALF:
        return [_half(world, max_tokens, {**core_changes, **CORES["core-anchor"]})]
    return [_core(way, world, world.manifest, max_tokens, {**core_changes, **CORES[way]})]


def _merged(way: str, world: World, max_tokens: int) -> list[Record]:
    """Train every topic's merged shard once; ask the manifest with those that pass, and with all."""
    began = perf_counter()
    sleeper = Sleeper(world.workbench(sleep={"by": MERGED[way]}))
    gated = forced = world.manifest
    tried: list[Record] = []
    for topic in sleeper.topics():
        edit = merging.merge_edit(topic, sleeper.candidates)
        if edit is not None:
            entry, verdict = _merge(topic, edit, gated, sleeper)
            forced = merging.with_merged(forced, topic, entry)
            gated = merging.with_merged(gated, topic, entry) if verdict.accepted else gated
            tried.append({"why": topic.why, "accepted": verdict.accepted, **verdict.measures})
    more = {"seconds": perf_counter() - began, "topics": tried}
    return [
        {"way": name, "bytes": world.bytes_of(manifest), **more, **world.routed(manifest, max_tokens=max_tokens)}
        for name, manifest in ((way, gated), (f"{way}-forced", forced))
    ]


def _merge(topic: Topic, edit: SelfEdit, manifest: Manifest, sleeper: Sleeper) -> tuple[ShardEntry, GateVerdict]:
    """Train a merged shard and keep it, whatever the gate's verdict."""
    ledger = sleeper.ledger
    ledger.add_self_edits([edit])
    adapter = sleeper.candidates.train([edit])[edit.id]
    verdict, _ = sleeper.check(topic, edit, manifest, finite=adapter.is_finite())
    record = sleeper.publisher.store(edit, adapter, AdapterKind.SHARD)
    ledger.add_adapter(record)
    sleeper.engine.drop(candidate_id(edit))
    return ShardEntry(record.id, edit.episode_id, edit.interaction_ids), verdict


def _half(world: World, max_tokens: int, changes: Mapping[str, Any]) -> Record:
    """Train the core over the first half of the shards, and ask it their questions."""
    shards = world.manifest.shards[: len(world.manifest.shards) // 2]
    found = _core(HALF, world, Manifest(shards), max_tokens, changes)
    held = world.held_by({i for s in shards for i in s.interaction_ids})
    return {**found, "answers": [a for a in found["answers"] if a["question"] in held]}


def _core(way: str, world: World, manifest: Manifest, max_tokens: int, changes: Mapping[str, Any]) -> Record:
    """Train a core over a manifest's shards with these settings, as far as the gate allows, and ask it everything."""
    candidates = Candidates(world.workbench(**changes))
    candidates.take_tokens()
    began = perf_counter()
    edit = core_room.core_edit(world.memory.ledger, manifest, candidates)
    core = core_room.train_core(edit, candidates)
    strength = core_room.scale_to_drift_limit(edit, core, candidates)
    seconds = perf_counter() - began
    found = world.one_adapter(candidate_id(edit), max_tokens=max_tokens)
    world.engine.drop(candidate_id(edit))
    return {
        "way": way,
        "seconds": seconds,
        "bytes": 4 * core.flat.numel(),
        "tokens": candidates.take_tokens(),
        "strength": strength,
        "settings": dict(changes),
        **found,
    }
