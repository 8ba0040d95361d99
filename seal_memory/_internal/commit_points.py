"""Commit points: named places between the steps of publishing, where a test may kill the process.

`reached(name)` follows each step that must survive a crash. It does nothing unless the environment variable
`SEAL_MEMORY_TEST_KILL_AT` names the point: then the process sends itself SIGKILL, as sudden as a power cut.

Not here: the steps (`lora.store`, `learning`), and the cleaning up at the next open.
"""

from __future__ import annotations

import os
import signal

__all__ = ["KILL_AT", "NAMES", "reached"]

KILL_AT = "SEAL_MEMORY_TEST_KILL_AT"

NAMES = (
    "adapter-temporary-written",
    "adapter-fsynced",
    "adapter-renamed",
    "adapter-recorded",
    "snapshot-before-commit",
    "snapshot-committed",
    "interactions-marked",
)


def reached(name: str) -> None:
    """Pass the commit point `name`, or kill the process there if the environment says so.

    Raises `ValueError` for a name that is not in `NAMES`.
    """
    if name not in NAMES:
        raise ValueError(f"unknown commit point {name!r}; expected one of {', '.join(NAMES)}")
    if os.environ.get(KILL_AT) == name:
        os.kill(os.getpid(), signal.SIGKILL)
