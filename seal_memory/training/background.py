"""Background trainer in a thread of this process: `SealMemory.start_background()` returns its handle.

The thread shares the memory's engine, ledger and model; answers go before training (`engines.priority_lock`).
Not here: the work itself (`worker`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from seal_memory.errors import InputError, SealMemoryError
from seal_memory.training.worker import Worker, WorkerMemory

logger = logging.getLogger(__name__)


def start(
    memory: WorkerMemory, running: Background | None, *, clock: Callable[[], float], poll_seconds: float
) -> Background:
    """Start a memory's background trainer. Raises `InputError` while `running` runs."""
    if running is not None and running.running:
        raise InputError("This memory's background trainer runs already; stop it first, or use its handle.")
    return Background(memory, clock=clock, poll_seconds=poll_seconds)


class Background:
    """A running background trainer. Stop it, use it in `with`, or close the memory."""

    def __init__(self, memory: WorkerMemory, *, clock: Callable[[], float], poll_seconds: float) -> None:
        self._worker = Worker(memory, clock=clock, poll_seconds=poll_seconds)
        self._given_up = False
        self._changed = threading.Condition()
        self._asked = self._seen = self._idle_for = (
            0  # an idle moment counts only for calls of wait_idle before its step
        )
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="seal-memory-background", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def error(self) -> Exception | None:
        """The exception that ended the trainer; None after `stop`. A failed job does not end it (see `status`)."""
        return self._error

    def stop(self, timeout: float | None = None) -> bool:
        """End after the step (or loading) under way; an unfinished job is handed back. False: `timeout` ran out."""
        self._worker.stop()
        self._thread.join(timeout)
        return not self.running

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until all work is done; a failing job is waited for until its last attempt.

        False when `timeout` seconds ran out, or interactions are pending whose job was given up (see `status`). Raises
        the exception that ended the trainer, or `SealMemoryError` when it was stopped.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._asked += 1
            mine = self._asked
            self._worker.wake()
            while self._idle_for < mine:
                if not self.running:
                    raise self._error or SealMemoryError(
                        "The background trainer has ended; start it again with start_background()."
                    )
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(1.0 if left is None else min(1.0, left))
            return not self._given_up

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            self._worker.run(idle=self._idle)
        except Exception as error:  # noqa: BLE001 (kept for wait_idle, which raises it)
            self._error = error
            logger.error("the background trainer has ended: %s", type(error).__name__)
        with self._changed:
            self._changed.notify_all()

    def _idle(self) -> None:
        waits, given_up = self._worker.left()
        if waits:
            return
        with self._changed:
            if self._seen != self._asked:  # asked during this step: look for work once more
                self._seen = self._asked
                self._worker.wake()
                return
            self._idle_for, self._given_up = self._asked, given_up
            self._changed.notify_all()
