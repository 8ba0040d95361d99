"""Transactions: all or nothing, nesting, threads, other processes, and a kill in the middle."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seal_memory.errors import BusyError, InputError
from seal_memory.ledger import Ledger
from seal_memory.records import NewInteraction


def test_an_exception_undoes_the_whole_block_and_passes_through(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.atomic():
            ledger.observe([NewInteraction("gone")])
            ledger.meta_set("key", "gone")
            raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        fail()
    assert ledger.interactions() == []
    assert ledger.meta_get("key") is None


def test_a_nested_block_joins_the_outer_one(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.atomic():
            with ledger.atomic():
                ledger.observe([NewInteraction("gone too")])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert ledger.interactions() == []


def test_a_failed_nested_block_undoes_only_itself(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.atomic():
            ledger.meta_set("inner", "gone")
            raise KeyError

    with ledger.atomic():
        ledger.meta_set("outer", "kept")
        with pytest.raises(InputError):
            ledger.observe([NewInteraction("fine"), NewInteraction("   ")])
        with pytest.raises(KeyError):
            fail()
    assert ledger.meta_get("outer") == "kept"
    assert ledger.meta_get("inner") is None
    assert ledger.interactions() == []


def test_nothing_is_visible_to_others_before_the_outermost_block_ends(ledger: Ledger, tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as other:
        with ledger.atomic():
            ledger.observe([NewInteraction("soon")])
            assert other.interactions() == []
        assert len(other.interactions()) == 1


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    def work(worker: int) -> None:
        for number in range(20):
            with ledger.atomic():
                ledger.observe([NewInteraction(f"worker {worker} saw {number}")])
                ledger.meta_set(f"{worker}", str(number))
            ledger.search(f"worker {worker}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(ledger.interactions()) == 80


def test_waiting_too_long_for_another_writer_is_a_busy_error(ledger: Ledger, tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as other:
        other._scope.connection.rows("PRAGMA busy_timeout=20")
        with ledger.atomic(), pytest.raises(BusyError, match="another process has been writing"):
            other.observe([NewInteraction("too early")])
        assert other.observe([NewInteraction("in time")])[0].new


KILLED = """
import sys, time
from pathlib import Path
from seal_memory.ledger import Ledger
from seal_memory.records import Manifest, NewInteraction
ledger = Ledger.open(Path(sys.argv[1]))
ledger.observe([NewInteraction("committed")])
with ledger.atomic():
    ledger.observe([NewInteraction(f"half {n} " + "x" * 500) for n in range(3000)])
    ledger.add_snapshot(Manifest(), parent=None, base_fingerprint="b")
    print("in the middle", flush=True)
    time.sleep(60)
"""


def test_a_kill_in_the_middle_leaves_the_ledger_whole(
    tmp_path: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    child = run_python(KILLED, str(tmp_path))
    assert child.stdout is not None
    assert child.stdout.readline() == "in the middle\n"
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    child.stdout.close()
    with Ledger.open(tmp_path) as ledger:
        assert [seen.text for seen in ledger.interactions()] == ["committed"]
        assert ledger.current() is None
        assert len(ledger.search("committed half")) == 1
        assert ledger._scope.connection.rows("PRAGMA integrity_check")[0][0] == "ok"
        assert ledger.observe([NewInteraction("half 1")])[0].new
