"""Progress on standard error: bars on a terminal, else one line per long phase.

`Bars` is a callable (phase, done, total), passed to the memory as `progress`. It draws nothing before the first call,
and never writes to standard output. Not here: the phases (the modules that report them).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bars"]

MIN_LINE_SECONDS = 1.0  # a shorter phase prints no line


class Bars:
    """Shows the progress of phases. `live`: moving bars; else one line after each phase of over a second."""

    def __init__(self, *, live: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._live, self._clock = live, clock
        self._progress: Progress | None = None
        self._phase: str | None = None
        self._task: TaskID | None = None
        self._between: TaskID | None = None
        self._drawn: dict[str, TaskID] = {}
        self._began = 0.0

    @classmethod
    def for_terminal(cls, *, as_json: bool) -> Bars:
        """Live bars if standard error is a terminal and `--json` is off."""
        return cls(live=sys.stderr.isatty() and not as_json)

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Remove the bars from the screen; the next call starts new ones."""
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._phase, self._task, self._between = None, None, None, None
        self._drawn = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` units of `phase` are done."""
        if phase != self._phase:
            self._begin(phase, total)
        if self._task is not None and self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)
        if done >= total:
            self._end(f"{phase}: {done} of {total}")

    @contextmanager
    def step(self, label: str) -> Iterator[None]:
        """A spinner for work without a known length."""
        self._begin(label, None)
        try:
            yield
        finally:
            if self._phase == label:
                self._end(label, between=False)
            self.stop()

    def _begin(self, phase: str, total: int | None) -> None:
        self._phase, self._began = phase, self._clock()
        if not self._live:
            return
        bars = self._start_bars()
        self._drop_between()
        if phase in self._drawn:  # one bar for a repeated phase
            bars.remove_task(self._drawn[phase])
        self._task = self._drawn[phase] = bars.add_task(phase, total=total)

    def _end(self, line: str, *, between: bool = True) -> None:
        took = self._clock() - self._began
        self._phase, self._task = None, None
        if self._live:
            if between and self._between is None:  # grading and publishing take time but report nothing
                self._between = self._start_bars().add_task("working", total=None)
        elif took >= MIN_LINE_SECONDS:
            print(f"{line}, {took:.0f} s", file=sys.stderr, flush=True)

    def _drop_between(self) -> None:
        if self._between is not None and self._progress is not None:
            self._progress.remove_task(self._between)
        self._between = None

    def _start_bars(self) -> Progress:
        if self._progress is None:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
            )

            from seal_memory.cli.output import console

            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console(stderr=True),
                transient=True,
                redirect_stdout=False,  # standard output belongs to results
            )
            self._progress.start()
        return self._progress
