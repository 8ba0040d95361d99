"""The queue: jobs run one at a time, are tried again a bounded number of times, and are never lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.errors import BusyError, InputError, UnknownIdError
from seal_memory.ledger import Ledger
from seal_memory.ledger.queue import MAX_ATTEMPTS, MAX_DELAY, retry_delay
from seal_memory.records import JobState, QueuedJob

KINDS = ("consolidate", "audit", "rebuild")


def lease(ledger: Ledger, owner: str = "p1", kinds: tuple[str, ...] = KINDS) -> QueuedJob | None:
    return ledger.queue.lease_next_job(kinds, owner=owner, lease_seconds=60)


def leased(ledger: Ledger, owner: str = "p1") -> QueuedJob:
    job = lease(ledger, owner)
    assert job is not None
    return job


def states(ledger: Ledger) -> dict[str, JobState]:
    return {job.id: job.state for job in ledger.queue.jobs()}


def test_a_job_waits_runs_and_is_done(ledger: Ledger, clock: Callable[[], float]) -> None:
    queued = ledger.queue.enqueue_job("audit", {"shard": "a-1"}, priority=2)
    assert (queued.state, queued.attempts, queued.not_before) == (JobState.QUEUED, 0, clock())
    running = leased(ledger)
    assert (running.id, running.state, running.owner, running.attempts) == (queued.id, JobState.RUNNING, "p1", 1)
    assert running.lease_until == clock() + 60
    done = ledger.queue.complete_job(running)
    assert (done.state, done.owner, done.lease_until, done.error) == (JobState.DONE, None, None, None)
    assert lease(ledger) is None


def test_an_equal_job_that_waits_is_not_enqueued_twice(ledger: Ledger) -> None:
    """Kind and payload make it equal; one that runs or is done is another one."""
    first = ledger.queue.enqueue_job("audit", {"a": 1, "b": 2})
    assert ledger.queue.enqueue_job("audit", {"b": 2, "a": 1}) == first
    assert ledger.queue.enqueue_job("audit", {"a": 2}).id != first.id
    assert ledger.queue.enqueue_job("rebuild", {"a": 1, "b": 2}).id != first.id
    assert leased(ledger).id == first.id
    assert ledger.queue.enqueue_job("audit", {"a": 1, "b": 2}).id != first.id


def test_one_job_of_a_namespace_at_a_time(ledger: Ledger, tmp_path: Path) -> None:
    ledger.queue.enqueue_job("audit", {})
    ledger.queue.enqueue_job("consolidate", {})
    leased(ledger)
    assert lease(ledger, "p2") is None
    with Ledger.open(tmp_path, namespace="other") as other:
        other.queue.enqueue_job("audit", {})
        assert lease(other, "p2") is not None


def test_the_most_urgent_goes_first_then_the_oldest(ledger: Ledger, clock: Callable[[], float]) -> None:
    """What is not due yet, or of a kind that the worker does not do, stays."""
    ids = [ledger.queue.enqueue_job("audit", {"n": n}, priority=p).id for n, p in enumerate([0, 5, 5, 1])]
    ledger.queue.enqueue_job("audit", {"later": True}, priority=9, not_before=clock() + 10)
    ledger.queue.enqueue_job("refine", {}, priority=9)
    order = []
    while (job := lease(ledger)) is not None:
        order.append(job.id)
        ledger.queue.complete_job(job)
    assert order == [ids[1], ids[2], ids[3], ids[0]]
    clock.now += 10  # type: ignore[attr-defined]
    assert leased(ledger).payload == {"later": True}


def test_attempts_are_bounded_and_the_waits_grow(ledger: Ledger, clock: Callable[[], float]) -> None:
    """After the last attempt the job is dead, with the reason of the last failure."""
    ledger.queue.enqueue_job("consolidate", {})
    waits = []
    for n in range(MAX_ATTEMPTS):
        job = ledger.queue.fail_job(leased(ledger), f"failure {n + 1}")
        waits.append(job.not_before - clock())
        assert job.error == f"failure {n + 1}"
        assert lease(ledger) is None
        clock.now = max(clock(), job.not_before)  # type: ignore[attr-defined]
    assert (job.state, job.attempts) == (JobState.DEAD, MAX_ATTEMPTS)
    assert waits[:-1] == [30.0, 60.0, 120.0, 240.0]
    clock.now += 1e6  # type: ignore[attr-defined]
    assert lease(ledger) is None


@given(st.integers(2, 500))
def test_a_wait_is_never_shorter_than_the_one_before_nor_longer_than_the_longest(attempt: int) -> None:
    assert 0 < retry_delay(attempt) <= retry_delay(attempt + 1) <= MAX_DELAY


def test_a_job_that_is_handed_back_lost_no_attempt(ledger: Ledger) -> None:
    ledger.queue.enqueue_job("consolidate", {}, max_attempts=1)
    for _ in range(3):
        job = ledger.queue.release_job(leased(ledger))
        assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert ledger.queue.fail_job(leased(ledger), "disk full").state is JobState.DEAD


@pytest.mark.parametrize("how", ["expired", "owner died"])
def test_a_job_whose_holder_is_gone_starts_over_and_the_old_holder_is_told(
    ledger: Ledger, clock: Callable[[], float], how: str
) -> None:
    """No attempt is lost; under the same owner's name, too, the old holder cannot touch it."""
    ledger.queue.enqueue_job("consolidate", {}, max_attempts=2)
    old = leased(ledger)
    if how == "expired":
        clock.now += 61  # type: ignore[attr-defined]
    else:
        assert ledger.queue.abandon_job(old).error == "its process died"
    new = leased(ledger)
    assert (new.id, new.attempts) == (old.id, 1)
    for touch in (
        ledger.queue.complete_job,
        ledger.queue.release_job,
        lambda job: ledger.queue.fail_job(job, "x"),
        lambda job: ledger.queue.renew_job(job, lease_seconds=60),
    ):
        with pytest.raises(BusyError, match="no longer yours"):
            touch(old)
    assert ledger.queue.abandon_job(old).state is JobState.RUNNING  # that was about the old holder
    back = ledger.queue.abandon_job(new)
    assert (back.state, back.attempts, back.error) == (JobState.QUEUED, 0, "its process died")


def test_abrupt_ends_make_no_job_dead_but_a_job_that_ends_its_process_waits(
    ledger: Ledger, clock: Callable[[], float]
) -> None:
    """Attempts count failures. From the fifth end in a row the waits grow: a poisonous job ends few processes."""
    ledger.queue.enqueue_job("consolidate", {}, max_attempts=1)
    waits = []
    for _ in range(8):
        job = ledger.queue.abandon_job(leased(ledger))
        waits.append(job.not_before - clock())
        clock.now = job.not_before  # type: ignore[attr-defined]
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert waits == [0.0] * (MAX_ATTEMPTS - 1) + [30.0, 60.0, 120.0, 240.0]
    ledger.queue.release_job(leased(ledger))  # a start that went well
    assert ledger.queue.abandon_job(leased(ledger)).not_before == clock()


def test_a_dead_job_gets_all_its_attempts_when_it_is_revived(ledger: Ledger) -> None:
    """The queue of this namespace only, unless every namespace is named."""
    with Ledger.open(ledger.path, namespace="other", clock=ledger._scope.clock) as other:
        for one in (ledger, other):
            one.queue.enqueue_job("consolidate", {}, max_attempts=1)
            one.queue.fail_job(leased(one), "disk full")
        assert ledger.queue.revive_jobs() == 1
        job = leased(ledger)
        assert (job.attempts, job.error) == (1, "disk full")
        assert lease(other) is None
        assert ledger.namespaces.revive_jobs() == 1
        assert leased(other).attempts == 1


@settings(max_examples=25, deadline=None)
@given(back=st.floats(0, 1e9), failed=st.booleans())
def test_a_clock_that_is_set_back_delays_no_job_for_longer_than_the_longest_wait(
    tmp_path_factory: pytest.TempPathFactory, back: float, failed: bool
) -> None:
    clock = [2e9]
    folder = tmp_path_factory.getbasetemp() / "set-back"
    with Ledger.open(folder, namespace=f"example-{next(fresh)}", clock=lambda: clock[0]) as ledger:
        ledger.queue.enqueue_job("consolidate", {})
        if failed:
            ledger.queue.fail_job(leased(ledger), "x")
        clock[0] -= back
        name = ledger.namespace
        first = lease(ledger)
        clock[0] += MAX_DELAY
        assert name in ledger.namespaces.with_work(audit_interval=3600.0)
        assert first is not None or lease(ledger) is not None


def test_a_clock_that_is_set_back_prolongs_no_lease(ledger: Ledger, clock: Callable[[], float]) -> None:
    """A dead owner's lease, of the queue or of training, ends after the length of one lease."""
    ledger.queue.enqueue_job("consolidate", {})
    leased(ledger)
    ledger.start_job("consolidate", {}, owner="gone", lease_seconds=60)
    clock.now -= 3 * 365 * 86400  # type: ignore[attr-defined]
    assert lease(ledger) is None
    with pytest.raises(BusyError):
        ledger.start_job("consolidate", {}, owner="new", lease_seconds=60)
    clock.now += 61  # type: ignore[attr-defined]
    assert leased(ledger).attempts == 1
    assert ledger.start_job("consolidate", {}, owner="new", lease_seconds=60).owner == "new"


def test_renewing_keeps_a_job(ledger: Ledger, clock: Callable[[], float]) -> None:
    ledger.queue.enqueue_job("consolidate", {})
    job = leased(ledger)
    clock.now += 50  # type: ignore[attr-defined]
    assert ledger.queue.renew_job(job, lease_seconds=60).lease_until == clock() + 60
    clock.now += 50  # type: ignore[attr-defined]
    assert lease(ledger, "p2") is None


def test_bad_requests_are_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="at least 1"):
        ledger.queue.enqueue_job("audit", {}, max_attempts=0)
    with pytest.raises(InputError, match="payload"):
        ledger.queue.enqueue_job("audit", {"x": object()})
    with pytest.raises(InputError, match="more than 0"):
        ledger.queue.lease_next_job(KINDS, owner="p", lease_seconds=0)
    job = ledger.queue.enqueue_job("audit", {})
    with pytest.raises(BusyError, match="is queued"):
        ledger.queue.complete_job(job)
    ledger._scope.connection.database.execute("DELETE FROM queued_jobs")
    with pytest.raises(UnknownIdError, match="no queued job"):
        ledger.queue.complete_job(job)


def test_a_purge_blanks_jobs_that_name_what_was_forgotten(ledger: Ledger, see: Callable[..., list[str]]) -> None:
    (seen,) = see("the secret")
    ledger.queue.enqueue_job("rebuild", {"ids": [seen]}, max_attempts=1)
    ledger.queue.fail_job(leased(ledger), "could not learn the secret")
    ledger.purge([seen])
    (job,) = ledger.queue.jobs()
    assert (job.payload, job.error, job.state) == ({}, "removed by a forget", JobState.DEAD)


# -- any interleaving of two owners -----------------------------------------------------------------

fresh = itertools.count()
owner = st.sampled_from(["one", "two"])
call = st.one_of(
    st.tuples(st.just("enqueue"), st.sampled_from(["consolidate", "audit"]), st.integers(0, 2)),
    st.tuples(st.just("lease"), owner),
    st.tuples(st.sampled_from(["complete", "fail", "release", "renew", "die"]), owner),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 59.0, 61.0, 4000.0])),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One file for all examples, each in a namespace of its own."""
    path = tmp_path_factory.mktemp("queue")
    with Ledger.open(path):
        yield path


class Owners:
    """What the two owners believe that they hold, and until when they truly do."""

    def __init__(self, ledger: Ledger, clock: list[float]) -> None:
        self.queue, self.clock = ledger.queue, clock
        self.held: dict[str, QueuedJob] = {}
        self.enqueued: set[str] = set()

    def live(self) -> list[str]:
        return [o for o, job in self.held.items() if job.lease_until is not None and job.lease_until > self.clock[0]]

    def do(self, step: tuple[object, ...]) -> None:
        match step:
            case ("enqueue", str(kind), int(n)):
                self.enqueued.add(self.queue.enqueue_job(kind, {"n": n}, max_attempts=3).id)
            case ("lease", str(owner)):
                before = self.live()
                job = self.queue.lease_next_job(KINDS, owner=owner, lease_seconds=60)
                if job is not None:
                    assert before == [], "a namespace was leased twice"
                    assert job.attempts <= job.max_attempts
                    self.held[owner] = job
            case ("wait", float(seconds)):
                self.clock[0] += seconds
            case (str(verb), str(owner)) if owner in self.held:
                self._touch(verb, owner, self.held.pop(owner))

    def _touch(self, verb: str, owner: str, job: QueuedJob) -> None:
        """A holder whose lease holds may do anything; one whose lease ran out may be refused, never does harm."""
        lives = job.lease_until is not None and job.lease_until > self.clock[0]
        try:
            if verb == "renew":
                self.held[owner] = self.queue.renew_job(job, lease_seconds=60)
            elif verb == "die":
                self.queue.abandon_job(job)
            elif verb == "fail":
                self.queue.fail_job(job, "error")
            elif verb == "complete":
                self.queue.complete_job(job)
            else:
                self.queue.release_job(job)
        except BusyError:
            assert not lives


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(call, max_size=30))
def test_no_interleaving_leases_twice_or_loses_a_job(folder: Path, steps: list[tuple[object, ...]]) -> None:
    """At most one runs, every job is somewhere, and in the end each is done or dead within its attempts."""
    clock = [1000.0]
    with Ledger.open(folder, namespace=f"example-{next(fresh)}", clock=lambda: clock[0]) as ledger:
        owners = Owners(ledger, clock)
        for step in steps:
            owners.do(step)
            assert sum(s is JobState.RUNNING for s in states(ledger).values()) <= 1
            assert states(ledger).keys() == owners.enqueued
        for _ in range(2):  # a lease that ran out is queued again, and may have to wait then
            clock[0] += 1e6
            while (job := lease(ledger)) is not None:
                ledger.queue.complete_job(job)
        assert set(states(ledger).values()) <= {JobState.DONE, JobState.DEAD}
        assert all(0 <= job.attempts <= job.max_attempts for job in ledger.queue.jobs())


def test_pruning_keeps_the_newest_done_jobs_and_all_others(ledger: Ledger) -> None:
    """Dead letters, what waits and what is spared by name stay, however old."""
    queue = ledger.queue
    ids = [queue.complete_job(leased(ledger)).id for n in range(5) if queue.enqueue_job("audit", {"n": n})]
    dead = queue.enqueue_job("rebuild", {}, max_attempts=1)
    queue.fail_job(leased(ledger), "broken")
    waiting = queue.enqueue_job("audit", {"n": 9})
    assert queue.prune_jobs(2, spare=[ids[0]]) == 2
    assert {j.id for j in queue.jobs()} == {ids[0], ids[3], ids[4], dead.id, waiting.id}
    assert queue.prune_jobs(2, spare=[ids[0]]) == 0
    assert queue.prune_jobs(0) == 3
    with pytest.raises(InputError, match="-1 done jobs"):
        queue.prune_jobs(-1)
