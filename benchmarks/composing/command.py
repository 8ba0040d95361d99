"""`python -m benchmarks compose`: answers of a given form that need remembered values, in every way of answering.

    python -m benchmarks compose --days 3 --facts-per-day 4 --per-kind 8
    python -m benchmarks compose --model Qwen/Qwen2.5-Coder-0.5B-Instruct --set learning.rank=4 --set learning.alpha=16

Shards are trained once and kept in the work folder; after a kill the same command resumes at the next batch of
requests. Progress goes to standard error; the last line of standard output is one JSON object. Not here: the requests
and their rules (`requests`, `checks`), the ways (`ways`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.composing.requests import Request, World
from seal_memory.errors import InputError

if TYPE_CHECKING:
    from benchmarks.composing.ways import Asked
    from benchmarks.harness.journal import Journal

RESULTS = Path(__file__).resolve().parents[1] / "results"
BATCH = 8  # requests answered between two entries of the journal
Record = dict[str, Any]
Parse = Callable[[str], tuple[str, Any]]


def main(arguments: Sequence[str], setting: Parse) -> int:
    """Run what is unfinished; `setting` parses NAME=VALUE."""
    given = _parser().parse_args(list(arguments))
    print(json.dumps(_run(given, setting)))
    return 0


def _run(given: argparse.Namespace, setting: Parse) -> Record:
    from benchmarks.composing import requests
    from benchmarks.composing.figures import figures, table
    from benchmarks.harness.journal import Journal, finished
    from benchmarks.harness.provenance import provenance
    from benchmarks.policy.results import write_whole
    from seal_memory.config import Settings
    from seal_memory.runtime.loading import new_engine

    ways = _ways(given)
    settings = Settings.load(None, seed=given.seed, **dict(setting(s) for s in given.set))
    made = requests.make(days=given.days, facts_per_day=given.facts_per_day, per_kind=given.per_kind, seed=given.seed)
    engine = new_engine(given.model, settings.engine)
    told = settings.flat(without=("engine.device", "engine.dtype", "engine.cache_dir"))
    where = {**provenance(engine, given.model), "note": given.note}
    head = {**_head(given, made), "settings": told, "fingerprint": engine.fingerprint, "provenance": where}
    work = given.work or Path("runs") / "compose"
    path = work / f"seed{given.seed}.jsonl"
    journal = Journal(path, head)
    _answer_all(given, made, journal, ways, engine, settings, work)
    answers: dict[str, list[Record]] = {way: [] for way in ways}
    for record in finished(path):
        if record["kind"] == "answer" and record["way"] in answers:
            answers[record["way"]].append(record)
    learned = next(r for r in finished(path) if r["kind"] == "learn")
    found = {
        "experiment": "compose",
        "task": made.task.options,
        "data_sha256": made.task.data_sha256,
        "learned": {k: v for k, v in learned.items() if k not in ("kind", "step")},
        **figures(answers, made.requests, seed=given.seed),
        "settings": told,
        "provenance": where,
    }
    out = given.out or RESULTS / "compose-diary.json"
    write_whole(found, out)
    print(table(found), file=sys.stderr)
    accuracy = {way: row["accuracy"] and round(row["accuracy"]["mean"], 4) for way, row in found["ways"].items()}
    return {"out": str(out), "requests": found["requests"], "accuracy": accuracy}


def _answer_all(
    given: argparse.Namespace,
    made: World,
    journal: Journal,
    ways: Sequence[str],
    engine: Any,
    settings: Any,
    work: Path,
) -> None:
    """Learn, then answer in every way, as far as the journal does not have it."""
    from benchmarks.composing.ways import Asked
    from benchmarks.sleeping.world import World as Trained

    folder = work / f"seed{given.seed}"
    trained = Trained(folder, made.task, given.days, engine, settings, _shown)
    try:
        if not journal.is_done("learn"):
            journal.add("learn", [{"kind": "learn", **trained.learn()}])
        asked = Asked(trained, folder / "indexes", given.max_tokens, given.passages)
        for way in ways:
            _answer(way, made.requests, asked, journal)
    finally:
        trained.close()


def _answer(way: str, requests: Sequence[Request], asked: Asked, journal: Journal) -> None:
    """Answer in one way, in batches of the journal."""
    from benchmarks.composing.ways import answer

    for first in range(0, len(requests), BATCH):
        step = f"{way} {first}"
        if not journal.is_done(step):
            found = answer(way, requests[first : first + BATCH], asked)
            journal.add(step, [{"kind": "answer", "way": way, **r} for r in found])
            _shown(way, min(first + BATCH, len(requests)), len(requests))


def _ways(given: argparse.Namespace) -> tuple[str, ...]:
    """The ways asked for. Raises `InputError` for one that is unknown, or without the untouched model beside it."""
    from benchmarks.composing.ways import MORE_WAYS, WAYS

    ways = tuple(given.ways or WAYS)
    unknown = sorted(set(ways) - {*WAYS, *MORE_WAYS})
    if unknown:
        raise InputError(f"Unknown way {unknown[0]!r}; expected some of {', '.join((*WAYS, *MORE_WAYS))}.")
    return ways if "untouched" in ways else ("untouched", *ways)


def _head(given: argparse.Namespace, made: World) -> Record:
    """The parameters that must match to resume a run."""
    return {
        "experiment": "compose",
        "seed": given.seed,
        "data_sha256": made.task.data_sha256,
        "options": made.task.options,
        "requests": [r.text for r in made.requests],
        "max_tokens": given.max_tokens,
        "passages": given.passages,
    }


def _shown(phase: str, done: int, total: int) -> None:
    print(f"{phase}: {done}/{total}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks compose", description=__doc__, formatter_class=raw)
    parser.add_argument("--days", type=int, default=3, help="days of the diary, each learned as one shard")
    parser.add_argument("--facts-per-day", type=int, default=4)
    parser.add_argument("--per-kind", type=int, default=8, help="most requests of each kind")
    parser.add_argument("--ways", nargs="+", help="default: all but dense, which needs MiniLM")
    parser.add_argument("--passages", type=int, default=3, help="stored texts that retrieval puts in the prompt")
    parser.add_argument("--max-tokens", type=int, default=80, help="maximum length of an answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, JSON values")
    parser.add_argument("--note", default="", help="a remark for the results file")
    parser.add_argument("--work", type=Path, help="journal and memory; default: runs/compose")
    parser.add_argument("--out", type=Path, help="results file; default: benchmarks/results/compose-diary.json")
    return parser
