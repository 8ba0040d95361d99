"""Memory in huge pages for the products of a CPU: the process restarts itself once, before anything heavy is imported.

glibc gives memory back to Linux after each large tensor and takes it again in pages of 4 KiB: for a step of training
about a third of the time (docs/lab-log/speed.md, row 60). Its settings are read when a process starts, so there is no
way to choose them later. Processes started by this one inherit them.

Not here: other C libraries and systems, where nothing happens; a `GLIBC_TUNABLES` that is set already is kept.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping

__all__ = ["are_used", "restart_with_huge_pages"]

_NAME = "GLIBC_TUNABLES"
_HUGE = "glibc.malloc.hugetlb=1"
# largest value glibc takes; freed memory up to 4 GiB stays with the process
_TUNABLES = f"{_HUGE}:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4294967296"


def restart_with_huge_pages() -> None:
    """Start the running command again with `GLIBC_TUNABLES`, unless it is set or the C library is not glibc."""
    environment = with_tunables(os.environ, libc=platform.libc_ver()[0])
    if environment is not None and sys.orig_argv[1:]:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def with_tunables(environment: Mapping[str, str], *, libc: str) -> dict[str, str] | None:
    """The environment to start again with; None: nothing to change."""
    return None if libc != "glibc" or _NAME in environment else {**environment, _NAME: _TUNABLES}


def are_used() -> bool:
    """Whether this process keeps its tensors in huge pages."""
    return _HUGE in os.environ.get(_NAME, "")
