"""Streaming: run blocking work in a thread and send its text as server-sent events (`data: {...}`, `data: [DONE]`).

The work stops at its next token when the client disconnects. Not here: the events' contents (`openai_format`).
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
from seal_memory.server.errors import body_of, client_message, status_of, unexpected

T = TypeVar("T")
DONE = b"data: [DONE]\n\n"


class ClientGone(Exception):
    """Raised inside the work when the client disconnected; stops it. Not an error."""


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, allow_nan=False)}\n\n".encode()


def error_event(error: Exception, request_id: str) -> bytes:
    """The event that reports an error inside a stream, after the HTTP status was sent."""
    if isinstance(error, SealMemoryError):
        status, code, _ = status_of(error)
        return event(body_of(status, code, client_message(error)))
    return event(unexpected(error, request_id))


class StreamedWork(Generic[T]):
    """Work in a thread that yields text: iterate `pieces()` for (choice index, text), then read `result`.

    Starts at once. `pieces` and `result` raise the work's own exception.
    """

    def __init__(self, threads: Executor, work: Callable[[OnText], T]) -> None:
        self._gone = threading.Event()
        self._reason: Exception = ClientGone()
        self._queue: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._done = self._loop.run_in_executor(threads, self._run, work)
        self._done.add_done_callback(lambda f: f.cancelled() or f.exception())  # mark as retrieved: no warning

    @property
    def result(self) -> T:
        return self._done.result()

    async def pieces(self) -> AsyncIterator[tuple[int, str]]:
        while (piece := await self._queue.get()) is not None:
            yield piece
        if self._gone.is_set() and not self._done.done():
            raise self._reason
        await self._done

    def cancel(self, reason: Exception | None = None) -> None:
        """Stop the work at its next token, and `pieces` at once; both raise `reason`, or `ClientGone`."""
        if not self._gone.is_set():
            self._reason = reason or ClientGone()
            self._gone.set()
            self._put(None)

    def _run(self, work: Callable[[OnText], T]) -> T:
        try:
            return work(self._on_text)
        finally:
            self._put(None)

    def _on_text(self, choice: int, piece: str) -> None:
        if self._gone.is_set():
            raise self._reason
        if piece:
            self._put((choice, piece))

    def _put(self, item: tuple[int, str] | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
