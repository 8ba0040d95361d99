"""Several blocking iterators as one, each read in a thread of its own. Not here: what they iterate over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
Maker = Callable[[], Generator[T, None, None]]
_Told = SimpleQueue[tuple[int, list[T], Exception | None]]


def merged(makers: Sequence[Maker[T]], threads: Executor) -> Iterator[tuple[int, T]]:
    """(which, item) as they come; a single one is read in the caller's own thread.

    What one raises ends all and is raised here. Who stops listening closes the iterators at their next item.
    """
    if len(makers) == 1:
        with closing(makers[0]()) as items:
            for item in items:
                yield 0, item
        return
    told: _Told[T] = SimpleQueue()
    over = threading.Event()
    try:
        for n, make in enumerate(makers):
            threads.submit(_read, n, make, told, over)
        left = len(makers)
        while left:
            n, found, error = told.get()
            if error is not None:
                raise error
            left -= not found
            for item in found:
                yield n, item
    finally:
        over.set()


def _read(n: int, make: Maker[T], told: _Told[T], over: threading.Event) -> None:
    """Tells each item of one iterator, then its end: an empty list, or what it raised."""
    try:
        if not over.is_set():
            with closing(make()) as items:
                for item in items:
                    if over.is_set():
                        return
                    told.put((n, [item], None))
        told.put((n, [], None))
    except Exception as error:  # noqa: BLE001 (raised to who listens)
        told.put((n, [], error))
