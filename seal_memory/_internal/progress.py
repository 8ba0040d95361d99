"""Progress reporting between the floors: a callable, so that no room below the CLI draws anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Called with the phase's name and how much of it is done, in units of that phase."""

    def __call__(self, phase: str, done: int, total: int) -> None: ...


def silent(phase: str, done: int, total: int) -> None:
    """Shows nothing."""


def beating(progress: Progress, heartbeat: Callable[[], None]) -> Progress:
    """Progress that renews the lease too: a killed trainer's lease runs out, a busy one's does not."""

    def report(phase: str, done: int, total: int) -> None:
        heartbeat()
        progress(phase, done, total)

    return report
