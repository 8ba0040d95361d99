"""Background trainer for all namespaces of a pool: one thread that runs their jobs in turn; answers have priority.

In each round every namespace with work gets one turn: a short job, or a part of a long one (`training.worker`). So one
text waits for a turn of each other namespace, never for a backlog.

Not here: one namespace's jobs (`training.worker`), priority of answers (`engines.priority_lock`).
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
    """Runs jobs until stopped; `stop` hands an unfinished job back within one training step.

    `asked_only`: run only queued jobs; start none for pending interactions or due audits. `poll_seconds`: time between
    two checks for work. Raises `InputError` unless it is positive.
    """

    def __init__(
        self,
        pool: MemoryPool,
        *,
        asked_only: bool = False,
        clock: Callable[[], float] = time.time,
        poll_seconds: float = 2.0,
        on_job: OnJob = lambda namespace, kind, state: None,
    ) -> None:
        if not poll_seconds > 0:
            raise InputError(f"poll_seconds is {poll_seconds!r}, expected more than 0 seconds.")
        self._pool, self._asked_only, self._clock = pool, asked_only, clock
        self._poll_seconds, self._on_job = poll_seconds, on_job
        self._stop, self._wake = threading.Event(), threading.Event()
        self._worker: Worker | None = None
        self._thread = threading.Thread(target=self._run, name="seal-memory-pool-trainer", daemon=True)

    def start(self) -> None:
        """Start the thread; call once."""
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wake(self) -> None:
        """Check for work now."""
        self._wake.set()

    def stop(self, timeout: float | None = None) -> bool:
        """Stop and wait; False if it still runs after `timeout` seconds."""
        self.stop_soon()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self.running

    def stop_soon(self) -> None:
        """Request the stop without waiting; safe in a signal handler."""
        self._stop.set()
        self._wake.set()
        worker = self._worker
        if worker is not None:
            worker.stop()

    def _run(self) -> None:
        self._guarded(self._pool.revive_jobs)
        while not self._stop.is_set():
            self._wake.clear()
            self._guarded(self._pool.retry_wipe)
            if not self._round() and not self._stop.is_set():
                self._wake.wait(self._poll_seconds)

    def _guarded(self, task: Callable[[], object]) -> None:
        try:
            task()
        except Exception as error:  # noqa: BLE001 (an error must not end the training of all)
            logger.error("the trainer caught %s; it retries later", type(error).__name__)

    def _round(self) -> bool:
        """Run one job of each namespace that has work; whether any ran."""
        try:
            waiting = self._pool.with_work(asked_only=self._asked_only)
        except Exception as error:  # noqa: BLE001 (an error must not end the training of all)
            logger.error("the trainer caught %s; it retries later", type(error).__name__)
            return False
        did = False
        for namespace in waiting:
            try:
                did = self._step(namespace) or did
            except Exception as error:  # noqa: BLE001 (one namespace's error must not block the others)
                logger.error("the trainer caught %s in one namespace; it continues", type(error).__name__)
        return did

    def _step(self, namespace: str) -> bool:
        """Run one job of a namespace, or a part; False if there was none or it was handed back undone."""

        def others_wait() -> bool:
            return any(name != namespace for name in self._pool.with_work(asked_only=self._asked_only))

        with self._pool.memory(namespace) as memory:
            self._worker = worker = Worker(
                memory, clock=self._clock, plans=not self._asked_only, others_wait=others_wait
            )
            try:
                if self._stop.is_set():  # stopped before the worker existed
                    return False
                job = worker.step()
            finally:
                self._worker = None
            if job is None:
                return False
            if job.state is JobState.DONE:
                worker.plan()  # queue a due sleep or refining round: `with_work` sees only queued jobs
            if worker.goes_on(job) and not worker.stopping:
                return True
            self._on_job(namespace, job.kind, job.state)
        return job.state is not JobState.QUEUED
