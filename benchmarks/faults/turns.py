"""One text in a namespace beside another namespace's backlog, trained by one server's thread.

Not here: how long a turn takes on other hardware; the bar counts turns.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.worker_kills import SETTINGS
from seal_memory import Settings
from seal_memory.pool import MemoryPool
from seal_memory.records import Status
from seal_memory.server.pool_trainer import PoolTrainer

BACKLOG, FULL_BACKLOG = 48, 1000
TURN_TEXTS = 16  # the default stack


def replay(folder: Path, *, model: str, full: bool) -> dict[str, Any]:
    """Passes where the one text is decided on before the backlog has had a third turn."""
    count, done = FULL_BACKLOG if full else BACKLOG, threading.Event()
    with MemoryPool(folder, model=model, settings=Settings(**SETTINGS)) as pool:
        with pool.memory("a") as memory:
            for n in range(count):
                memory.observe(f"Maud Ellery keeps the lantern number {n} in drawer {n + 7}.", session=str(n))
        pool.engine  # noqa: B018 (loads: not counted)
        trainer = PoolTrainer(
            pool, poll_seconds=0.05, on_job=lambda name, kind, state: done.set() if name == "b" else None
        )
        began = time.monotonic()
        trainer.start()
        with pool.memory("a") as memory, pool.memory("b") as other:
            while memory.ledger.counts()[Status.PENDING] == count and not memory.ledger.queue.jobs():
                time.sleep(0.01)  # the backlog's first turn has begun
            other.observe("Tomas Lindqvist keeps the report in drawer 12.")
            asked = time.monotonic()
            done.wait(3600)
            waited, left = time.monotonic() - asked, memory.ledger.counts()[Status.PENDING]
        trainer.stop(600)
    turns = (count - left) / TURN_TEXTS
    return {
        "backlog": count, "left": left, "turns": turns, "waited_seconds": round(waited, 1),
        "seconds": round(time.monotonic() - began, 1), "passed": turns <= 2,
    }  # fmt: skip
