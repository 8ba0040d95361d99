"""Jobs: one lease per kind and namespace, taken over only when it ran out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seal_memory.errors import BusyError, InputError, UnknownIdError
from seal_memory.ledger import Ledger
from seal_memory.ledger.jobs import KEPT


def test_a_job_runs_and_ends(ledger: Ledger) -> None:
    job = ledger.start_job("consolidate", {"n": [1]}, owner="p1", lease_seconds=30)
    assert (job.kind, job.state, job.payload, job.owner) == ("consolidate", "running", {"n": [1]}, "p1")
    assert job.lease_until == job.created + 30
    assert ledger.jobs() == [job]
    done = ledger.finish_job(job.id)
    assert (done.state, done.error, done.lease_until) == ("done", None, None)
    failed = ledger.start_job("consolidate", {}, owner="p1", lease_seconds=30)
    assert ledger.finish_job(failed.id, "out of memory").state == "failed"
    assert [job.error for job in ledger.jobs(limit=1)] == ["out of memory"]


def test_a_live_lease_keeps_others_out_and_is_named(ledger: Ledger, tmp_path: Path, clock: object) -> None:
    ledger.start_job("consolidate", {}, owner="pid 12 on host", lease_seconds=60)
    with pytest.raises(BusyError, match=r"pid 12 on host, whose lease ends at 1970-01-12T13:47:40"):
        ledger.start_job("consolidate", {}, owner="p2", lease_seconds=60)
    ledger.start_job("audit", {}, owner="p2", lease_seconds=60)
    with Ledger.open(tmp_path, namespace="other") as other:
        other.start_job("consolidate", {}, owner="p2", lease_seconds=60)
    assert len(ledger.jobs()) == 2


def test_an_expired_lease_is_taken_over_and_the_old_owner_is_told(ledger: Ledger, clock: Callable[[], float]) -> None:
    old = ledger.start_job("consolidate", {}, owner="p1", lease_seconds=60)
    clock.now += 61  # type: ignore[attr-defined]
    new = ledger.start_job("consolidate", {}, owner="p2", lease_seconds=60)
    states = {job.id: (job.state, job.error) for job in ledger.jobs()}
    assert states == {new.id: ("running", None), old.id: ("failed", "lease expired")}
    with pytest.raises(BusyError, match="lease expired"):
        ledger.heartbeat(old.id, 60)
    with pytest.raises(BusyError, match="no longer holds its lease"):
        ledger.finish_job(old.id)
    assert ledger.finish_job(new.id).state == "done"


def test_a_heartbeat_extends_the_lease(ledger: Ledger, clock: Callable[[], float]) -> None:
    job = ledger.start_job("consolidate", {}, owner="p1", lease_seconds=60)
    clock.now += 50  # type: ignore[attr-defined]
    assert ledger.heartbeat(job.id, 60).lease_until == clock() + 60
    clock.now += 50  # type: ignore[attr-defined]
    with pytest.raises(BusyError):
        ledger.start_job("consolidate", {}, owner="p2", lease_seconds=60)


def test_who_lost_the_lease_cannot_publish(ledger: Ledger, clock: Callable[[], float]) -> None:
    old = ledger.start_job("consolidate", {}, owner="p1", lease_seconds=60)
    clock.now += 61  # type: ignore[attr-defined]
    ledger.start_job("consolidate", {}, owner="p2", lease_seconds=60)

    def publish() -> None:
        with ledger.atomic():
            ledger.meta_set("published", "by p1")
            ledger.finish_job(old.id)

    with pytest.raises(BusyError):
        publish()
    assert ledger.meta_get("published") is None


def test_bad_leases_and_unknown_jobs_are_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="more than 0"):
        ledger.start_job("consolidate", {}, owner="p1", lease_seconds=0)
    with pytest.raises(UnknownIdError, match="no job nope"):
        ledger.heartbeat("nope", 10)
    with pytest.raises(InputError, match="payload"):
        ledger.start_job("consolidate", {"x": object()}, owner="p1", lease_seconds=10)
    assert ledger.jobs() == []


def test_jobs_that_ended_long_ago_are_not_kept(ledger: Ledger) -> None:
    """Every start reads them all."""
    for _ in range(KEPT + 5):
        ledger.finish_job(ledger.start_job("consolidate", {}, owner="me", lease_seconds=60).id)
    last = ledger.start_job("consolidate", {}, owner="me", lease_seconds=60)
    assert len(ledger.jobs()) == KEPT + 1
    assert ledger.jobs(limit=1) == [last]
