"""`python -m benchmarks sleep`: accuracy and cost of routed shards, merged shards and cores at several sizes.

    python -m benchmarks sleep --task diary --sizes 8 32
    python -m benchmarks sleep --task squad --data squad.jsonl --sizes 8 --ways top-1 merged core core-anchor
    python -m benchmarks sleep --sizes 400 --asked-episodes 32 --ways right-shard top-1 top-1-learned

Shards are trained once per size and kept in the work folder; after a kill the same command resumes at the next way.
With `--asked-episodes` questions are about that many episodes, and only shards that they reach are trained (`sampled`).
Progress goes to standard error; the last line of standard output is one JSON object. Not here: the ways (`tiers`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seal_memory.errors import InputError

if TYPE_CHECKING:
    from benchmarks.harness.journal import Journal
    from benchmarks.sleeping.world import World
    from benchmarks.tasks.base import Task
    from seal_memory.config import Settings
    from seal_memory.engines.local import TransformersEngine

RESULTS = Path(__file__).resolve().parents[1] / "results"
Record = dict[str, Any]
Parse = Callable[[str], tuple[str, Any]]


def main(arguments: Sequence[str], setting: Parse) -> int:
    """Run the unfinished ways; `setting` parses NAME=VALUE."""
    given = _parser().parse_args(list(arguments))
    print(json.dumps(_run(given, setting)))
    return 0


def _run(given: argparse.Namespace, setting: Parse) -> Record:
    from benchmarks.harness.provenance import provenance
    from benchmarks.policy.results import write_whole
    from seal_memory.config import Settings
    from seal_memory.runtime.loading import new_engine

    _check(given)
    settings = Settings.load(None, seed=given.seed, **dict(setting(s) for s in given.set))
    engine = new_engine(given.model, settings.engine)
    work = given.work or Path("runs") / f"sleep-{given.task}"
    out = given.out or RESULTS / f"sleep-{given.task}.json"
    where = {**provenance(engine, given.model), "note": given.note}
    sizes: dict[str, Record] = {}
    for size in given.sizes:
        task = _task(given, size)
        sizes[str(size)] = _size(given, task, size, engine, settings, work, where)
        write_whole({"experiment": "sleep", "task": given.task, "sizes": sizes, "provenance": where}, out)
    from benchmarks.sleeping.figures import table

    print(table(sizes), file=sys.stderr)
    accuracy = {s: {w: r["accuracy"]["mean"] for w, r in found["ways"].items()} for s, found in sizes.items()}
    return {"out": str(out), "accuracy": accuracy}


def _size(
    given: argparse.Namespace,
    task: Task,
    size: int,
    engine: TransformersEngine,
    settings: Settings,
    work: Path,
    where: Mapping[str, Any],
) -> Record:
    """One memory size: train the shards, then run each way and journal it."""
    from benchmarks.harness.journal import Journal, finished
    from benchmarks.sleeping import figures, tiers
    from benchmarks.sleeping.sampled import SampledWorld
    from benchmarks.sleeping.world import World

    settings_told = settings.flat(without=("engine.device", "engine.dtype", "engine.cache_dir"))
    head = {**_head(given, task, size), "settings": settings_told, "fingerprint": engine.fingerprint}
    path = work / f"size-{size}-seed{given.seed}.jsonl"
    journal = Journal(path, {**head, "provenance": dict(where)})
    folder = work / f"size-{size}-seed{given.seed}"
    world: World
    if given.asked_episodes is None:
        world = World(folder, task, size, engine, settings, _shown)
    else:
        world = SampledWorld(folder, task, size, engine, settings, _shown, asked=given.asked_episodes)
    try:
        if not journal.is_done("learn"):
            journal.add("learn", [{"kind": "learn", **world.learn()}])
        for way in given.ways or (tiers.WAYS if given.asked_episodes is None else tiers.FEW):
            _way(way, world, journal, given)
        return figures.of_size(list(finished(path)), world.questions, seed=given.seed)
    finally:
        world.close()


def _head(given: argparse.Namespace, task: Task, size: int) -> Record:
    """The parameters that must match to resume a run."""
    return {
        "experiment": "sleep",
        "size": size,
        "seed": given.seed,
        "data_sha256": task.data_sha256,
        "max_tokens": given.max_tokens,
        "core_epochs": given.core_epochs,
        **({} if given.asked_episodes is None else {"asked_episodes": given.asked_episodes}),
    }


def _way(way: str, world: World, journal: Journal, given: argparse.Namespace) -> None:
    from benchmarks.sleeping import tiers

    if journal.is_done(way):
        return
    print(f"\n{world.size} episodes: {way}", file=sys.stderr, flush=True)
    changes = {} if given.core_epochs is None else {"learning.epochs": given.core_epochs}
    found = tiers.run(way, world, max_tokens=given.max_tokens, core_changes=changes)
    journal.add(way, [{"kind": "way", **r} for r in found])


def _shown(phase: str, done: int, total: int) -> None:
    if done == total or done % 20 == 0:
        print(f"{phase} {done}/{total}", end="\r", file=sys.stderr, flush=True)


def _check(given: argparse.Namespace) -> None:
    from benchmarks.sleeping.tiers import FEW, WAYS

    unknown = [w for w in given.ways or () if w not in WAYS]
    if unknown:
        raise InputError(f"Unknown way {unknown[0]!r}; expected some of {', '.join(WAYS)}.")
    whole = [w for w in given.ways or () if w not in FEW]
    if whole and given.asked_episodes is not None:
        raise InputError(f"Way {whole[0]!r} needs every shard: leave --asked-episodes out, or ask {', '.join(FEW)}.")
    if any(s < 2 for s in given.sizes):
        raise InputError(f"--sizes {given.sizes}: a memory of less than 2 episodes has nothing to merge.")
    if given.core_epochs is not None and given.core_epochs < 1:
        raise InputError(f"--core-epochs {given.core_epochs} is too small; expected at least 1.")


def _task(given: argparse.Namespace, size: int) -> Task:
    """A task that is long enough. Raises `InputError` where it needs a file and none is given."""
    if given.task == "diary":
        from benchmarks.tasks import diary

        days = size // 2 + size // 64 + 2  # a day makes two episodes, now and then one
        return diary.make(days=days, facts_per_day=given.facts_per_day, seed=given.seed)
    if given.data is None:
        raise InputError("Task 'squad' reads a file that is not shipped: give it with --data FILE.")
    from benchmarks.tasks import squad

    return squad.load(given.data, start=given.start)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks sleep", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--task", choices=("diary", "squad"), default="diary")
    add("--data", type=Path, help="the task's file (squad)")
    add("--start", type=int, default=0, help="first passage (squad)")
    add("--facts-per-day", type=int, default=8, help="of the diary")
    add("--sizes", type=int, nargs="+", default=[8], help="episodes; docs/results.md has 8, 32, 128 and 400")
    add("--asked-episodes", type=int, help="ask about so many episodes, and train only the shards that are asked")
    add("--ways", nargs="+", help="some of the ways; default: all")
    add("--core-epochs", type=int, help="of the cores, to be quicker; default: the setting `learning.epochs`")
    add("--max-tokens", type=int, default=24, help="of an answer")
    add("--seed", type=int, default=0)
    add("--model", default="smollm2-135m")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, JSON values")
    add("--note", default="", help="a remark for the results file, such as the machine's other load")
    add("--work", type=Path, help="journals and memories; default: runs/sleep-TASK")
    add("--out", type=Path, help="results file; default: benchmarks/results/sleep-TASK.json")
    return parser
