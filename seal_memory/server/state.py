"""Shared state of one server: limits, rate limiter, request slots, threads, progress.

Not here: building it (`app`), the routes that use it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import Request

from seal_memory.pool import MemoryPool
from seal_memory.records import JobState
from seal_memory.server.errors import ApiError
from seal_memory.server.keys import KeyStore
from seal_memory.server.metrics import Metrics
from seal_memory.server.pool_trainer import PoolTrainer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one server. `rate`: requests a minute per key (0: unlimited); up to `burst` of them at once.

    `waiting`: requests that use or wait for the model. `export_bytes`: of one export. `stop_seconds`: time for running
    requests to finish at shutdown.
    """

    body_bytes: int = 1 << 20
    rate: float = 600.0
    burst: int = 60
    waiting: int = 64
    export_bytes: int = 4 << 30
    stop_seconds: float = 20.0


class RateLimiter:
    """A token bucket for each key."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock, self._lock = limits, clock, threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}  # key id -> (requests left, when)

    def take(self, key_id: str) -> None:
        """Count a request. Raises `ApiError` (429) with the seconds to wait when the key has none left."""
        if not self._limits.rate:
            return
        a_second = self._limits.rate / 60
        with self._lock:
            now = self._clock()
            left, before = self._left.get(key_id, (float(self._limits.burst), now))
            left = min(float(self._limits.burst), left + (now - before) * a_second)
            self._left[key_id] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            raise ApiError(
                429,
                "rate_limit_exceeded",
                f"Rate limit: {self._limits.rate:g} requests a minute per key; try again later.",
                retry_after=(1 - left) / a_second,
            )


class RequestSlots:
    """Bounds the number of requests that use or wait for the model."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit, self._lock, self._taken, self._metrics = limit, threading.Lock(), 0, metrics

    def take(self) -> None:
        """Take a slot; release it with `free`. Raises `ApiError` (503) when all are taken."""
        with self._lock:
            if self._taken >= self._limit:
                raise ApiError(
                    503, "overloaded", f"{self._limit} requests are already waiting; try again soon.", retry_after=1.0
                )
            self._taken += 1
        self._metrics.waiting.inc()

    def free(self) -> None:
        self._metrics.waiting.dec()
        with self._lock:
            self._taken -= 1

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot inside the block. Raises like `take`."""
        self.take()
        try:
            yield
        finally:
            self.free()


@dataclass(slots=True)
class Server:
    """One running server. `name`: the model's name for clients. `mode`: the default answer mode.

    `namespace`: the default of requests without a key.
    """

    pool: MemoryPool
    keys: KeyStore
    limits: Limits
    metrics: Metrics
    rates: RateLimiter
    slots: RequestSlots
    threads: ThreadPoolExecutor
    trainer: PoolTrainer | None
    name: str
    mode: str
    namespace: str
    clock: Callable[[], float]
    stopping: threading.Event = field(default_factory=threading.Event)
    progress: dict[str, tuple[str, int, int]] = field(default_factory=dict)  # namespace -> phase, done, total

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work in one of the server's threads."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    def job_ended(self, namespace: str, kind: str, state: JobState) -> None:
        """Count an ended job and clear its progress."""
        self.metrics.jobs.labels(kind, state.value).inc()
        self.progress.pop(namespace, None)

    def stop_soon(self) -> None:
        """Begin the shutdown: end event streams and training; running requests finish."""
        self.stopping.set()
        if self.trainer is not None:
            self.trainer.stop_soon()


def server_of(request: Request) -> Server:
    """The `Server` of a request's app."""
    server: Server = request.app.state.server
    return server
