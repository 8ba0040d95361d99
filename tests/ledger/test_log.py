"""The write-ahead log: emptied by commits once it is long, also while readers overlap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seal_memory.ledger import Ledger, connection
from seal_memory.records import NewInteraction


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(connection, "LOG_LIMIT", 1 << 18)
    monkeypatch.setattr(connection, "LOG_PAUSE", 0.2)
    return tmp_path / "ledger.sqlite-wal"


def write(ledger: Ledger, rounds: int, tell: Callable[[], None] = lambda: None) -> None:
    for n in range(rounds):
        ledger.observe([NewInteraction(f"{n} {i} " + "the harbour master counts barrels " * 100) for i in range(10)])
        tell()


def test_the_log_stays_short_while_readers_overlap(ledger: Ledger, log: Path, tmp_path: Path) -> None:
    """There is no moment without a reader, but no reader stays."""
    stop, longest = threading.Event(), [0]

    def read(first: float) -> None:
        time.sleep(first)
        with Ledger.open(tmp_path) as reader:
            while not stop.is_set():
                with reader._scope.connection.reading():
                    reader.counts()
                    time.sleep(0.05)

    readers = [threading.Thread(target=read, args=(n * 0.015,)) for n in range(3)]
    for reader in readers:
        reader.start()
    time.sleep(0.2)
    write(ledger, 30, lambda: longest.append(log.stat().st_size))
    stop.set()
    for reader in readers:
        reader.join()
    assert max(longest) < 2 << 20  # without it about 4 MB
    assert min(longest[len(longest) // 2 :]) < 1 << 18


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
