"""Experiment `delete`: accuracy on forgotten and kept units, beside a memory that never saw the forgotten ones."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.experiments import asking
from benchmarks.experiments.asking import Make, Options, Record, Tick
from benchmarks.harness.journal import Journal
from benchmarks.systems.base import Asker, System, Unsupported
from benchmarks.tasks.base import Task


def delete(make: Make, task: Task, asker: Asker, options: Options, journal: Journal, folder: Path, tick: Tick) -> None:
    """Learn all, ask all, forget every n-th unit, ask again; then ask a fresh memory that never saw those units."""
    del asker
    gone = [u for n, u in enumerate(task.units) if n % options.forget_every == 0]
    stay = [u for n, u in enumerate(task.units) if n % options.forget_every]
    if not journal.is_done("forget"):
        system = _fresh(make, folder / "forgets")
        try:
            records = [asking.learn(system, asking.chunks_of(task.units), 0)]
            records += _ask(system, task, options, "before")
            try:
                system.forget([c.id for c in asking.chunks_of(gone)])
                records += _ask(system, task, options, "after")
            except Unsupported as why:
                records.append({"kind": "unsupported", "system": system.name, "way": None, "why": str(why)})
        finally:
            system.close()
        journal.add("forget", records)
    tick(1, 2)
    if not journal.is_done("never-saw"):
        system = _fresh(make, folder / "never-saw")
        try:
            records = [asking.learn(system, asking.chunks_of(stay), 0)]
            records += _ask(system, task, options, "never-saw")
        finally:
            system.close()
        journal.add("never-saw", records)
    tick(2, 2)


def _ask(system: System, task: Task, options: Options, phase: str) -> list[Record]:
    questions = asking.questions_of(task.units, len(task.units) - 1)
    ways = tuple(w for w in system.ways if w not in system.costly_ways)
    return asking.ask(system, questions, options, ways, phase=phase)


def _fresh(make: Make, place: Path) -> System:
    """A system in an empty folder; removes the unfinished step of a killed run."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return make(place)
