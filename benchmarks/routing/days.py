"""`python -m benchmarks routing --days 20`: long diaries, whose later days are about the same few people.

Nothing is trained, fitted or calibrated: every way is the router as its settings make it, asked all that holds at
the end. Not here: the study of sizes (`command`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import metrics
from benchmarks.routing.worlds import World, diary_world
from seal_memory.config import Settings
from seal_memory.routing.making import make_router

if TYPE_CHECKING:
    from seal_memory.engines.local import TransformersEngine
    from seal_memory.routing.embeddings import Embedder

DEFAULT_OUT = Path(__file__).resolve().parents[1] / "results" / "routing-days.json"
WAYS: Mapping[str, Mapping[str, Any]] = {
    "bm25, coverage": {},
    "learned words": {"router_judge": "learned"},
    "bm25 + minilm, coverage": {"router_index": "both"},
    "learned words + minilm": {"router_index": "both", "router_judge": "learned"},
}
QUARTERS = 4
Record = dict[str, Any]


def run(given: argparse.Namespace, engine: TransformersEngine) -> Record:
    """All diaries through all ways; returns what the last line says."""
    from benchmarks.harness.provenance import provenance
    from benchmarks.policy.results import write_whole

    asked: dict[str, list[Record]] = {way: [] for way in WAYS}
    for seed in range(given.seed, given.seed + given.diaries):
        with tempfile.TemporaryDirectory() as folder:
            made = diary_world(
                given.days, given.facts_per_day, seed, folder=Path(folder), count_tokens=engine.count_tokens
            )
            try:
                for way, changes in WAYS.items():
                    asked[way] += routed(made, Settings(**changes), embedders=engine.embedder)
            finally:
                made.ledger.close()
        print(json.dumps({"diary": seed, "episodes": len(made.manifest.shards)}), file=sys.stderr, flush=True)
    found: Record = {
        "experiment": "routing-days",
        "options": {k: getattr(given, k) for k in ("days", "facts_per_day", "diaries", "seed")},
        "ways": {way: figures(rows, seed=given.seed) for way, rows in asked.items()},
        "provenance": {**provenance(engine, given.model), "note": given.note},
    }
    out = given.out or DEFAULT_OUT
    write_whole(found, out)
    return {"out": str(out), "right": {way: row["right"]["mean"] for way, row in found["ways"].items()}}


def routed(world: World, settings: Settings, *, embedders: Callable[[str], Embedder]) -> list[Record]:
    """Of every question its kind, its evidence's quarter of the diary, and whether the right shard was asked."""
    router = make_router(world.manifest, world.ledger, settings, embedders=embedders)
    age = {s.episode_id: n for n, s in enumerate(world.manifest.shards)}
    rows = []
    for asked in world.asked:
        route = router.route(asked.text)
        newest = max(age[e] for e in asked.episodes)
        rows.append(
            {
                "kind": asked.kind,
                "quarter": QUARTERS * newest // len(age),
                "right": route.episode_id in asked.episodes,
                "abstained": route.episode_id is None,
            }
        )
    return rows


def figures(rows: Sequence[Record], *, seed: int) -> Record:
    """The share that reached the right shard: of all, by kind, and by quarter of the diary, the first one first."""
    kinds = dict.fromkeys(r["kind"] for r in rows)
    return {
        "right": metrics.bootstrap([float(r["right"]) for r in rows], seed=seed),
        "abstained": metrics.mean([float(r["abstained"]) for r in rows]),
        "by_kind": {k: metrics.mean([float(r["right"]) for r in rows if r["kind"] == k]) for k in kinds},
        "by_quarter": [metrics.mean([float(r["right"]) for r in rows if r["quarter"] == q]) for q in range(QUARTERS)],
    }
