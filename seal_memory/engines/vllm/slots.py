"""Adapter slots of a server: never more loaded than fit, none unloaded while in use.

Names are content-addressed, so a loaded name always has the right bytes. The first request for a name loads it; where
no slot is free, the least recently used idle adapter is evicted, whichever source it came from. A request that has
waited `PATIENCE` seconds goes before newcomers, so that busy adapters cannot starve a rare one. Not here: HTTP
(`http`), the files, and requests under an adapter.
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
MAX_WAIT = 120.0  # seconds for a free slot; then the caller gets an error

Verb = Callable[[str], None]


class _State(Enum):
    READY = "ready"
    MOVING = "moving"  # being loaded or unloaded by one thread
    LOST = "lost"  # no longer on the server, but still in use


@dataclass(slots=True)
class _Slot:
    state: _State
    users: int = 0
    leaving: bool = False  # no snapshot names it; unload when idle


class AdapterSlots:
    """Slots of one server. `load` and `unload` are called without holding the lock, one thread per name."""

    def __init__(self, load: Verb, unload: Verb, *, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._load, self._unload, self.limit, self._clock = load, unload, limit, clock
        self._slots: OrderedDict[str, _Slot] = OrderedDict()  # least recently used first
        self._others = 0  # adapters loaded by other clients
        self._changed = threading.Condition()
        self._waiting: deque[tuple[object, float]] = deque()

    @property
    def names(self) -> tuple[str, ...]:
        """Adapters on the server, as far as known; least recently used first."""
        with self._changed:
            return tuple(self._slots)

    @contextmanager
    def using(self, name: str, *, wait: float = MAX_WAIT) -> Iterator[None]:
        """Inside, the adapter is loaded and stays loaded.

        Raises the errors of `load`, and `EngineUnavailableError` when no slot was free for `wait` seconds.
        """
        self._acquire(name, self._clock() + wait)
        try:
            yield
        finally:
            self._release(name)

    def discard(self, name: str) -> bool:
        """Unload an adapter that no snapshot names any more, now or when it is no longer in use.

        False where it is not known here: another process may have loaded it.
        """
        with self._changed:
            slot = self._slots.get(name)
            if slot is None:
                return False
            slot.leaving = True
            if slot.users or slot.state is not _State.READY:
                return True
            slot.state = _State.MOVING
        self._unload_slot(name)
        return True

    def resync(self, present: Collection[str], *, others: int = 0) -> None:
        """Adopt the server's real state.

        Lost adapters are loaded again on their next use; adapters not known here become evictable. `others`: adapters
        beside `present` that take slots.
        """
        with self._changed:
            self._others = others
            for name, slot in list(self._slots.items()):
                if slot.state is _State.READY and name not in present:
                    slot.state = _State.LOST
                    if not slot.users:
                        del self._slots[name]
            for name in present:
                if name not in self._slots:
                    self._slots[name] = _Slot(_State.READY)
                    self._slots.move_to_end(name, last=False)
            self._changed.notify_all()

    # -- steps ------------------------------------------------------------------------------------

    def _acquire(self, name: str, until: float) -> None:
        ticket = object()
        try:
            while True:
                with self._changed:
                    step = self._next(name, ticket, until)
                if step == name:
                    self._load_slot(name)
                    return
                if step is None:
                    return
                self._unload_slot(step)
        finally:
            with self._changed:
                self._waiting = deque(w for w in self._waiting if w[0] is not ticket)
                self._changed.notify_all()

    def _next(self, name: str, ticket: object, until: float) -> str | None:
        """The next step, with the lock held: load `name` itself, unload another name first, or None: it is loaded."""
        while True:
            slot = self._slots.get(name)
            if slot is not None and slot.state is _State.READY and not self._must_wait(ticket):
                slot.users += 1
                slot.leaving = False
                self._slots.move_to_end(name)
                return None
            if slot is not None and slot.state is _State.LOST:
                slot.users, slot.state, slot.leaving = slot.users + 1, _State.MOVING, False
                return name
            if slot is None and self._is_next(ticket):
                found = self._make_room(name)
                if found is not None:
                    return found
            self._wait(ticket, until)

    def _make_room(self, name: str) -> str | None:
        """`name` after reserving a free slot for it; else the adapter to evict; else None."""
        if len(self._slots) + self._others < self.limit:
            self._slots[name] = _Slot(_State.MOVING, users=1)
            return name
        idle = [n for n, h in self._slots.items() if h.state is _State.READY and not h.users]
        evicted = next((n for n in idle if self._slots[n].leaving), idle[0] if idle else None)
        if evicted is not None:
            self._slots[evicted].state = _State.MOVING
        return evicted

    def _is_next(self, ticket: object) -> bool:
        return not self._waiting or self._waiting[0][0] is ticket

    def _must_wait(self, ticket: object) -> bool:
        """Whether another request has waited too long for newcomers to go ahead."""
        if self._is_next(ticket):
            return False
        return self._clock() - self._waiting[0][1] > PATIENCE

    def _wait(self, ticket: object, until: float) -> None:
        now = self._clock()
        if now >= until:
            raise EngineUnavailableError(
                f"All {self.limit} adapter slots are in use; try again, or start vLLM with more --max-loras."
            )
        if all(w[0] is not ticket for w in self._waiting):
            self._waiting.append((ticket, now))
        self._changed.wait(min(until - now, PATIENCE))

    def _load_slot(self, name: str) -> None:
        """Load; on failure the name counts as not loaded."""
        try:
            self._load(name)
        except BaseException:
            with self._changed:
                slot = self._slots[name]
                slot.users, slot.state = slot.users - 1, _State.LOST
                if not slot.users:
                    del self._slots[name]
                self._changed.notify_all()
            raise
        with self._changed:
            self._slots[name].state = _State.READY
            self._slots.move_to_end(name)
            self._changed.notify_all()

    def _unload_slot(self, name: str) -> None:
        """Unload; on failure it still counts as loaded."""
        done = False
        try:
            self._unload(name)
            done = True
        finally:
            with self._changed:
                if done:
                    del self._slots[name]
                else:
                    self._slots[name].state = _State.READY
                self._changed.notify_all()

    def _release(self, name: str) -> None:
        with self._changed:
            slot = self._slots[name]
            slot.users -= 1
            if not slot.users and slot.state is _State.LOST:
                del self._slots[name]
            evicted = not slot.users and slot.leaving and slot.state is _State.READY
            if evicted:
                slot.state = _State.MOVING
            self._changed.notify_all()
        if evicted:
            try:
                self._unload_slot(name)
            except EngineUnavailableError as error:  # the answer is complete; it can be evicted later
                logger.warning("adapter %s stays loaded for now: %s", name, error)
