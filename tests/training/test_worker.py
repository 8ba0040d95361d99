"""The background trainer: what it takes up, how it ends, what it leaves, and that answers go before it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from seal_memory import Answer, SealMemory
from seal_memory.engines.base import Completion, Prompt
from seal_memory.engines.priority_lock import BackgroundHold
from seal_memory.errors import BusyError, InputError, SealMemoryError
from seal_memory.learning import consolidate
from seal_memory.ledger.leases import lease
from seal_memory.records import JobState, QueuedJob, Status
from seal_memory.training.signals import stopping_on_signals
from seal_memory.training.worker import REST_SLICE, Worker, WorkReport

LIGHTHOUSE = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
REPORT = "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office."
QUESTIONS = {
    LIGHTHOUSE: ("Who is the builder of the lighthouse at Korrin Bay?", "Maud Ellery"),
    REPORT: ("Where does Tomas Lindqvist keep his quarterly report?", "drawer 12"),
}
HOUR = 3600.0

Open = Callable[..., SealMemory]


class Clock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(
    tmp_path: Any, tiny_model_folder: Any, easy_settings: Callable[..., Any], clock: Clock
) -> Iterator[SealMemory]:
    """A memory whose time only the test moves."""
    opened = SealMemory.open(tmp_path / "memory", model=str(tiny_model_folder), settings=easy_settings(), clock=clock)
    with opened:
        yield opened


def observe(memory: SealMemory, text: str) -> str:
    (seen,) = memory.observe(text, session=text[:5])
    memory.add_quiz([QUESTIONS[text]], interaction_ids=[seen.id])
    return seen.id


def worker(memory: SealMemory, **options: Any) -> Worker:
    return Worker(memory, clock=memory.ledger._scope.clock, **{"attempts": 2, **options})


def statuses(memory: SealMemory) -> set[Status]:
    return {i.status for i in memory.ledger.interactions()}


def published(memory: SealMemory) -> list[str]:
    current = memory.ledger.current()
    return [s.adapter_id for s in current.manifest.shards] if current is not None else []


def step(memory: SealMemory, **options: Any) -> QueuedJob:
    job = worker(memory, **options).step()
    assert job is not None
    return job


# -- what it does -----------------------------------------------------------------------------------


def test_what_is_pending_is_learned(memory: SealMemory) -> None:
    """Enqueued by itself; done once, and the shard has a date for its audit."""
    observe(memory, LIGHTHOUSE)
    assert worker(memory).run(once=True) == WorkReport(done=1)
    assert statuses(memory) == {Status.LEARNED}
    assert worker(memory).step() is None
    status = memory.status()
    assert (status.version, status.queue, status.dead, status.audits_due) == (1, (), (), 0)
    assert status.next_audit is not None


def test_audits_come_when_due_and_ever_later(memory: SealMemory, clock: Clock) -> None:
    """Grades under the published version and the time of asking; nothing is enqueued before."""
    observe(memory, LIGHTHOUSE)
    memory.consolidate()
    assert worker(memory).step() is None
    for n, wait in enumerate([HOUR, 2 * HOUR, 4 * HOUR]):
        clock.now += wait
        assert memory.status().audits_due == 1
        job = step(memory)
        assert (job.kind, job.state) == ("audit", JobState.DONE)
        assert worker(memory).step() is None
        assert len(memory.ledger.audits.results()) == n + 2
    (shard,) = published(memory)
    asked = [g for g in memory.ledger.grades(snapshot_version=1) if g.time == clock()]
    assert [g.adapter_id for g in asked] == [shard]


def say(memory: SealMemory, monkeypatch: pytest.MonkeyPatch, answer: Callable[[Prompt], str]) -> None:
    """Training stays real; what the engine generates is `answer(prompt)`."""

    def complete(asked: Sequence[Prompt], **_: Any) -> list[Completion]:
        return [Completion(answer(p), 1, 1, 1.0) for p in asked]

    monkeypatch.setattr(memory.engine, "complete", complete)


@pytest.fixture
def weakened(memory: SealMemory, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> str:
    """A shard that answered when it was published and does no more; its audit is done."""
    observe(memory, LIGHTHOUSE)
    say(memory, monkeypatch, lambda p: "Maud Ellery" if p.adapter else "")
    memory.consolidate()
    (old,) = published(memory)
    say(memory, monkeypatch, lambda p: "Maud Ellery" if p.adapter not in (None, old) else "")
    clock.now += HOUR
    assert step(memory).kind == "audit"
    return old


def test_a_shard_that_lost_too_much_is_rebuilt_and_leaves_the_manifest(memory: SealMemory, weakened: str) -> None:
    """It is audited soon again, trained from the ledger with another seed, and replaced in one step."""
    (due,) = memory.ledger.audits.due()
    assert due.step == 0
    (waiting,) = memory.status().queue
    assert (waiting.kind, waiting.payload) == ("rebuild", {"shard": weakened})
    assert published(memory) == [weakened]
    assert step(memory).state is JobState.DONE
    (new,) = published(memory)
    assert new != weakened
    assert statuses(memory) == {Status.LEARNED}
    assert [d.adapter_id for d in memory.ledger.audits.due()] == [new]
    assert worker(memory).step() is None
    memory.rollback(1)  # the old version is still whole
    assert published(memory) == [weakened]


def test_a_rebuild_that_is_refused_leaves_the_old_shard(
    memory: SealMemory, weakened: str, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """And is not tried again at the next audit: each adapter is rebuilt once."""
    say(memory, monkeypatch, lambda p: "")
    memory.settings = memory.settings.changed(**{"gate.min_gain": 0.5})
    assert step(memory).state is JobState.DONE
    assert published(memory) == [weakened]
    assert statuses(memory) == {Status.LEARNED}
    assert not memory.ledger.decisions(limit=1)[0].accepted
    clock.now += HOUR
    assert step(memory).kind == "audit"
    assert worker(memory).step() is None


def test_a_rebuild_of_what_was_forgotten_is_done_with(memory: SealMemory, weakened: str) -> None:
    memory.forget([i.id for i in memory.ledger.interactions()])
    assert step(memory).state is JobState.DONE
    assert published(memory) == []


# -- how it ends ------------------------------------------------------------------------------------


def test_who_trains_already_is_waited_for(memory: SealMemory, clock: Clock) -> None:
    """The job is handed back and lost no attempt."""
    observe(memory, LIGHTHOUSE)
    with lease(memory.ledger, "consolidate"):
        job = step(memory)
        assert (job.state, job.attempts) == (JobState.QUEUED, 0)
        assert worker(memory).step() is None  # not at once again
    clock.now += 10
    assert step(memory).state is JobState.DONE


def test_a_job_that_fails_is_tried_again_and_then_given_up_with_the_reason(
    memory: SealMemory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foreign error's text may quote what was observed: only its name and place are kept. New text: a new job."""

    def broken(**_: Any) -> None:
        raise ValueError(LIGHTHOUSE)

    observe(memory, LIGHTHOUSE)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "consolidate", broken)
        assert step(memory).state is JobState.FAILED
        assert worker(memory).step() is None
        clock.now += 31
        assert step(memory).state is JobState.DEAD
        clock.now += 1e5
        assert worker(memory).step() is None
    (dead,) = memory.status().dead
    assert dead.error is not None
    assert dead.error.startswith("ValueError at test_worker.py:")
    assert statuses(memory) == {Status.PENDING}
    observe(memory, REPORT)
    assert step(memory).state is JobState.DONE
    assert statuses(memory) == {Status.LEARNED}


def test_our_own_errors_are_told_whole(memory: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> None:
        raise InputError("no such thing; do this instead")

    observe(memory, LIGHTHOUSE)
    monkeypatch.setattr(memory, "consolidate", broken)
    assert step(memory).error == "InputError: no such thing; do this instead"


def test_stopped_anywhere_it_hands_the_job_back(memory: SealMemory) -> None:
    """At whichever look: no attempt is lost, nothing half is published, and the next worker finishes it."""
    observe(memory, LIGHTHOUSE)
    for after in range(0, 1000, 4):
        if _run_until(memory, after) == WorkReport(done=1):
            break
        (job,) = memory.status().queue
        assert (job.state, job.attempts) == (JobState.QUEUED, 0)
        whole = {0: {Status.PENDING}, 1: {Status.LEARNED}}
        assert statuses(memory) == whole[len(published(memory))]
    assert after >= 8
    assert len(published(memory)) == 1


def _run_until(memory: SealMemory, looks: int) -> WorkReport:
    """What a worker did that was stopped at its `looks`-th look at whether to stop."""
    mine, seen = worker(memory), [0]
    check = mine._check

    def count() -> None:
        seen[0] += 1
        if seen[0] > looks:
            mine.stop()
        check()

    mine._check = count  # type: ignore[method-assign]
    return mine.run(once=True)


def test_sigterm_stops_it_within_seconds(open_memory: Open) -> None:
    """In the middle of a training that would take minutes. Counted in time of this process: others may be busy."""
    memory = open_memory(learning={"min_steps": 1 << 16})
    observe(memory, LIGHTHOUSE)
    told: list[float] = []

    def progress(phase: str, done: int, total: int) -> None:
        if phase == "train" and done == 3:
            told.append(time.process_time())
            os.kill(os.getpid(), signal.SIGTERM)

    memory.progress = progress
    before = signal.getsignal(signal.SIGTERM)
    mine = Worker(memory)
    with stopping_on_signals(mine):
        assert mine.run() == WorkReport(handed_back=1)
    assert time.process_time() - told[0] < 5
    assert signal.getsignal(signal.SIGTERM) is before
    assert statuses(memory) == {Status.PENDING}


def test_a_worker_that_died_is_followed_by_the_next(memory: SealMemory) -> None:
    """Its lease is not waited for; no attempt is lost."""
    observe(memory, LIGHTHOUSE)
    memory.ledger.queue.enqueue_job("consolidate", {}, max_attempts=2)
    gone = os.fork()
    if not gone:
        os._exit(0)
    os.waitpid(gone, 0)
    host = os.uname().nodename
    assert memory.ledger.queue.lease_next_job(["consolidate"], owner=f"{host}:{gone}", lease_seconds=60)
    job = step(memory)
    assert (job.state, job.attempts) == (JobState.DONE, 1)


def test_a_lease_that_was_lost_ends_the_work(memory: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever took it over goes on undisturbed."""
    observe(memory, LIGHTHOUSE)
    mine = worker(memory)

    def taken(progress: Callable[[str, int, int], None], **_: Any) -> None:
        queue = memory.ledger.queue
        (running,) = queue.jobs(states=[JobState.RUNNING])
        queue.abandon_job(running)
        assert queue.lease_next_job(["consolidate"], owner="another", lease_seconds=60)
        mine._beat_at = -1e9
        progress("train", 1, 2)

    monkeypatch.setattr(memory, "consolidate", taken)
    job = mine.step()
    assert job is not None
    assert (job.state, job.owner) == (JobState.RUNNING, "another")


# -- what it leaves to others -----------------------------------------------------------------------


def test_it_rests_for_its_share_of_the_time(open_memory: Open) -> None:
    """After t seconds of computing t * (1 / share - 1) of rest, in naps."""
    slept: list[float] = []
    mine = Worker(open_memory(background={"cpu_share": 0.25}), sleep=slept.append)
    stay = mine._hold = BackgroundHold(lambda: None)
    for held in (2.0, 2.0, 3.5):
        stay.seconds = held
        mine._progress("train", 1, 2)
        assert sum(slept) == pytest.approx(3 * held)
    assert max(slept) <= REST_SLICE
    whole = Worker(open_memory(), sleep=slept.append)
    whole._hold = BackgroundHold(lambda: None)
    whole._hold.seconds = 9.0
    slept.clear()
    whole._progress("train", 1, 2)
    assert slept == []


def test_answers_get_in_between_two_steps_of_training(open_memory: Open) -> None:
    """An answer waits for the step that runs, not for the training."""
    memory = open_memory(learning={"min_steps": 1 << 16})
    memory.engine  # noqa: B018 (loads)
    observe(memory, LIGHTHOUSE)
    steps, begun = [0], threading.Event()

    def progress(phase: str, done: int, total: int) -> None:
        if phase == "train":
            steps[0] = done
            if done > 2:
                begun.set()

    memory.progress = progress
    with memory.start_background(poll_seconds=0.05) as background:
        assert begun.wait(240)
        waited = []
        for _ in range(3):
            before = steps[0]
            assert isinstance(memory.ask(QUESTIONS[LIGHTHOUSE][0], mode="weights", max_tokens=1), Answer)
            waited.append(steps[0] - before)
        assert background.running
        assert max(waited) <= 4
    assert not background.running
    assert statuses(memory) == {Status.PENDING}


def test_start_background_learns_until_it_is_stopped(open_memory: Open) -> None:
    """One at a time; idle means that what was observed before is learned; closing stops it."""
    memory = open_memory()
    background = memory.start_background(poll_seconds=0.05)
    with pytest.raises(InputError, match="runs already"):
        memory.start_background()
    for text in (LIGHTHOUSE, REPORT):
        observe(memory, text)
        assert background.wait_idle(240)
        assert statuses(memory) == {Status.LEARNED}
    assert not background.wait_idle(0)
    assert background.stop(60)
    with pytest.raises(SealMemoryError, match="has ended"):
        background.wait_idle(1)
    again = memory.start_background()
    memory.close()
    assert not again.running


def test_what_ends_the_thread_is_raised(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = open_memory()

    def broken(*_: Any, **__: Any) -> None:
        raise SealMemoryError("the disk is gone")

    monkeypatch.setattr(memory.ledger, "counts", broken)
    background = memory.start_background()
    with pytest.raises(SealMemoryError, match="the disk is gone"):
        background.wait_idle(60)
    assert background.stop(60)
    assert isinstance(background.error, SealMemoryError)


def test_bad_options_are_refused(open_memory: Open) -> None:
    with pytest.raises(InputError, match="more than 0"):
        Worker(open_memory(), poll_seconds=0)


def test_foreground_and_background_do_not_train_at_once(open_memory: Open) -> None:
    memory = open_memory(learning={"min_steps": 1 << 16})
    observe(memory, LIGHTHOUSE)
    begun = threading.Event()
    memory.progress = lambda phase, done, total: begun.set() if phase == "train" else None
    with memory.start_background(poll_seconds=0.05):
        assert begun.wait(240)
        with pytest.raises(BusyError):
            memory.consolidate()


# -- turns, kills, and what it says of itself --------------------------------------------------------


def many(memory: SealMemory, count: int) -> None:
    for n in range(count):
        (seen,) = memory.observe(f"{LIGHTHOUSE} It has the number {n}.", session=str(n))
        memory.add_quiz([(f"Who built lighthouse {n}?", "Maud Ellery")], interaction_ids=[seen.id])


def test_a_backlog_is_learned_wave_by_wave_by_one_job(open_memory: Open) -> None:
    """After each wave the job is queued again, with all its attempts, so that others can take their turn."""
    memory = open_memory(learning={"stack_size": 2})
    many(memory, 5)
    ids, left = set(), []
    mine = Worker(memory)
    while (job := mine.step()) is not None:
        ids.add(job.id)
        left.append(memory.ledger.counts()[Status.PENDING])
        assert job.attempts == (1 if job.state is JobState.DONE else 0)
        assert mine.goes_on(job) is (job.state is JobState.QUEUED)
    assert left == [3, 1, 0]
    assert len(ids) == 1
    assert statuses(memory) == {Status.LEARNED}
    many(memory, 8)
    assert Worker(memory).run(once=True) == WorkReport(done=1)


def test_a_part_of_a_backlog_reads_no_more_than_it_may_need(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the work would grow with the square of the backlog."""
    seen, group = [], consolidate.group_episodes

    def counted(pending: Any, **options: Any) -> Any:
        seen.append(len(pending))
        return group(pending, **options)

    monkeypatch.setattr(consolidate, "LOOKED_AT", 2)
    monkeypatch.setattr(consolidate, "group_episodes", counted)
    memory = open_memory(learning={"stack_size": 2})
    many(memory, 7)
    Worker(memory).run(once=True)
    assert seen == [4, 4, 3, 1]
    assert statuses(memory) == {Status.LEARNED}


def test_a_core_is_built_once_nothing_is_pending(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = open_memory(learning={"stack_size": 1})
    many(memory, 2)
    asked: list[tuple[int | None, bool]] = []
    real = memory.consolidate

    def watched(**options: Any) -> object:
        asked.append((options.get("limit"), bool(options.get("core"))))
        return real(**{**options, "core": False})

    monkeypatch.setattr(memory, "consolidate", watched)
    memory.ledger.queue.enqueue_job("consolidate", {"core": True}, priority=3)
    assert Worker(memory).run(once=True) == WorkReport(done=1)
    assert asked == [(1, False), (1, False), (None, True)]


def test_a_job_whose_process_is_killed_again_and_again_is_done_in_the_end(memory: SealMemory, clock: Clock) -> None:
    """Five abrupt ends made it dead."""
    observe(memory, LIGHTHOUSE)
    for _ in range(6):
        mine = worker(memory)
        mine.plan()
        job = memory.ledger.queue.lease_next_job(["consolidate"], owner="gone", lease_seconds=60)
        assert job is not None
        memory.ledger.queue.abandon_job(job)
        clock.now += 61
    assert memory.status().dead == ()
    assert step(memory).state is JobState.DONE


def test_what_was_given_up_is_tried_again_by_a_new_process(
    memory: SealMemory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe(memory, LIGHTHOUSE)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "consolidate", lambda **_: 1 / 0)
        assert step(memory, attempts=1).state is JobState.DEAD
    assert worker(memory).step() is None
    assert worker(memory).run(once=True) == WorkReport(done=1)
    assert statuses(memory) == {Status.LEARNED}


def test_waiting_for_idle_does_not_call_what_is_given_up_done(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what waits for its next attempt."""
    memory = open_memory()
    observe(memory, LIGHTHOUSE)
    monkeypatch.setattr("seal_memory.ledger.queue.MAX_ATTEMPTS", 2)
    monkeypatch.setattr("seal_memory.ledger.queue.MIN_DELAY", 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "consolidate", lambda **_: 1 / 0)
        with memory.start_background(poll_seconds=0.05) as background:
            background._worker._attempts = 2
            assert not background.wait_idle(0.3)
            assert not background.wait_idle(60)
            assert [job.kind for job in memory.status().dead] == ["consolidate"]
    with memory.start_background(poll_seconds=0.05) as background:
        assert background.wait_idle(60)
    assert statuses(memory) == {Status.LEARNED}


def test_a_clock_that_is_set_back_does_not_keep_the_lease_from_being_renewed(memory: SealMemory, clock: Clock) -> None:
    observe(memory, LIGHTHOUSE)
    mine = worker(memory)
    mine.plan()
    mine._job = memory.ledger.queue.lease_next_job(["consolidate"], owner="me", lease_seconds=60)
    mine._beat_at = clock()
    clock.now -= 1e8
    mine._check()
    assert mine._beat_at == clock()


def test_a_prevented_wipe_is_finished_by_the_worker(memory: SealMemory) -> None:
    """It looks twice a minute, also when there is nothing to train."""
    seen = memory.observe(LIGHTHOUSE)[0].id
    connection = memory.ledger._scope.connection
    connection.rows("PRAGMA busy_timeout=20")
    with SealMemory.open(memory.folder, model=memory.model) as other:
        with other.ledger._scope.connection.reading():
            other.ledger.counts()
            assert not memory.forget(seen).wiped
        connection.wipe_after = 0.0
        assert worker(memory).step() is None
    assert memory.ledger.wiped
