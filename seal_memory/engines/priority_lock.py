"""Priority lock on the model: one batch at a time, answers before training.

`PriorityLock` is a re-entrant lock with two ranks. A background thread (inside `background`) takes it only while nobody
else waits, and releases it between two steps (`give_way`), so that an answer waits for one training step, not for all
of them. Foreground training also waits behind answers (`step`).

Not here: the work done under the lock, and who may train (`ledger.jobs`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

CHECK_SECONDS = 0.25  # between two calls of `check` while a background thread waits

Check = Callable[[], None]


class BackgroundHold:
    """A thread's time in the background; `seconds`: how long it has held the lock so far."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.seconds = 0.0


class PriorityLock:
    """The lock. `with lock:` takes it at the thread's own rank."""

    def __init__(self, *, timer: Callable[[], float] = time.perf_counter) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._owner: int | None = None
        self._depth = 0
        self._waiting_ahead = 0  # waiting threads that go before training
        self._local = threading.local()
        self._timer = timer
        self._since = 0.0

    def __enter__(self) -> PriorityLock:
        self._acquire(low_priority=self._current_hold() is not None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release_one()

    @contextmanager
    def background(self, check: Check) -> Iterator[BackgroundHold]:
        """Inside, this thread has low priority.

        `check` is called before each acquisition, while waiting, and in `give_way`; an exception in it ends the work.
        """
        before, hold = self._current_hold(), BackgroundHold(check)
        self._local.hold = hold
        try:
            yield hold
        finally:
            self._local.hold = before

    @contextmanager
    def step(self) -> Iterator[None]:
        """One training step: acquires the lock at low priority in any thread."""
        self._acquire(low_priority=True)
        try:
            yield
        finally:
            self._release_one()

    def give_way(self) -> None:
        """Between two steps of the holder: a background thread lets waiting answers go first; others return at once."""
        hold = self._current_hold()
        if hold is None or self._owner != threading.get_ident():
            return
        hold.check()
        if self._waiting_ahead:
            depth = self._depth
            self._release()
            try:
                self._acquire(low_priority=True)
            finally:  # also when `check` ends the work: the enclosing `with` blocks still release
                self._reacquire(depth)

    def _current_hold(self) -> BackgroundHold | None:
        hold: BackgroundHold | None = getattr(self._local, "hold", None)
        return hold

    def _acquire(self, *, low_priority: bool) -> None:
        me = threading.get_ident()
        if self._owner == me:
            self._depth += 1
            return
        hold = self._current_hold()
        if hold is not None:
            hold.check()
        with self._changed:
            if low_priority:
                while self._owner is not None or self._waiting_ahead:
                    self._wait(hold)
            else:
                self._acquire_ahead()
            self._own(me, 1)

    def _wait(self, hold: BackgroundHold | None) -> None:
        """Wait for a change; a background thread also calls `check` every `CHECK_SECONDS`."""
        self._changed.wait(CHECK_SECONDS)
        if hold is not None:
            self._changed.release()
            try:
                hold.check()
            finally:
                self._changed.acquire()

    def _acquire_ahead(self) -> None:
        self._waiting_ahead += 1
        try:
            while self._owner is not None:
                self._changed.wait()
        finally:
            self._waiting_ahead -= 1
            self._changed.notify_all()

    def _own(self, me: int, depth: int) -> None:
        self._owner, self._depth, self._since = me, depth, self._timer()

    def _reacquire(self, depth: int) -> None:
        me = threading.get_ident()
        with self._changed:
            while self._owner not in (None, me):
                self._changed.wait()
            self._own(me, depth)

    def _release_one(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._release()

    def _release(self) -> None:
        hold = self._current_hold()
        if hold is not None:
            hold.seconds += self._timer() - self._since
        with self._changed:
            self._owner, self._depth = None, 0
            self._changed.notify_all()
