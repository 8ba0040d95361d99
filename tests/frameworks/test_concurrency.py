"""Many threads and event loops at one memory: what `call_in_thread` and `thread_safe` promise."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from seal_memory.errors import InputError
from seal_memory.frameworks.concurrency import call_in_thread, thread_safe
from seal_memory.runtime import loading as opening


def test_the_ledger_may_be_written_and_read_by_many_threads_at_once(open_memory: Callable[..., Any]) -> None:
    """The rule that everything here rests on: one connection, any thread, nothing lost."""
    memory = open_memory()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: memory.observe(f"The boat number {n} lies at the quay."), range(40)))
        found = list(pool.map(lambda n: memory.recall(f"boat {n}", limit=1), range(40)))
    assert sum(memory.ledger.counts().values()) == 40
    assert all(hits for hits in found)


def test_two_first_questions_load_the_model_once(
    open_memory: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that ask at once wait for one loading."""
    loads, load = [], opening.load_engine

    def slowly(*arguments: Any) -> Any:
        loads.append(threading.get_ident())
        time.sleep(0.05)
        return load(*arguments)

    monkeypatch.setattr(opening, "load_engine", slowly)
    memory = open_memory()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(thread_safe(memory.ask), ["Who leads the port office?"] * 4))
    assert len(loads) == 1
    assert len({a.text for a in answers}) == 1


class _Busy:
    """Counts how many of its verbs run at once."""

    def __init__(self) -> None:
        self.running = self.most = 0

    def consolidate(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(0.05)
        self.running -= 1

    def refine(self) -> None:
        self.consolidate()

    def sleep(self) -> None:
        self.consolidate()


def test_verbs_that_train_wait_for_each_other() -> None:
    """Learning, refining and sleeping take the same lease."""
    memory = _Busy()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda verb: thread_safe(verb)(), [memory.consolidate, memory.refine, memory.sleep]))
    assert memory.most == 1


def test_changes_wait_for_each_other(open_memory: Callable[..., Any]) -> None:
    """Forgetting four memories at once forgets four: nobody is told that the memory is busy."""
    memory = open_memory()
    seen = memory.observe([f"The boat number {n} lies at the quay." for n in range(4)])
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(thread_safe(memory.forget), [one.id for one in seen]))
    assert [r.interactions for r in reports] == [1] * 4
    assert sum(memory.ledger.counts().values()) == 0


def test_the_event_loop_goes_on_and_errors_come_back() -> None:
    """While a verb runs in its thread other tasks run; what it raises is raised where it is awaited."""

    async def run() -> int:
        ticks = 0
        task = asyncio.ensure_future(call_in_thread(time.sleep, 0.2))
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    def fail() -> None:
        raise InputError("no")

    assert asyncio.run(run()) > 3
    with pytest.raises(InputError, match="no"):
        asyncio.run(call_in_thread(fail))
