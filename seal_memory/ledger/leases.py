"""Lease context manager: one process at a time does a kind of work in a namespace.

Not here: the leases' rows (`ledger.jobs`), queued work (`ledger.queue`, `training.worker`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from seal_memory.ledger import Ledger

LEASE_SECONDS = 120.0  # renewed at every progress step; a trainer killed on another machine blocks for this long


@contextmanager
def lease(ledger: Ledger, kind: str) -> Iterator[Callable[[], None]]:
    """Hold the lease on `kind` inside the block; yields a function that renews it.

    Raises `BusyError` while another process holds it.
    """
    fail_jobs_of_dead_owners(ledger, kind)
    job = ledger.start_job(kind, {}, owner=process_owner(), lease_seconds=LEASE_SECONDS)
    error: str | None = "stopped"
    try:
        yield lambda: _renew(ledger, job.id)
        error = None
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        ledger.finish_job(job.id, error)


def process_owner() -> str:
    """Lease owner name of this process: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_dead(owner: str | None) -> bool:
    """Whether an owner is a process of this machine that has ended."""
    host, _, pid = (owner or "").rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def fail_jobs_of_dead_owners(ledger: Ledger, kind: str) -> None:
    """Fail running jobs of `kind` whose process on this machine has ended, before their lease expires."""
    for job in ledger.jobs():
        if job.state == "running" and job.kind == kind and is_dead(job.owner):
            ledger.finish_job(job.id, "owner died")


def _renew(ledger: Ledger, job_id: str) -> None:
    ledger.heartbeat(job_id, LEASE_SECONDS)
