"""Turns at the model: one batch at a time, and who answers goes before who trains.

`PriorityLock` is a re-entrant lock with two ranks. A thread that works in the background (inside `behind`) takes it
only while nobody else waits, and offers it between two steps (`give_way`), so that an answer waits for one step of
training and not for all of it. Foreground training takes its turns behind answers as well (`step`).

Not here: what runs in a turn, and who trains at all (`ledger.jobs`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

LOOK_UP = 0.25  # seconds between two looks at `check` while a background thread waits for its turn

Check = Callable[[], None]


class BackgroundHold:
    """One thread's stay in the background: `seconds` is how long it has held the turn so far."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.seconds = 0.0


class PriorityLock:
    """The lock. `with turns:` takes it at the thread's own rank."""

    def __init__(self, *, timer: Callable[[], float] = time.perf_counter) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._owner: int | None = None
        self._depth = 0
        self._ahead = 0  # how many wait who go before training
        self._local = threading.local()
        self._timer = timer
        self._since = 0.0

    def __enter__(self) -> PriorityLock:
        self._take(behind=self._background() is not None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    @contextmanager
    def behind(self, check: Check) -> Iterator[BackgroundHold]:
        """Inside, this thread lets all others go first.

        `check` is called before each of its turns and where it gives way; what it raises ends the work there.
        """
        before, stay = self._background(), BackgroundHold(check)
        self._local.stay = stay
        try:
            yield stay
        finally:
            self._local.stay = before

    @contextmanager
    def step(self) -> Iterator[None]:
        """One step of training: a turn behind all who answer, whoever trains."""
        self._take(behind=True)
        try:
            yield
        finally:
            self._leave()

    def give_way(self) -> None:
        """Called by the holder between two steps; a background thread lets those ahead go first. Else nothing."""
        stay = self._background()
        if stay is None or self._owner != threading.get_ident():
            return
        stay.check()
        if self._ahead:
            depth = self._depth
            self._release()
            try:
                self._take(behind=True)
            finally:  # also when `check` ends the work: the blocks around it leave what they took
                self._take_again(depth)

    def _background(self) -> BackgroundHold | None:
        stay: BackgroundHold | None = getattr(self._local, "stay", None)
        return stay

    def _take(self, *, behind: bool) -> None:
        me = threading.get_ident()
        if self._owner == me:
            self._depth += 1
            return
        stay = self._background()
        if stay is not None:
            stay.check()
        with self._changed:
            if behind:
                while self._owner is not None or self._ahead:
                    self._wait(stay)
            else:
                self._wait_ahead()
            self._own(me, 1)

    def _wait(self, stay: BackgroundHold | None) -> None:
        """Until something changes; a background thread looks up now and then."""
        self._changed.wait(LOOK_UP)
        if stay is not None:
            self._changed.release()
            try:
                stay.check()
            finally:
                self._changed.acquire()

    def _wait_ahead(self) -> None:
        self._ahead += 1
        try:
            while self._owner is not None:
                self._changed.wait()
        finally:
            self._ahead -= 1
            self._changed.notify_all()

    def _own(self, me: int, depth: int) -> None:
        self._owner, self._depth, self._since = me, depth, self._timer()

    def _take_again(self, depth: int) -> None:
        me = threading.get_ident()
        with self._changed:
            while self._owner not in (None, me):
                self._changed.wait()
            self._own(me, depth)

    def _leave(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._release()

    def _release(self) -> None:
        stay = self._background()
        if stay is not None:
            stay.seconds += self._timer() - self._since
        with self._changed:
            self._owner, self._depth = None, 0
            self._changed.notify_all()
