"""The write-ahead log: emptied by commits once it is long, also while readers overlap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from seal_memory.ledger import Ledger, connection
from seal_memory.records import NewInteraction


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(connection, "LOG_LIMIT", 1 << 18)
    monkeypatch.setattr(connection, "LOG_WAIT", 0.5)
    monkeypatch.setattr(connection, "LOG_PAUSE", 0.2)
    return tmp_path / "ledger.sqlite-wal"


def write(ledger: Ledger, rounds: int, tell: Callable[[], None] = lambda: None) -> None:
    for n in range(rounds):
        ledger.observe([NewInteraction(f"{n} {i} " + "the harbour master counts barrels " * 100) for i in range(10)])
        tell()


def test_the_log_stays_short_while_readers_overlap(
    ledger: Ledger, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no moment without a reader, but no reader stays: the commit that finds the log too long empties it."""
    stop, longest = threading.Event(), [0]
    monkeypatch.setattr(connection, "LOG_WAIT", 10.0)  # the readers end within it on a busy machine, too

    def read(first: float) -> None:
        time.sleep(first)
        with Ledger.open(tmp_path) as reader:
            while not stop.is_set():
                with reader._scope.connection.reading():
                    reader.counts()
                    time.sleep(0.15)

    readers = [threading.Thread(target=read, args=(n * 0.07,)) for n in range(2)]
    for reader in readers:
        reader.start()
    time.sleep(0.2)
    write(ledger, 16, lambda: longest.append(log.stat().st_size))
    stop.set()
    for reader in readers:
        reader.join()
    assert max(longest) < connection.LOG_LIMIT
    assert longest.count(0) > 3


def test_readers_that_take_over_an_older_ones_slot_do_not_keep_the_log_from_being_emptied(
    ledger: Ledger, tmp_path: Path
) -> None:
    """SQLite's own wait is for the slot, which then never becomes free."""
    emptied: list[bool] = []
    emptying = threading.Thread(target=lambda: emptied.append(ledger._scope.connection.empty_log(wait=2.0)))
    with Ledger.open(tmp_path) as one, Ledger.open(tmp_path) as two, ExitStack() as first:
        write(ledger, 1)
        first.enter_context(one._scope.connection.reading())
        one.counts()
        write(ledger, 1)
        emptying.start()
        time.sleep(0.15)
        first.close()
        held = ExitStack()  # takes the slot over at once
        for reader in (one, two) * 8:
            following = ExitStack()
            following.enter_context(reader._scope.connection.reading())
            reader.counts()
            held.close()
            held = following
            emptying.join(0.2)
        held.close()
    emptying.join()
    assert emptied == [True]


def test_a_reader_that_stays_delays_few_commits(ledger: Ledger, log: Path, tmp_path: Path) -> None:
    """The log grows then, and no commit fails for it; it is emptied after the reader."""
    with Ledger.open(tmp_path) as reader:
        with reader._scope.connection.reading():
            reader.counts()
            write(ledger, 8)
            assert log.stat().st_size > 1 << 18
            ledger._scope.connection._log_after = time.monotonic() + 60
            began = time.monotonic()
            write(ledger, 1)
            assert time.monotonic() - began < 1.0
        ledger._scope.connection._log_after = 0.0
        write(ledger, 1)
    assert log.stat().st_size == 0
