"""Runs an experiment on a task with some systems; writes journals and a results file.

Each system and seed has its own journal and folder under the work folder, so that a killed run resumes and several
processes can share a run (each with other `--systems`). Each process writes the results of all. Not here: parsing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.experiments.asking import Options
from benchmarks.experiments.delete import delete
from benchmarks.experiments.sessions import scale, sessions, update
from benchmarks.experiments.single import single
from benchmarks.harness import results
from benchmarks.harness.journal import Journal
from benchmarks.harness.provenance import provenance
from benchmarks.harness.registry import WAYS, SystemFactory
from benchmarks.tasks.base import Task
from seal_memory.errors import InputError

EXPERIMENTS = {"single": single, "sessions": sessions, "scale": scale, "update": update, "delete": delete}


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a run. `work`: folder of journals and systems; `out`: the results file."""

    experiment: str
    task: Task
    systems: tuple[str, ...]
    seeds: tuple[int, ...]
    options: Options
    work: Path
    out: Path
    note: str = ""
    beside: Path | None = None  # an earlier results file, for systems missing from this run


def run(plan: Plan, make_factory: Callable[[int], SystemFactory]) -> dict[str, Any]:
    """Run the unfinished steps, then write and return the results of everything in the work folder."""
    earlier = None if plan.beside is None else _earlier(plan.beside)  # read first, to fail early
    with bars() as shown:
        for seed in plan.seeds:
            shop = make_factory(seed)
            for name in plan.systems:
                bar = shown.add_task(f"{plan.experiment} {plan.task.name}: {name}, seed {seed}", total=None)
                _run_system(plan, shop, name, seed, partial(_show, shown, bar))
    return write_results(plan, earlier)


def _run_system(plan: Plan, shop: SystemFactory, name: str, seed: int, tick: Callable[[int, int], None]) -> None:
    began = time.perf_counter()
    place = plan.work / f"{name}-seed{seed}"
    head = {
        "experiment": plan.experiment,
        "system": name,
        "seed": seed,
        "data_sha256": plan.task.data_sha256,
        "task": plan.task.options,
        "units": [u.id for u in plan.task.units],
        "options": asdict(plan.options),
        "settings": shop.described(name),
        "fingerprint": shop.asker.engine.fingerprint,
        "provenance": {**provenance(shop.asker.engine, shop.model), "note": plan.note},
    }
    journal = Journal(plan.work / f"{name}-seed{seed}.jsonl", head)
    EXPERIMENTS[plan.experiment](shop.maker(name), plan.task, shop.asker, plan.options, journal, place, tick)
    journal.took(time.perf_counter() - began)


def _show(shown: Progress, bar: TaskID, done: int, total: int) -> None:
    shown.update(bar, completed=done, total=total)


def write_results(plan: Plan, earlier: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The results file from all journals in the work folder, written whole; `earlier`: see `results.beside`."""
    run_ = results.read_run(plan.work, plan.experiment, plan.task, plan.options.per_session)
    order = [way for ways in WAYS.values() for way in ways]
    found = results.results(run_, order)
    if earlier is not None:
        found = results.beside(found, earlier, order)
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = plan.out.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    temporary.replace(plan.out)
    return found


def _earlier(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}. Expected a results file for --beside.") from error
    if not isinstance(found, dict) or found.get("format") != results.FORMAT:
        raise InputError(f"{path} is not a results file of format {results.FORMAT}, which --beside needs.")
    return found


def bars() -> Progress:
    """Progress bars on standard error; standard output is for the result."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)
