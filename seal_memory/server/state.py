"""Shared state of one server: limits, rate limiter, request slots, threads, progress.

Not here: building it (`app`), the routes that use it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import Request

from seal_memory.intake.recording import Recorder
from seal_memory.pool import MemoryPool
from seal_memory.records import JobState
from seal_memory.server.errors import ApiError
from seal_memory.server.keys import KeyStore
from seal_memory.server.metrics import Metrics
from seal_memory.server.pool_trainer import PoolTrainer
from seal_memory.server.sessions import WaitingSessions
from seal_memory.server.upstream import UpstreamServer

T = TypeVar("T")
NO_KEY = "-"  # the id of requests without a key
SHARE_ROWS = 16  # half of engines.batching.MAX_ROWS, whose module loads torch


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one server. `rate`: requests a minute per key (0: unlimited); up to `burst` of them at once.

    `waiting`: requests that use or wait for the model. `export_bytes`: of one export. `stop_seconds`: time for running
    requests to finish at shutdown. How much text a namespace may hold is the pool's (`MemoryPool(quota=…)`).
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
    """Bounds the number of requests that use or wait for the model; each key may take as many as it leaves free."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit, self._lock, self._metrics = limit, threading.Lock(), metrics
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._held.total()

    @contextmanager
    def slot(self, key_id: str) -> Iterator[None]:
        """Hold a slot inside the block. Raises `ApiError`: 503 when all are taken, 429 when the key has its share.

        A key's share is half the slots while it is alone, a third beside another such key, and so on: one that comes
        finds a slot. Requests without keys share them all.
        """
        self._take(key_id)
        self._metrics.waiting.inc()
        try:
            yield
        finally:
            self._metrics.waiting.dec()
            with self._lock:
                self._held[key_id] -= 1
                self._held += Counter()  # drops the zeros

    def _take(self, key_id: str) -> None:
        with self._lock:
            own, free = self._held[key_id], self._limit - self._held.total()
            if free <= 0:
                told = f"{self._limit} requests are already waiting; try again soon."
                raise ApiError(503, "overloaded", told, retry_after=1.0)
            if key_id != NO_KEY and own >= free:
                told = f"This key has {own} requests running or waiting, its share of {self._limit}; try again soon."
                raise ApiError(429, "key_share_exceeded", told, retry_after=1.0)
            self._held[key_id] += 1


class BatchShares:
    """Shares of the model's batch: while another key waits, a key has at most half a batch's answers under way."""

    def __init__(self, rows: int = SHARE_ROWS) -> None:
        self._rows, self._changed = rows, threading.Condition()
        self._held: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def rows(self, key_id: str, count: int) -> Iterator[None]:
        """Have `count` answers under way inside the block; waits where they exceed the key's share."""
        with self._changed:
            self._waiting[key_id] += 1
            self._changed.wait_for(lambda: self._fits(key_id, count))
            self._waiting[key_id] -= 1
            self._held[key_id] += count
        try:
            yield
        finally:
            with self._changed:
                self._held[key_id] -= count
                self._changed.notify_all()

    def _fits(self, key_id: str, count: int) -> bool:
        own = self._held[key_id]
        others = any(n for counts in (self._held, self._waiting) for key, n in counts.items() if key != key_id)
        return not own or not others or own + count <= self._rows


@dataclass(slots=True)
class Server:
    """One running server. `name`: the model's name for clients. `mode`: the default answer mode.

    `namespace`: the default of requests without a key. `origins`: other sites whose pages may use the API.
    `root_path`: the path under which a proxy serves it, "" or such as "/memory". `upstream`: the chat server that
    answers in this memory's place, if any.
    """

    pool: MemoryPool
    keys: KeyStore
    limits: Limits
    metrics: Metrics
    rates: RateLimiter
    slots: RequestSlots
    recorder: Recorder
    threads: ThreadPoolExecutor
    trainer: PoolTrainer | None
    name: str
    mode: str | None
    namespace: str
    clock: Callable[[], float]
    origins: Sequence[str] = ()
    root_path: str = ""
    upstream: UpstreamServer | None = None
    shares: BatchShares = field(default_factory=BatchShares)
    waiting_sessions: WaitingSessions = field(default_factory=WaitingSessions)
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
