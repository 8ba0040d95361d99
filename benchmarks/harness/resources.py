"""Peak resident memory of this process: of a block (sampled by a thread) or of its whole life."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.05  # seconds


@dataclass(slots=True)
class Peak:
    """Peak resident memory in bytes, including the base model and Python."""

    bytes: int = 0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Sample this process's memory until the block ends."""
    process, peak, stop = psutil.Process(), Peak(), threading.Event()

    def watch() -> None:
        while not stop.is_set():
            peak.bytes = max(peak.bytes, process.memory_info().rss)
            stop.wait(INTERVAL)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        peak.bytes = max(peak.bytes, process.memory_info().rss)


def peak_resident_bytes() -> int:
    """Peak resident memory of this process in bytes, as counted by the system.

    On Linux reads `VmHWM`: `ru_maxrss` starts with the parent's memory at the fork.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)
