"""Which adapters a server holds: never more than it has room for, never one let go of while it answers.

Names are content-addressed, so a name that is loaded is always the right bytes. A name is loaded by who first asks for
it; where there is no room the least recently used that nobody uses leaves, whosever it is. Who waits for room goes
before newcomers once it has waited `PATIENCE` seconds, so that busy adapters cannot keep a rare one out for good.
Not here: HTTP (`http`), where the files are, and what is asked of an adapter.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from seal_memory.errors import EngineUnavailableError

logger = logging.getLogger(__name__)

PATIENCE = 2.0
LONGEST_WAIT = 120.0  # seconds for room; then the caller is told to come back

Verb = Callable[[str], None]


class _State(Enum):
    READY = "ready"
    MOVING = "moving"  # being loaded or unloaded by one thread
    LOST = "lost"  # the server no longer has it, and somebody still uses it


@dataclass(slots=True)
class _Held:
    state: _State
    users: int = 0
    leaving: bool = False  # no snapshot names it any more


class AdapterSlots:
    """The books of one server. `load` and `unload` are called without any lock held, one name in one thread."""

    def __init__(self, load: Verb, unload: Verb, *, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._load, self._unload, self.limit, self._clock = load, unload, limit, clock
        self._held: OrderedDict[str, _Held] = OrderedDict()  # least recently used first
        self._others = 0  # adapters that somebody else loaded there
        self._changed = threading.Condition()
        self._waiting: deque[tuple[object, float]] = deque()

    @property
    def names(self) -> tuple[str, ...]:
        """What the server holds as far as we know, least recently used first."""
        with self._changed:
            return tuple(self._held)

    @contextmanager
    def using(self, name: str, *, wait: float = LONGEST_WAIT) -> Iterator[None]:
        """Inside, the adapter is loaded and stays so.

        Raises what loading raises, and `EngineUnavailableError` when there was no room for `wait` seconds.
        """
        self._acquire(name, self._clock() + wait)
        try:
            yield
        finally:
            self._release(name)

    def discard(self, name: str) -> bool:
        """Unload an adapter that nothing names any more; if it is in use, when it no longer is.

        False where these books do not know it: another process may have loaded it.
        """
        with self._changed:
            held = self._held.get(name)
            if held is None:
                return False
            held.leaving = True
            if held.users or held.state is not _State.READY:
                return True
            held.state = _State.MOVING
        self._move_out(name)
        return True

    def resync(self, present: Collection[str], *, others: int = 0) -> None:
        """What the server really holds: what it lost is loaded again when it is next asked for; what we did not know
        of is ours to let go of. `others`: adapters beside those, which take room.
        """
        with self._changed:
            self._others = others
            for name, held in list(self._held.items()):
                if held.state is _State.READY and name not in present:
                    held.state = _State.LOST
                    if not held.users:
                        del self._held[name]
            for name in present:
                if name not in self._held:
                    self._held[name] = _Held(_State.READY)
                    self._held.move_to_end(name, last=False)
            self._changed.notify_all()

    # -- steps ------------------------------------------------------------------------------------

    def _acquire(self, name: str, until: float) -> None:
        ticket = object()
        try:
            while True:
                with self._changed:
                    step = self._next(name, ticket, until)
                if step == name:
                    self._move_in(name)
                    return
                if step is None:
                    return
                self._move_out(step)
        finally:
            with self._changed:
                self._waiting = deque(w for w in self._waiting if w[0] is not ticket)
                self._changed.notify_all()

    def _next(self, name: str, ticket: object, until: float) -> str | None:
        """What to do now, with the lock held: load `name` itself, unload another first, or nothing, it is there."""
        while True:
            held = self._held.get(name)
            if held is not None and held.state is _State.READY and not self._must_wait(ticket):
                held.users += 1
                held.leaving = False
                self._held.move_to_end(name)
                return None
            if held is not None and held.state is _State.LOST:
                held.users, held.state, held.leaving = held.users + 1, _State.MOVING, False
                return name
            if held is None and self._is_next(ticket):
                found = self._room_for(name)
                if found is not None:
                    return found
            self._wait(ticket, until)

    def _room_for(self, name: str) -> str | None:
        """`name` where there is room, which is then taken; else who leaves; else None."""
        if len(self._held) + self._others < self.limit:
            self._held[name] = _Held(_State.MOVING, users=1)
            return name
        idle = [n for n, h in self._held.items() if h.state is _State.READY and not h.users]
        leaves = next((n for n in idle if self._held[n].leaving), idle[0] if idle else None)
        if leaves is not None:
            self._held[leaves].state = _State.MOVING
        return leaves

    def _is_next(self, ticket: object) -> bool:
        return not self._waiting or self._waiting[0][0] is ticket

    def _must_wait(self, ticket: object) -> bool:
        """Whether somebody else has waited too long for newcomers to go ahead."""
        if self._is_next(ticket):
            return False
        return self._clock() - self._waiting[0][1] > PATIENCE

    def _wait(self, ticket: object, until: float) -> None:
        now = self._clock()
        if now >= until:
            raise EngineUnavailableError(
                f"All {self.limit} places for adapters are in use; try again, or start vLLM with more --max-loras."
            )
        if all(w[0] is not ticket for w in self._waiting):
            self._waiting.append((ticket, now))
        self._changed.wait(min(until - now, PATIENCE))

    def _move_in(self, name: str) -> None:
        """Load; where that fails nobody has it."""
        try:
            self._load(name)
        except BaseException:
            with self._changed:
                held = self._held[name]
                held.users, held.state = held.users - 1, _State.LOST
                if not held.users:
                    del self._held[name]
                self._changed.notify_all()
            raise
        with self._changed:
            self._held[name].state = _State.READY
            self._held.move_to_end(name)
            self._changed.notify_all()

    def _move_out(self, name: str) -> None:
        """Unload; where that fails it still counts."""
        done = False
        try:
            self._unload(name)
            done = True
        finally:
            with self._changed:
                if done:
                    del self._held[name]
                else:
                    self._held[name].state = _State.READY
                self._changed.notify_all()

    def _release(self, name: str) -> None:
        with self._changed:
            held = self._held[name]
            held.users -= 1
            if not held.users and held.state is _State.LOST:
                del self._held[name]
            leaves = not held.users and held.leaving and held.state is _State.READY
            if leaves:
                held.state = _State.MOVING
            self._changed.notify_all()
        if leaves:
            try:
                self._move_out(name)
            except EngineUnavailableError as error:  # the answer is made; it leaves when room is wanted
                logger.warning("adapter %s stays loaded for now: %s", name, error)
