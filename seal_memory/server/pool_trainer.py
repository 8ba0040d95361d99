"""A background trainer for all namespaces of a pool: one thread that does their jobs in turn, answers first.

Not here: one namespace's jobs (`worker`), how answers go first (`engines.turns`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from seal_memory.errors import InputError
from seal_memory.pool import MemoryPool
from seal_memory.records import JobState
from seal_memory.training.worker import Worker

logger = logging.getLogger(__name__)

OnJob = Callable[[str, str, JobState], None]  # (namespace, kind, how it ended)


class PoolTrainer:
    """Works while it runs; `stop` hands back what is not finished within a step of training.

    `asked_only`: does the jobs that somebody queued, and starts none for what is pending or due. `rest` seconds pass
    between two looks for work.
    """

    def __init__(
        self,
        pool: MemoryPool,
        *,
        asked_only: bool = False,
        clock: Callable[[], float] = time.time,
        rest: float = 2.0,
        on_job: OnJob = lambda namespace, kind, state: None,
    ) -> None:
        if not rest > 0:
            raise InputError(f"rest is {rest!r}, expected more than 0 seconds.")
        self._pool, self._asked_only, self._clock, self._rest, self._on_job = pool, asked_only, clock, rest, on_job
        self._stop, self._wake = threading.Event(), threading.Event()
        self._worker: Worker | None = None
        self._thread = threading.Thread(target=self._run, name="seal-memory-pool-trainer", daemon=True)

    def start(self) -> None:
        """Begin; once only."""
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    def stop(self, timeout: float | None = None) -> bool:
        """End soon; False when `timeout` seconds were not enough."""
        self.stop_soon()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self.running

    def stop_soon(self) -> None:
        """Ask it to end, and wait for nothing: what a signal handler may call."""
        self._stop.set()
        self._wake.set()
        worker = self._worker
        if worker is not None:
            worker.stop()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            if not self._round() and not self._stop.is_set():
                self._wake.wait(self._rest)

    def _round(self) -> bool:
        """One job of each namespace that has any; whether there was one."""
        try:
            waiting = self._pool.with_work(asked_only=self._asked_only)
        except Exception as error:  # noqa: BLE001 (it must not end the training of all)
            logger.error("the trainer met %s; it goes on after a rest", type(error).__name__)
            return False
        did = False
        for namespace in waiting:
            try:
                did = self._one(namespace) or did
            except Exception as error:  # noqa: BLE001 (one namespace's trouble must not keep the others waiting)
                logger.error("the trainer met %s in one namespace; it goes on", type(error).__name__)
        return did

    def _one(self, namespace: str) -> bool:
        with self._pool.memory(namespace) as memory:
            self._worker = worker = Worker(memory, clock=self._clock, plans=not self._asked_only)
            try:
                if self._stop.is_set():  # asked before there was a worker to tell
                    return False
                job = worker.step()
            finally:
                self._worker = None
            if job is None:
                return False
            if job.state is JobState.DONE:
                worker.plan()  # a sleep or a round of refining that is due now: `with_work` sees only what is queued
            self._on_job(namespace, job.kind, job.state)
        return job.state is not JobState.QUEUED
