"""Experiment `single`: each unit in its own memory, as in SEAL's table (arXiv 2506.10943, section 4.2)."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from benchmarks.experiments import asking
from benchmarks.experiments.asking import Make, Options, Tick
from benchmarks.harness.journal import Journal
from benchmarks.systems.base import Asker
from benchmarks.tasks.base import Task


def single(make: Make, task: Task, asker: Asker, options: Options, journal: Journal, folder: Path, tick: Tick) -> None:
    """Learn each unit in a fresh folder and ask its questions."""
    for n, unit in enumerate(task.units):
        if not journal.is_done(unit.id):
            place = folder / f"unit-{n}"
            shutil.rmtree(place, ignore_errors=True)  # unfinished step of a killed run
            place.mkdir(parents=True)
            system = make(place)
            try:
                records = [asking.learn(system, unit.chunks, 0)]
                records += asking.ask(system, asking.questions_of([unit]), options, system.ways)
                if n < options.latency // 2:  # two questions each of the first few units
                    records += asking.take_times(system, asker, unit.questions, replace(options, latency=2))
            finally:
                system.close()
            journal.add(unit.id, records)
            shutil.rmtree(place)
        tick(n + 1, len(task.units))
