"""PriorityLock: one holder at a time, answers before training, and a background thread that can be stopped anywhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from seal_memory.engines.priority_lock import PriorityLock

WAIT = 30.0  # a busy machine is no bug


class Stopped(Exception):
    """What a check raises."""


def nothing() -> None:
    """A check that lets the work go on."""


def start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_one_holder_at_a_time_who_may_enter_again() -> None:
    turns, inside, most = PriorityLock(), [0], [0]

    def work() -> None:
        for _ in range(50):
            with turns, turns:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0)
                inside[0] -= 1

    threads = [start(work) for _ in range(3)]
    for thread in threads:
        thread.join(WAIT)
    assert most == [1]


def test_an_answer_gets_in_between_two_steps_of_training() -> None:
    """However many steps are left, it waits for the one that runs."""
    turns, steps, done = PriorityLock(), [0], threading.Event()

    def train() -> None:
        while not done.is_set():
            with turns.step():
                steps[0] += 1
                time.sleep(0.002)

    thread = start(train)
    until(lambda: steps[0] > 3)
    for _ in range(5):
        before = steps[0]
        with turns:
            assert steps[0] - before <= 2
            held = steps[0]
            time.sleep(0.01)
            assert steps[0] == held
    done.set()
    thread.join(WAIT)


def test_a_holder_in_the_background_gives_way_and_comes_back_with_what_it_held() -> None:
    turns, order = PriorityLock(), list[str]()
    holding, answered = threading.Event(), threading.Event()

    def grade() -> None:
        with turns.background(nothing), turns, turns:
            holding.set()
            until(lambda: turns._waiting_ahead > 0)
            turns.give_way()
            order.append("graded")
            assert turns._depth == 2

    thread = start(grade)
    assert holding.wait(WAIT)
    with turns:
        order.append("answered")
        answered.set()
    thread.join(WAIT)
    assert order == ["answered", "graded"]
    assert turns._owner is None


def test_only_background_threads_give_way() -> None:
    turns = PriorityLock()
    with turns:
        turns.give_way()
        assert turns._depth == 1
    with turns.background(nothing):
        turns.give_way()  # holds nothing
    assert turns._owner is None


@pytest.mark.parametrize("where", ["before", "waiting", "giving way"])
def test_a_check_that_raises_ends_the_work_and_leaves_the_turn_free(where: str) -> None:
    """Before a turn, while waiting for one, and where it gives way."""
    turns, stop, ended = PriorityLock(), threading.Event(), list[bool]()
    looked = [0]

    def check() -> None:
        looked[0] += 1
        if stop.is_set():
            raise Stopped

    def work() -> None:
        try:
            with turns.background(check), turns:
                until(stop.is_set)
                turns.give_way()
        except Stopped:
            ended.append(True)

    if where == "before":
        stop.set()
    if where == "waiting":
        with turns:
            thread = start(work)
            until(lambda: looked[0] >= 2)
            stop.set()
            thread.join(WAIT)
    else:
        thread = start(work)
        until(lambda: looked[0] >= 1)
        stop.set()
        thread.join(WAIT)
    assert ended == [True]
    with turns:
        pass
    assert turns._owner is None


def test_the_time_in_the_background_is_counted() -> None:
    """Only what was held, not what was waited for."""
    now = [0.0]
    turns = PriorityLock(timer=lambda: now[0])
    with turns.background(nothing) as hold:
        for _ in range(3):
            with turns.step():
                now[0] += 2.0
            now[0] += 5.0
    assert hold.seconds == 6.0
    with turns.step():
        now[0] += 1.0
    assert hold.seconds == 6.0
