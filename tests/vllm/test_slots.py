"""The books of loaded adapters: never over the limit, never one let go of that is in use, whoever asks when."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.engines.vllm.slots import PATIENCE, AdapterSlots
from seal_memory.errors import EngineUnavailableError


class Room:
    """A server that holds adapters; notes what should never happen."""

    def __init__(self, limit: int, *, seconds: float = 0.0) -> None:
        self.limit, self.seconds = limit, seconds
        self.present: set[str] = set()
        self.in_use: Counter[str] = Counter()
        self.loads: list[str] = []
        self.wrong: list[str] = []
        self.failing = False
        self.slots = AdapterSlots(self.load, self.unload, limit=limit)

    def load(self, name: str) -> None:
        time.sleep(self.seconds)
        if self.failing:
            raise EngineUnavailableError("gone")
        if name in self.present:
            self.wrong.append(f"{name} was loaded twice")
        self.present.add(name)
        self.loads.append(name)
        if len(self.present) > self.limit:
            self.wrong.append(f"{len(self.present)} adapters, limit {self.limit}")

    def unload(self, name: str) -> None:
        time.sleep(self.seconds)
        if self.failing:
            raise EngineUnavailableError("gone")
        if self.in_use[name]:
            self.wrong.append(f"{name} was let go of while it answered")
        self.present.discard(name)

    def ask(self, name: str) -> None:
        with self.slots.using(name):
            self.in_use[name] += 1
            if name not in self.present:
                self.wrong.append(f"{name} answered and was not there")
            time.sleep(self.seconds)
            self.in_use[name] -= 1


@settings(max_examples=40)
@given(
    limit=st.integers(1, 4),
    asked=st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6), min_size=1, max_size=5),
    dropped=st.lists(st.sampled_from("abcdef"), max_size=3),
)
def test_never_over_the_limit_and_never_one_in_use(limit: int, asked: list[list[str]], dropped: list[str]) -> None:
    """Law, for any threads that ask for any names while others are discarded: all are answered, under both rules."""
    room = Room(limit, seconds=0.0002)

    def run(names: list[str]) -> None:
        for name in names:
            room.ask(name)

    threads = [threading.Thread(target=run, args=(names,)) for names in asked]
    threads.append(threading.Thread(target=lambda: [room.slots.discard(name) for name in dropped]))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(t.is_alive() for t in threads)
    assert room.wrong == []
    assert set(room.slots.names) == room.present


@given(st.integers(2, 4), st.lists(st.sampled_from("abcdef"), max_size=30))
def test_the_least_recently_used_leaves(limit: int, asked: list[str]) -> None:
    """Law: one after another, exactly the last `limit` different names are there."""
    room = Room(limit)
    for name in asked:
        room.ask(name)
    recent = list(dict.fromkeys(reversed(asked)))[:limit]
    assert room.slots.names == tuple(reversed(recent))
    assert room.wrong == []


def test_what_is_in_use_stays_and_who_wants_room_waits() -> None:
    """Until somebody is done; who cannot wait is told."""
    room = Room(1)
    with room.slots.using("a"):
        with pytest.raises(EngineUnavailableError, match="more --max-loras"), room.slots.using("b", wait=0.05):
            pass
        assert room.present == {"a"}
    room.ask("b")
    assert room.present == {"b"}


def test_a_rare_one_is_not_kept_out_for_good() -> None:
    """While two threads never let go of "a" together, "b" gets its turn."""
    room = Room(1, seconds=0.01)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            room.ask("a")

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with room.slots.using("b", wait=10 * PATIENCE + 30):
            assert "b" in room.present
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert room.wrong == []


def test_a_failed_load_leaves_nothing_behind() -> None:
    """It is raised to who asked, and the next one tries anew."""
    room = Room(1)
    room.failing = True
    with pytest.raises(EngineUnavailableError, match="gone"):
        room.ask("a")
    assert room.slots.names == ()
    room.failing = False
    room.ask("a")
    assert room.present == {"a"}


def test_what_nothing_names_leaves_when_it_is_free() -> None:
    """At once, or when its last user is done; a server that cannot be told keeps it until room is wanted."""
    room = Room(3)
    room.ask("a")
    room.slots.discard("a")
    assert room.present == set()
    with room.slots.using("b"):
        room.slots.discard("b")
        assert room.present == {"b"}
    assert room.present == set()
    room.ask("c")
    room.failing = True
    with pytest.raises(EngineUnavailableError):
        room.slots.discard("c")
    room.failing = False
    for name in ("d", "e", "f"):
        room.ask(name)
    assert room.present == {"d", "e", "f"}


def test_after_a_restart_all_are_loaded_again_when_asked_for() -> None:
    """Also one that somebody uses: it is loaded under its users' hands, once."""
    room = Room(3)
    room.ask("a")
    with room.slots.using("b"):
        room.present.clear()
        room.slots.resync([])
        assert room.slots.names == ("b",)
        room.ask("b")
        room.ask("a")
    assert room.loads == ["a", "b", "b", "a"]
    assert room.wrong == []


def test_others_adapters_take_room_and_old_ones_of_ours_leave_first() -> None:
    room = Room(3)
    room.present |= {"old", "older", "theirs"}
    room.limit = 4  # the server's; ours is 3
    room.slots.resync(["old", "older"], others=1)
    room.ask("a")
    room.ask("b")
    assert room.present == {"a", "b", "theirs"}
    assert room.wrong == []
