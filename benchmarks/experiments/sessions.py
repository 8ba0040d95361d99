"""Experiments `sessions`, `update` and `scale`: units learned session by session in one memory.

`sessions` asks everything again after each session: retention matrix R[i][j], average accuracy, BWT, forgetting, and
perplexity on fixed text. `update` asks at the end about facts that changed. `scale` grows the memory to given sizes and
asks a sample of questions at each.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.experiments import asking
from benchmarks.experiments.asking import Make, Options, Record, Tick
from benchmarks.harness.journal import Journal
from benchmarks.systems.base import Asker, System
from benchmarks.tasks.base import Question, Task, Unit
from seal_memory.errors import InputError

Ask = Callable[[System, int, int], list[Record]]
"""(system, session index, index of the last unit learned) -> records."""


def sessions(
    make: Make, task: Task, asker: Asker, options: Options, journal: Journal, folder: Path, tick: Tick
) -> None:
    """Learn session by session; after each, ask every question that is still valid."""
    parts = grouped(task.units, options.per_session)

    def ask(system: System, i: int, last: int) -> list[Record]:
        ways = _ways(system, final=i == len(parts) - 1)
        records = asking.ask(system, asking.questions_of(task.units[: last + 1], last), options, ways)
        records += asking.perplexities(system, ways)
        if i == len(parts) - 1:
            records += asking.take_times(system, asker, _spread(task, options.latency), options)
        return records

    _run(make, parts, journal, folder, tick, ask)


def update(make: Make, task: Task, asker: Asker, options: Options, journal: Journal, folder: Path, tick: Tick) -> None:
    """Learn session by session, then ask about changed facts. Raises `InputError` if the task has none."""
    del asker
    parts = grouped(task.units, options.per_session)
    held = asking.questions_of(task.units, len(task.units) - 1)
    changed = [(unit, q) for unit, q in held if q.outdated and q.answers]
    if not changed:
        raise InputError(f"In task {task.name!r} no fact ever changes; use the diary with more days.")

    def ask(system: System, i: int, last: int) -> list[Record]:
        return asking.ask(system, changed, options, _ways(system, final=True)) if i == len(parts) - 1 else []

    _run(make, parts, journal, folder, tick, ask)


def scale(make: Make, task: Task, asker: Asker, options: Options, journal: Journal, folder: Path, tick: Tick) -> None:
    """Grow one memory to each size (in questions' facts) and ask the same number of questions there."""
    parts = sized(task.units, options.sizes)

    def ask(system: System, i: int, last: int) -> list[Record]:
        held = asking.questions_of(task.units[: last + 1], last)
        sample = random.Random(i).sample(held, min(options.most_questions, len(held)))
        ways = _ways(system, final=False)
        records: list[Record] = [{"kind": "size", "system": system.name, "facts": facts(task.units[: last + 1])}]
        records += asking.ask(system, sample, options, ways)
        return records + asking.take_times(system, asker, [q for _, q in sample], options)

    _run(make, parts, journal, folder, tick, ask)


def _run(make: Make, parts: Sequence[Sequence[Unit]], journal: Journal, folder: Path, tick: Tick, ask: Ask) -> None:
    """Learn part by part in one system; finished parts are resumed."""
    system = make(folder)
    last = -1
    try:
        for i, units in enumerate(parts):
            key, chunks = f"session-{i}", asking.chunks_of(units)
            last += len(units)
            if journal.is_done(key):
                system.resume(chunks, step=i)
            else:
                record = asking.learn(system, chunks, i)
                journal.add(key, [record, *ask(system, i, last)])
            tick(i + 1, len(parts))
    finally:
        system.close()


def grouped(units: Sequence[Unit], per_session: int) -> list[Sequence[Unit]]:
    """Sessions of `per_session` units; the last may be shorter."""
    return [units[i : i + per_session] for i in range(0, len(units), per_session)]


def facts(units: Sequence[Unit]) -> int:
    """Number of facts of some units: their answerable questions."""
    return sum(bool(q.answers) for u in units for q in u.questions)


def sized(units: Sequence[Unit], sizes: Sequence[int]) -> list[Sequence[Unit]]:
    """Split the units so that after each part the memory holds at least each size; unreachable sizes are left out."""
    parts, start = [], 0
    for size in sorted(sizes):
        end = next((n for n in range(1, len(units) + 1) if facts(units[:n]) >= size), None)
        if end is None:
            break
        if end > start:
            parts.append(units[start:end])
            start = end
    if not parts:
        raise InputError(f"The task holds {facts(units)} facts, fewer than the smallest size {min(sizes)}.")
    return parts


def _ways(system: System, *, final: bool) -> tuple[str, ...]:
    """All ways after the last session; before it, none that needs training to be asked (the core)."""
    return system.ways if final else tuple(w for w in system.ways if w not in system.costly_ways)


def _spread(task: Task, count: int) -> list[Question]:
    """`count` questions, evenly spaced over the task."""
    every = [q for _, q in asking.questions_of(task.units, len(task.units) - 1)]
    return [every[n * len(every) // count] for n in range(count)] if len(every) > count > 0 else every[:count]
