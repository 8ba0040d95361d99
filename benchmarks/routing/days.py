"""`python -m benchmarks routing --days 20`: routing on long diaries, whose later days are about the same few people.

Nothing is trained, fitted or calibrated: each way is the router as configured, asked every question valid at the end.
Not here: the study of sizes (`command`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks import metrics
from benchmarks.routing.worlds import World, diary_world
from seal_memory.config import AnsweringSettings
from seal_memory.routing.builtin import router_maker
from seal_memory.routing.router import MakeRouter

if TYPE_CHECKING:
    from seal_memory.engines.local import TransformersEngine

DEFAULT_OUT = Path(__file__).resolve().parents[1] / "results" / "routing-days.json"
WAYS: Sequence[Literal["words", "learned"]] = ("words", "learned")
QUARTERS = 4
Record = dict[str, Any]


def run(given: argparse.Namespace, engine: TransformersEngine) -> Record:
    """All diaries through all ways; returns what the last line says."""
    from benchmarks.harness.provenance import provenance
    from benchmarks.policy.results import write_whole

    asked: dict[str, list[Record]] = {way: [] for way in WAYS}
    routers = {way: router_maker(AnsweringSettings(router=way)) for way in WAYS}
    for seed in range(given.seed, given.seed + given.diaries):
        with tempfile.TemporaryDirectory() as folder:
            made = diary_world(
                given.days, given.facts_per_day, seed, folder=Path(folder), count_tokens=engine.count_tokens
            )
            try:
                for way, make in routers.items():
                    asked[way] += routed(made, make)
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


def routed(world: World, make: MakeRouter) -> list[Record]:
    """Of every question its kind, its evidence's quarter of the diary, and whether the right shard was asked."""
    router = make(world.manifest, world.ledger)
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
