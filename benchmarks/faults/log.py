"""The write-ahead log while readers in other processes overlap, so that there is no moment without one.

Not here: a reader that never ends; then the log grows until it does.
"""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

from seal_memory.ledger import Ledger
from seal_memory.records import NewInteraction

SECONDS, FULL_SECONDS = 8.0, 45.0
READERS = 4
READ_SECONDS = 0.2  # of one read
BAR = 32 << 20  # bytes: `LOG_LIMIT` and room for one failed try; 324 MB in 45 s before commits emptied the log


def replay(folder: Path, *, model: str, full: bool) -> dict[str, Any]:
    """Passes where the log never exceeds `BAR`."""
    seconds = FULL_SECONDS if full else SECONDS
    context = multiprocessing.get_context("spawn")
    with Ledger.open(folder) as ledger:
        readers = [context.Process(target=read, args=(str(folder), seconds + 5.0)) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        time.sleep(2.0)
        longest, written, slowest, end = 0, 0, 0.0, time.monotonic() + seconds
        log = folder / "ledger.sqlite-wal"
        while time.monotonic() < end:
            began = time.monotonic()
            texts = [f"{written} {n} " + "the harbour master counts barrels " * 120 for n in range(50)]
            ledger.observe([NewInteraction(text) for text in texts])
            slowest = max(slowest, time.monotonic() - began)
            written += sum(map(len, texts))
            longest = max(longest, log.stat().st_size)
        for reader in readers:
            reader.kill()
            reader.join()
    return {
        "seconds": seconds, "readers": READERS, "written_mb": round(written / 1e6), "log_mb": round(longest / 1e6, 1),
        "slowest_write_seconds": round(slowest, 2), "passed": longest <= BAR,
    }  # fmt: skip


def read(folder: str, seconds: float) -> None:
    """Reads of `READ_SECONDS` each, one after another."""
    end = time.monotonic() + seconds
    with Ledger.open(Path(folder)) as ledger:
        while time.monotonic() < end:
            with ledger._scope.connection.reading():
                ledger.counts()
                time.sleep(READ_SECONDS)
