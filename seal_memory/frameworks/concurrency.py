"""Thread-safe and async calls of a memory: `thread_safe` for threads, `call_in_thread` for an event loop.

Any thread may call any verb even without these: the ledger's connection has a lock, the model loads once, and the
engine serves one caller after another. But of two threads that consolidate at once the second would get `BusyError`, as
if it were another process. With `thread_safe` it waits.

Not here: what the verbs do; other processes (they get `BusyError`); cancelling: a cancelled `await call_in_thread(...)`
stops waiting, but the thread finishes its verb.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["call_in_thread", "stream_from_thread", "thread_safe"]

_TRAINING = frozenset({"consolidate", "refine", "sleep"})

_guard = threading.Lock()
_change_locks: WeakKeyDictionary[Any, threading.RLock] = WeakKeyDictionary()  # one per memory


def thread_safe(verb: Callable[P, T]) -> Callable[P, T]:
    """Make a bound verb of a memory (`memory.ask`) safe to call from any number of threads at once.

    Verbs that train wait for each other; all others run concurrently.
    """

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        memory, name = getattr(verb, "__self__", None), getattr(verb, "__name__", "")
        with _lock_for(memory, name):
            return verb(*args, **kwargs)

    return run


async def call_in_thread(verb: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a bound verb of a memory, or any other function, in a thread, so that the event loop goes on.

    Raises what the verb raises. Context variables are passed along.
    """
    return await asyncio.to_thread(thread_safe(verb), *args, **kwargs)


def _lock_for(memory: Any, name: str) -> AbstractContextManager[object]:
    if memory is None or name not in _TRAINING:
        return nullcontext()
    with _guard:
        return _change_locks.setdefault(memory, threading.RLock())


class _ListenerGone(Exception):
    """The consumer of `stream_from_thread` has stopped: ends the work."""


def stream_from_thread(work: Callable[[Callable[[str], None]], T]) -> Iterator[str | T]:
    """Run `work(on_text)` in a thread; yield each piece that it reports, then its result.

    A consumer that stops early ends the work at its next piece. Raises what `work` raises.
    """
    pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stopped = threading.Event()

    def on_text(piece: str) -> None:
        if stopped.is_set():
            raise _ListenerGone
        pieces.put(piece)

    with ThreadPoolExecutor(1, "seal-memory-stream") as pool:
        try:
            working = pool.submit(work, on_text)
            working.add_done_callback(lambda _: pieces.put(None))
            while (piece := pieces.get()) is not None:
                yield piece
            yield working.result()
        finally:
            stopped.set()
