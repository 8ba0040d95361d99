"""One writer at a time: a lease in the ledger around a piece of work, for this process on this machine.

Not here: the leases' rows (`ledger.jobs`), and a queue of work (`ledger.queue`, `worker`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from seal_memory.ledger import Ledger

LEASE_SECONDS = 120.0  # renewed by every progress step; a killed trainer on another machine blocks for this long


@contextmanager
def lease(ledger: Ledger, kind: str) -> Iterator[Callable[[], None]]:
    """Hold the lease on `kind` inside the block; yields its heartbeat. Raises `BusyError` while another holds it."""
    end_jobs_of_dead_owners(ledger, kind)
    job = ledger.start_job(kind, {}, owner=this_process(), lease_seconds=LEASE_SECONDS)
    error: str | None = "stopped"
    try:
        yield lambda: _beat(ledger, job.id)
        error = None
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        ledger.finish_job(job.id, error)


def this_process() -> str:
    """The owner of what this process leases."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_dead(owner: str | None) -> bool:
    """Whether an owner is a process of this machine that is no more."""
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


def end_jobs_of_dead_owners(ledger: Ledger, kind: str) -> None:
    """A trainer that was killed on this machine need not be waited for until its lease ends."""
    for job in ledger.jobs():
        if job.state == "running" and job.kind == kind and is_dead(job.owner):
            ledger.finish_job(job.id, "owner died")


def _beat(ledger: Ledger, job_id: str) -> None:
    ledger.heartbeat(job_id, LEASE_SECONDS)
