"""Notes for an upstream: what this memory says, closed book, about a conversation, before another model answers it.

Whatever happens here, the chat goes on without a note, and `seal_memory_upstream_notes_total` counts why: "silent" (it
knows nothing, or is not sure), "loading", "busy", "late", "failed". Not here: asking the upstream (`relay`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from seal_memory.errors import InputError
from seal_memory.intake.messages import parse_message
from seal_memory.memory import SealMemory
from seal_memory.pool import MemoryPool
from seal_memory.records import Role
from seal_memory.server.metrics import Metrics

logger = logging.getLogger(__name__)

NOTE_SECONDS = 10.0  # after them a chat goes on without
NOTES_AT_ONCE = 16  # requests that make notes; half of a batch of the engine

Messages = Sequence[Mapping[str, Any]]


def notes_for(memory: SealMemory, messages: Messages) -> list[str]:
    """What the memory's adapters recite about a conversation's last question; empty where they are not sure."""
    readable = list(_readable(messages))
    if not readable or readable[-1]["role"] not in (Role.USER.value, Role.TOOL.value):
        return []
    return list(memory.recollect(readable).texts)


class NoteTaker:
    """Makes notes in threads of its own, a bounded number at once and each for a bounded time."""

    def __init__(
        self, pool: MemoryPool, metrics: Metrics, *, seconds: float = NOTE_SECONDS, at_once: int = NOTES_AT_ONCE
    ) -> None:
        self._pool, self._metrics, self.seconds, self._at_once = pool, metrics, seconds, at_once
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="seal-memory-notes")
        self._running, self._lock = 0, threading.Lock()

    async def take(self, namespace: str, messages: Messages) -> list[str]:
        """The notes about a conversation; empty where none can be had in time. Never raises because of the memory."""
        began = time.perf_counter()
        notes, outcome = await self._take(namespace, messages)
        self._metrics.notes.labels(outcome).inc()
        self._metrics.note_seconds.observe(time.perf_counter() - began)
        return notes

    def close(self) -> None:
        """Let running notes finish; others are given up."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _take(self, namespace: str, messages: Messages) -> tuple[list[str], str]:
        with self._lock:
            if self._running >= self._at_once:
                return [], "busy"
            self._running += 1
        work = self._threads.submit(partial(self._make, namespace, messages))
        work.add_done_callback(self._ended)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), self.seconds)
        except TimeoutError:
            return [], "late"

    def _ended(self, _: Future[tuple[list[str], str]]) -> None:
        with self._lock:
            self._running -= 1

    def _make(self, namespace: str, messages: Messages) -> tuple[list[str], str]:
        try:
            if not self._pool.loaded:
                return [], "loading"
            with self._pool.memory(namespace) as memory:
                notes = notes_for(memory, messages)
        except Exception as error:  # another model's chat must not fail because of this memory
            logger.warning("no note for a chat (%s)", type(error).__name__)
            logger.debug("no note", exc_info=error)
            return [], "failed"
        return notes, "given" if notes else "silent"


def _readable(messages: Messages) -> Iterator[dict[str, str]]:
    """The messages that have text, as text; those of another shape are for the upstream alone."""
    for number, message in enumerate(messages):
        try:
            found = parse_message(message, f"message {number}")
        except InputError:
            continue
        if found.text.strip():
            yield {"role": found.role.value, "content": found.text}
