"""Blocking work in a thread, and its pieces as server-sent events: `data: {...}`, at the end `data: [DONE]`.

A client that goes away ends the work at its next token. Not here: what the events hold.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from seal_memory.engines.base import OnText
from seal_memory.errors import SealMemoryError
from seal_memory.server.errors import body_of, status_of, told, unexpected

T = TypeVar("T")
DONE = b"data: [DONE]\n\n"


class ClientGone(Exception):
    """Nobody listens any more: ends the work where it is. Not an error."""


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, allow_nan=False)}\n\n".encode()


def failed(error: Exception, request_id: str) -> bytes:
    """The event that tells of an error in a stream, whose status was sent long ago."""
    if isinstance(error, SealMemoryError):
        status, code, _ = status_of(error)
        return event(body_of(status, code, told(error)))
    return event(unexpected(error, request_id))


class StreamedWork(Generic[T]):
    """Work that speaks, begun at once: iterate over (choice, piece); then `result` is there. Raises what it raised."""

    def __init__(self, threads: Executor, work: Callable[[OnText], T]) -> None:
        self._gone = threading.Event()
        self._said: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._done = self._loop.run_in_executor(threads, self._run, work)
        self._done.add_done_callback(lambda f: f.cancelled() or f.exception())  # somebody looked: no warning

    @property
    def result(self) -> T:
        return self._done.result()

    async def pieces(self) -> AsyncIterator[tuple[int, str]]:
        while (piece := await self._said.get()) is not None:
            yield piece
        await self._done

    def leave(self) -> None:
        """Listen no more: what still runs ends at its next token."""
        self._gone.set()

    def _run(self, work: Callable[[OnText], T]) -> T:
        try:
            return work(self._listen)
        finally:
            self._tell(None)

    def _listen(self, choice: int, piece: str) -> None:
        if self._gone.is_set():
            raise ClientGone
        if piece:
            self._tell((choice, piece))

    def _tell(self, said: tuple[int, str] | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._said.put_nowait, said)
