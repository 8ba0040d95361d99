"""Progress reports as a callable, so that only the CLI draws anything. Not here: progress bars (`cli`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """A callback with a phase's name, and how much of it is done of how much, in units of that phase."""

    def __call__(self, phase: str, done: int, total: int) -> None: ...


def silent(phase: str, done: int, total: int) -> None:
    """Ignore the report."""


def with_heartbeat(progress: Progress, heartbeat: Callable[[], None]) -> Progress:
    """Progress that renews the trainer's lease too, so that only a killed trainer's lease expires."""

    def report(phase: str, done: int, total: int) -> None:
        heartbeat()
        progress(phase, done, total)

    return report
