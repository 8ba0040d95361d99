"""Commit points: silent in life, deadly when a test asks for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from seal_memory._internal.commit_points import KILL_AT, NAMES, reached


def test_nothing_happens_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable, an empty one, or another point's name: the process lives."""
    for name in NAMES:
        reached(name)
    for value in ("", "another"):
        monkeypatch.setenv(KILL_AT, value)
        for name in NAMES:
            reached(name)


def test_an_unknown_name_is_refused() -> None:
    """A typing error must not turn a crash test into one that never crashes."""
    with pytest.raises(ValueError, match="adapter-renamed"):
        reached("adapter-renmaed")


def test_the_named_point_kills() -> None:
    """At that point and no earlier."""
    program = "from seal_memory._internal.commit_points import *\nfor n in NAMES: print(n, flush=True); reached(n)"
    child = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, KILL_AT: NAMES[2]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    assert child.stdout.split() == list(NAMES[:3])
