"""A process with `start_background`, killed with SIGKILL at random moments until it has been killed often enough.

Not here: a worker's process (`benchmarks.worker_kills`), kills at named points of publishing (tests/test_crash.py).
"""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

from benchmarks.worker_kills import PRELOAD, SETTINGS, facts
from seal_memory import SealMemory, Settings
from seal_memory.records import Status

KILLS, FULL_KILLS = 8, 60
LONGEST = 1800.0  # seconds of the last start, which nobody kills


def replay(folder: Path, *, model: str, full: bool) -> dict[str, Any]:
    """Passes where no job was given up and every text is decided on in the end."""
    kills, chance = FULL_KILLS if full else KILLS, random.Random(0)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with SealMemory.open(folder, model=model, settings=Settings(**SETTINGS)) as memory:
        for session in range(max(1, kills // 4)):
            for text, question, answer in facts(session):
                (seen,) = memory.observe(text, session=f"session {session}")
                memory.add_quiz([(question, answer)], interaction_ids=[seen.id])
    began, done = time.monotonic(), 0
    for _ in range(kills):
        child = context.Process(target=learn, args=(str(folder), model, False))
        child.start()
        child.join(chance.uniform(1.0, 8.0))
        if child.is_alive():
            child.kill()
            child.join()
            done += 1
    last = context.Process(target=learn, args=(str(folder), model, True))
    last.start()
    last.join(LONGEST)
    if last.is_alive():
        last.kill()
    with SealMemory.open(folder, model=model, settings=Settings(**SETTINGS)) as memory:
        pending, dead = memory.ledger.counts()[Status.PENDING], len(memory.status().dead)
        known = {a.id for a in memory.ledger.adapters()}
        leftovers = len(set(memory.store.ids()) - known)
    passed = not pending and not dead and not leftovers and last.exitcode == 0
    seconds = round(time.monotonic() - began, 1)
    return {
        "kills": done,
        "pending": pending,
        "dead": dead,
        "leftovers": leftovers,
        "seconds": seconds,
        "passed": passed,
    }


def learn(folder: str, model: str, whole: bool) -> None:
    """A process that learns in the background; the last one ends when `wait_idle` says that all is done."""
    import torch

    torch.set_num_threads(1)
    with (
        SealMemory.open(folder, model=model, settings=Settings(**SETTINGS)) as memory,
        memory.start_background(poll_seconds=0.1) as background,
    ):
        if not whole:
            time.sleep(3600)
        if not background.wait_idle(LONGEST):
            raise SystemExit(2)
