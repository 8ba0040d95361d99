"""Worker: runs the background jobs of one namespace, one after another, until it is stopped.

Kinds: `consolidate` (enqueued when something is pending), `audit` (when one is due), `rebuild` (a shard whose audit
showed more loss than is allowed), `refine` (a round of the edit policy) and `sleep` (merges shards, builds the core);
the last two when enough is new and nothing else waits, and off by default. Every job may be killed at any point: what
was published stays, the rest is done again. When the worker is stopped, its job is handed back without losing an
attempt. Namespaces take turns, so no job is long: a backlog is handed back after each wave of episodes, a round or a
sleep after `TURN` seconds where `others_wait`.

Not here: the queue's rules (`ledger.queue`), the lease (`ledger.leases`), threads (`background`), turns
(`server.pool_trainer`), the rounds of the edit policy (`policy.refining`).
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from seal_memory.errors import BusyError, CorruptAdapterError, EngineUnavailableError, InputError, SealMemoryError
from seal_memory.ledger.leases import LEASE_SECONDS, is_dead, process_owner
from seal_memory.ledger.queue import MAX_ATTEMPTS
from seal_memory.policy.schedule import next_round, published_episodes
from seal_memory.records import JobState, QueuedJob, Status
from seal_memory.sleep.schedule import sleep_due

if TYPE_CHECKING:  # these rooms need torch
    from seal_memory._internal.progress import Progress
    from seal_memory.config import Settings
    from seal_memory.engines.base import Engine
    from seal_memory.engines.local import TransformersEngine
    from seal_memory.engines.priority_lock import BackgroundHold
    from seal_memory.learning.workbench import Workbench
    from seal_memory.ledger import Ledger

logger = logging.getLogger(__name__)

CONSOLIDATE, REBUILD, AUDIT, REFINE, SLEEP = "consolidate", "rebuild", "audit", "refine", "sleep"
PRIORITY = {
    CONSOLIDATE: 3,
    REBUILD: 2,
    AUDIT: 1,
    REFINE: 0,
    SLEEP: -1,
}  # new interactions first: no weights know them yet
PREEMPTIBLE = (REFINE, SLEEP)  # kinds that a consolidation may interrupt, at progress of the same name: all is recorded
HEARTBEAT = LEASE_SECONDS / 6
BUSY_WAIT = 5.0  # seconds before a job is tried again that found another trainer or no server
LONGEST_REST = LEASE_SECONDS / 2  # under a small CPU share, between two steps: the lease must not run out
JOBS_KEPT = 200  # finished jobs on record: some days' worth for `status`
TURN = 60.0  # seconds after which a round or a sleep lets other namespaces go first
AUDITS_AT_ONCE = 64  # shards that one job audits
REST_SLICE = 0.5  # seconds of rest between two checks whether to stop


class _StopRequest(Exception):
    """Ends the running job, because the worker stops or something urgent waits. Not an error."""


class WorkerMemory(Protocol):
    """The part of a memory that the worker uses; `SealMemory` is one."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def engine(self) -> TransformersEngine: ...

    @property
    def answering(self) -> Engine: ...

    @property
    def workbench(self) -> Workbench: ...

    @property
    def progress(self) -> Progress: ...

    def consolidate(
        self,
        *,
        core: bool = False,
        rebuild: Sequence[str] = (),
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> object: ...

    def refine(self, number: int, *, progress: Progress | None = None) -> object: ...

    def heal(self) -> Collection[str]: ...

    def sleep(self, *, merge: bool = True, core: bool = True, progress: Progress | None = None) -> object: ...


@dataclass(frozen=True, slots=True)
class WorkReport:
    """Number of jobs by how they ended."""

    done: int = 0
    failed: int = 0
    dead: int = 0
    handed_back: int = 0


class Worker:
    """Runs one memory's background jobs in the thread that calls `run` or `step`.

    `sleep(seconds)` rests; the default wakes when the worker is stopped or `wake` is called. `plans=False`: run queued
    jobs only, enqueue none. `attempts`: how often a job that it enqueues is tried.
    `others_wait()`: whether another namespace has work for the same thread.
    """

    def __init__(
        self,
        memory: WorkerMemory,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] | None = None,
        poll_seconds: float = 2.0,
        plans: bool = True,
        attempts: int = MAX_ATTEMPTS,
        others_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        if not poll_seconds > 0:
            raise InputError(f"poll_seconds is {poll_seconds!r}, expected more than 0.")
        self.memory, self.queue, self._clock, self._poll = memory, memory.ledger.queue, clock, poll_seconds
        self._stop, self._wake = threading.Event(), threading.Event()
        self._sleep = sleep if sleep is not None else self._wait
        self._job: QueuedJob | None = None
        self._hold: BackgroundHold | None = None
        self._beat_at = self._rested = self._began = 0.0
        self._others_wait = others_wait
        self._plans, self._attempts = plans, attempts

    # -- from outside: any thread, or a signal ----------------------------------------------------

    def stop(self) -> None:
        """End soon: the running job is handed back within a step of training."""
        self._stop.set()
        self._wake.set()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    # -- the loop ---------------------------------------------------------------------------------

    def run(self, *, once: bool = False, idle: Callable[[], None] = lambda: None) -> WorkReport:
        """Run jobs until stopped; with `once`, until none can run now. `idle` is called when there is no job.

        Jobs that were given up are tried again first: this process may have what the last one lacked.
        """
        ends: list[JobState] = []
        try:
            self.queue.revive_jobs()
        except BusyError as error:
            logger.info("jobs that were given up stay so: %s", error)
        while not self.stopping:
            self._wake.clear()
            job = self.step()
            if job is not None:
                if self.stopping or not self.goes_on(job):
                    ends.append(job.state)
                continue
            if not self.stopping:
                idle()
            if once:
                break
            self._sleep(self._poll)
        return WorkReport(*(ends.count(s) for s in (JobState.DONE, JobState.FAILED, JobState.DEAD, JobState.QUEUED)))

    def goes_on(self, job: QueuedJob) -> bool:
        """Whether a job that `step` returned did a part of its work and can go on at once."""
        return job.state is JobState.QUEUED and job.not_before <= self._clock()

    def left(self) -> tuple[bool, bool]:
        """(whether a job waits, for its turn or its next attempt, or is to be made; whether one was given up)."""
        pending = bool(self.memory.ledger.counts().get(Status.PENDING))
        dead = pending and any(job.kind == CONSOLIDATE for job in self.queue.jobs(states=[JobState.DEAD]))
        waits = bool(self.queue.jobs(states=[JobState.QUEUED, JobState.FAILED], limit=1))
        return waits or (pending and not dead), dead

    def step(self) -> QueuedJob | None:
        """Enqueue what is due and run one job; the job as it ended, or None when none can run now.

        A job that is only done in part is queued again (`goes_on`).
        """
        try:
            self.memory.ledger.retry_wipe()
            self.plan()
            job = self.queue.lease_next_job(tuple(PRIORITY), owner=process_owner(), lease_seconds=LEASE_SECONDS)
        except BusyError as error:  # another process kept the ledger for long
            logger.info("the queue cannot be read now: %s", error)
            return None
        return self._do(job) if job is not None else None

    # -- enqueueing -------------------------------------------------------------------------------

    def plan(self) -> None:
        """Enqueue what is due, and hand back jobs of dead workers."""
        for job in self.queue.jobs(states=[JobState.RUNNING]):
            if is_dead(job.owner):
                self.queue.abandon_job(job)
        if not self._plans:
            return
        self._plan_consolidating()
        audits = self.memory.ledger.audits
        audits.bring_forward(self.memory.settings.background.audit_interval)
        due = audits.due(self._clock())
        if due:
            self._enqueue(AUDIT, lambda: [f"{d.adapter_id} {d.due}" for d in due])
        self._plan_refining()
        self._plan_sleep()

    def _plan_consolidating(self) -> None:
        ledger = self.memory.ledger
        if ledger.counts().get(Status.PENDING):
            self._enqueue(CONSOLIDATE, lambda: [i.id for i in ledger.interactions(status=Status.PENDING)])

    def _plan_refining(self) -> None:
        """The next round, if one is due and none waits; a round that was given up is not tried again."""
        settings = self.memory.settings
        if settings.policy.refine == "off":
            return
        rounds = [job for job in self.queue.jobs() if job.kind == REFINE]
        if any(job.state in (JobState.QUEUED, JobState.FAILED) for job in rounds):
            return
        ledger = self.memory.ledger
        number, current = next_round(ledger, settings.policy, rounds), ledger.current()
        if number is not None and current is not None:
            payload = {"round": number, "episodes": published_episodes(ledger), "version": current.version}
            self._queue(REFINE, payload)

    def _plan_sleep(self) -> None:
        """One sleep at a time, when enough is new."""
        settings, ledger = self.memory.settings, self.memory.ledger
        if settings.sleep.mode == "off":
            return
        sleeps = [job for job in self.queue.jobs() if job.kind == SLEEP]
        waits = any(job.state in (JobState.QUEUED, JobState.FAILED) for job in sleeps)
        current = ledger.current()
        if not waits and current is not None and sleep_due(ledger, settings.sleep, sleeps):
            self._queue(SLEEP, {"version": current.version})

    def _enqueue(self, kind: str, about: Callable[[], Collection[str]]) -> None:
        """Enqueue a job, unless one of its kind waits, or the same work was given up and nothing has changed."""
        if any(job.kind == kind for job in self.queue.jobs(states=[JobState.QUEUED, JobState.FAILED])):
            return
        payload = {"of": hashlib.sha256("\n".join(sorted(about())).encode()).hexdigest()[:24]}
        given_up = self.queue.jobs(states=[JobState.DEAD])
        if not any(job.kind == kind and job.payload == payload for job in given_up):
            self._queue(kind, payload)

    def _queue(self, kind: str, payload: Mapping[str, Any]) -> None:
        self.queue.enqueue_job(kind, payload, priority=PRIORITY[kind], max_attempts=self._attempts)

    # -- one job ----------------------------------------------------------------------------------

    def _do(self, job: QueuedJob) -> QueuedJob:
        logger.info("job %s (%s): attempt %d of %d", job.id, job.kind, job.attempts, job.max_attempts)
        self._job, self._beat_at, self._rested, self._began = job, self._clock(), 0.0, time.monotonic()
        try:
            if self._work(job):
                return self._hand_back(job, self._clock())
            ended = self.queue.complete_job(job)
            self._prune()
            return ended
        except _StopRequest:
            return self._hand_back(job, self._clock())
        except (BusyError, EngineUnavailableError) as error:  # another process trains or holds this job; or no server
            logger.info("job %s (%s) has to wait: %s", job.id, job.kind, error)
            return self._hand_back(job, self._clock() + BUSY_WAIT)
        except CorruptAdapterError as error:  # found by an audit
            if not self.memory.heal():
                return self._failed(job, error)
            return self._hand_back(job, self._clock())
        except (KeyboardInterrupt, SystemExit):
            self._hand_back(job, self._clock())
            raise
        except Exception as error:  # noqa: BLE001 (it ends the job, not the worker)
            return self._failed(job, error)
        finally:
            self._job = self._hold = None

    def _work(self, job: QueuedJob) -> bool:
        """Do a job; whether a part of it is left."""
        if self.stopping:
            raise _StopRequest
        lock = self.memory.engine.lock  # loads the model
        with lock.background(self._check) as self._hold:
            if job.kind == CONSOLIDATE:
                return self._consolidate(core=bool(job.payload.get("core")))
            elif job.kind == REBUILD:
                self._rebuild(str(job.payload.get("shard", "")))
            elif job.kind == REFINE:
                self.memory.refine(int(job.payload["round"]), progress=self._progress)
            elif job.kind == SLEEP:
                wanted = self.memory.settings.sleep.mode
                self.memory.sleep(merge=wanted != "core", core=wanted != "merge", progress=self._progress)
            else:
                self._audit()
        return False

    def _consolidate(self, *, core: bool) -> bool:
        """Learn one wave of what is pending, then the core once nothing is; whether something is left."""
        memory, before = self.memory, self._pending()
        if before:
            memory.consolidate(limit=memory.settings.learning.stack_size, progress=self._progress)
        left = self._pending()
        if left and left != before:
            return True
        if core or not before:
            memory.consolidate(core=core, progress=self._progress)
        return False

    def _pending(self) -> int:
        return self.memory.ledger.counts()[Status.PENDING]

    def _rebuild(self, adapter_id: str) -> None:
        """Train a shard again, unless it is no longer published: rebuilt or forgotten meanwhile."""
        current = self.memory.ledger.current()
        if current is not None and adapter_id in current.manifest.adapter_ids:
            self.memory.consolidate(rebuild=[adapter_id], progress=self._progress)

    def _audit(self) -> None:
        """Audit what is due, and enqueue rebuilds of shards that lost too much, each adapter once."""
        from seal_memory.forgetting.audits import Auditor

        memory = self.memory
        tried = {str(job.payload.get("shard")) for job in self.queue.jobs() if job.kind == REBUILD}
        bench = replace(memory.workbench, clock=self._clock)
        for found in Auditor(bench, memory.answering).run(limit=AUDITS_AT_ONCE):
            shard = found.audit.adapter_id
            if found.too_weak and shard not in tried:
                self._queue(REBUILD, {"shard": shard})

    def _prune(self) -> None:
        """Delete old finished jobs, except those that later decisions need: tried rebuilds, last round, last sleep."""
        current = self.memory.ledger.current()
        published = set(current.manifest.adapter_ids) if current is not None else set()
        done = self.queue.jobs(states=[JobState.DONE])
        rounds = [j.id for kind in PREEMPTIBLE for j in [d for d in done if d.kind == kind][:1]]
        tried = [j.id for j in done if j.kind == REBUILD and j.payload.get("shard") in published]
        self.queue.prune_jobs(JOBS_KEPT, spare=[*rounds, *tried])

    def _failed(self, job: QueuedJob, error: Exception) -> QueuedJob:
        """Fail a job. Our own errors give their message, others only the place: they may quote observed text."""
        reason = f"{type(error).__name__}: {error}" if isinstance(error, SealMemoryError) else _place(error)
        logger.error("job %s (%s) failed: %s", job.id, job.kind, reason)
        logger.debug("job %s failed", job.id, exc_info=error)
        try:
            return self.queue.fail_job(job, reason)
        except BusyError:
            return self._reload(job)

    def _hand_back(self, job: QueuedJob, not_before: float) -> QueuedJob:
        try:
            return self.queue.release_job(job, not_before=not_before)
        except BusyError:  # its lease ran out meanwhile: the new holder goes on
            return self._reload(job)

    def _reload(self, job: QueuedJob) -> QueuedJob:
        return next(j for j in self.queue.jobs() if j.id == job.id)

    # -- between two steps ------------------------------------------------------------------------

    def _progress(self, phase: str, done: int, total: int) -> None:
        self._check()
        turn_over = time.monotonic() - self._began > TURN
        if phase in PREEMPTIBLE and (self._is_urgent() or (turn_over and self._others_wait())):
            raise _StopRequest  # explored episodes and merges are recorded: the job goes on afterwards
        self.memory.progress(phase, done, total)
        self._throttle()

    def _is_urgent(self) -> bool:
        """Whether new interactions could be learned now, while a round of refining or a sleep runs."""
        if self._plans:
            self._plan_consolidating()
        waiting = self.queue.jobs(states=[JobState.QUEUED, JobState.FAILED])
        return any(job.kind == CONSOLIDATE and job.not_before <= self._clock() for job in waiting)

    def _check(self) -> None:
        """Stop the job, or renew its lease. Raises `BusyError` when another process holds the lease."""
        if self.stopping:
            raise _StopRequest
        now = self._clock()
        if self._job is not None and abs(now - self._beat_at) >= HEARTBEAT:  # the clock may be set back
            self.queue.renew_job(self._job, lease_seconds=LEASE_SECONDS)
            self._beat_at = now

    def _throttle(self) -> None:
        """Rest until the model was in use for at most `background.cpu_share` of the time."""
        if self._hold is None:
            return
        share = self.memory.settings.background.cpu_share
        left = min(LONGEST_REST, self._hold.seconds * (1.0 / share - 1.0) - self._rested)
        while left > 0:
            self._sleep(min(REST_SLICE, left))
            self._rested += min(REST_SLICE, left)
            left -= REST_SLICE
            self._check()

    def _wait(self, seconds: float) -> None:
        """Wait for `seconds`, or until stopped; between jobs also until woken."""
        (self._stop if self._job is not None else self._wake).wait(seconds)


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
