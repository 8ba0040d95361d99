"""Merges several blocking iterators, each read in a thread of its own. Not here: their items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
Maker = Callable[[], Generator[T, None, None]]
_Queue = SimpleQueue[tuple[int, list[T], Exception | None]]


def merge(makers: Sequence[Maker[T]], threads: Executor) -> Iterator[tuple[int, T]]:
    """Yield (iterator index, item) as items arrive; a single iterator is read in the caller's thread.

    An exception in one ends all and is raised here. Closing the result closes the iterators at their next item.
    """
    if len(makers) == 1:
        with closing(makers[0]()) as items:
            for item in items:
                yield 0, item
        return
    queue: _Queue[T] = SimpleQueue()
    stopped = threading.Event()
    try:
        for n, make in enumerate(makers):
            threads.submit(_read, n, make, queue, stopped)
        left = len(makers)
        while left:
            n, batch, error = queue.get()
            if error is not None:
                raise error
            left -= not batch
            for item in batch:
                yield n, item
    finally:
        stopped.set()


def _read(n: int, make: Maker[T], queue: _Queue[T], stopped: threading.Event) -> None:
    """Queue each item of one iterator, then its end: an empty list, or its exception."""
    try:
        if not stopped.is_set():
            with closing(make()) as items:
                for item in items:
                    if stopped.is_set():
                        return
                    queue.put((n, [item], None))
        queue.put((n, [], None))
    except Exception as error:  # noqa: BLE001 (raised in `merge`)
        queue.put((n, [], error))
