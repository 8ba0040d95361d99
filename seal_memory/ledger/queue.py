"""Job queue of the background trainer: leases, retries with back-off, dead letters.

queued → running → done, or → failed (waits for its next attempt) → running … → dead. An attempt counts when it begins;
`release_job` gives it back, and so does the end of the process: a running job whose lease expired or whose owner died
is queued again, at once after fewer than `MAX_ATTEMPTS` such ends in a row, then after growing waits, since it may be
the job that ends its process. `revive_jobs` queues dead jobs again. At most one job of a namespace runs at a time.
`leases` counts every start, so that a former holder gets `BusyError` even under the same owner name.

A clock that was set back makes waits and leases look longer than any is: both are cut to the longest there are.

Not here: doing the work (`training.worker`), the lease on training itself (`jobs`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_exponential

from seal_memory.errors import BusyError, InputError, UnknownIdError
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import from_json, id_list, to_json
from seal_memory.records import JobState, QueuedJob

MIN_DELAY, MAX_DELAY = 30.0, 3600.0  # seconds before the second attempt, and at most before any later one
MAX_ATTEMPTS = 5  # attempts before a job is dead
EXPIRED, OWNER_DIED = "its lease expired", "its process died"


class JobQueue:
    """Queued jobs of one namespace. Methods that take a running job raise `BusyError` when its lease was lost."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def enqueue_job(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        priority: int = 0,
        not_before: float | None = None,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> QueuedJob:
        """Add a job, or return the waiting one of equal kind and payload. Higher priorities run first.

        Raises:
            InputError: the payload has no JSON form, or max_attempts is under 1.
        """
        if max_attempts < 1:
            raise InputError(f"max_attempts is {max_attempts}, expected at least 1")
        stored = to_json(dict(payload), "the payload of a job")
        scope = self._scope
        with scope.connection.atomic():
            equal = scope.connection.rows(
                "SELECT * FROM queued_jobs WHERE namespace = ? AND kind = ? AND payload = ?"
                " AND state IN ('queued', 'failed')",
                (scope.namespace, kind, stored),
            )
            if equal:
                return _job_from(equal[0])
            now, job_id = scope.clock(), scope.make_id()
            scope.connection.run(
                "INSERT INTO queued_jobs (namespace, id, kind, state, payload, priority, attempts, max_attempts,"
                " leases, not_before, created, changed) VALUES (?, ?, ?, 'queued', ?, ?, 0, ?, 0, ?, ?, ?)",
                (
                    scope.namespace, job_id, kind, stored, priority, max_attempts,
                    now if not_before is None else not_before, now, now,
                ),
            )  # fmt: skip
            return _row(scope, job_id)

    def lease_next_job(self, kinds: Collection[str], *, owner: str, lease_seconds: float) -> QueuedJob | None:
        """Start the next waiting job: highest priority first, then oldest; jobs before their `not_before` are skipped.

        None when there is none, or while a job of this namespace runs under a valid lease.
        """
        if not lease_seconds > 0:
            raise InputError(f"lease_seconds is {lease_seconds!r}, expected more than 0")
        scope = self._scope
        with scope.connection.atomic():
            now = scope.clock()
            _shorten(scope, now, lease_seconds)
            for job in self.jobs(states=[JobState.RUNNING]):
                if job.lease_until is not None and job.lease_until > now:
                    return None
                _requeue(scope, job, EXPIRED)
            rows = scope.connection.rows(
                "SELECT * FROM queued_jobs WHERE namespace = ? AND state IN ('queued', 'failed') AND not_before <= ?"
                " AND kind IN (SELECT value FROM json_each(?)) ORDER BY priority DESC, seq LIMIT 1",
                (scope.namespace, now, id_list(kinds)),
            )
            if not rows:
                return None
            scope.connection.run(
                "UPDATE queued_jobs SET state = 'running', attempts = attempts + 1, leases = leases + 1, owner = ?,"
                " lease_until = ?, changed = ? WHERE seq = ?",
                (owner, now + lease_seconds, now, rows[0]["seq"]),
            )
            return _row(scope, rows[0]["id"])

    def renew_job(self, job: QueuedJob, *, lease_seconds: float) -> QueuedJob:
        """Extend the lease to `lease_seconds` from now."""
        with self._scope.connection.atomic():
            _require_held(self._scope, job)
            _update(self._scope, job.id, lease_until=self._scope.clock() + lease_seconds)
            return _row(self._scope, job.id)

    def complete_job(self, job: QueuedJob) -> QueuedJob:
        """End a running job as done."""
        with self._scope.connection.atomic():
            _require_held(self._scope, job)
            return _end(self._scope, job.id, JobState.DONE, error=None)

    def fail_job(self, job: QueuedJob, error: str) -> QueuedJob:
        """End an attempt with an error: the job waits `retry_delay` for the next, or is dead after the last."""
        with self._scope.connection.atomic():
            held = _require_held(self._scope, job)
            if _is_last(held):
                return _end(self._scope, job.id, JobState.DEAD, error=error)
            later = self._scope.clock() + retry_delay(held.attempts + 1)
            _update(self._scope, job.id, abrupt_ends=0, not_before=later)
            return _end(self._scope, job.id, JobState.FAILED, error=error)

    def release_job(self, job: QueuedJob, *, not_before: float | None = None) -> QueuedJob:
        """Queue a running job again without counting this attempt."""
        with self._scope.connection.atomic():
            held = _require_held(self._scope, job)
            later = self._scope.clock() if not_before is None else not_before
            _update(self._scope, job.id, attempts=held.attempts - 1, abrupt_ends=0, not_before=later)
            return _end(self._scope, job.id, JobState.QUEUED, error=held.error)

    def abandon_job(self, job: QueuedJob, reason: str = OWNER_DIED) -> QueuedJob:
        """Requeue a job whose owner is gone, without counting its attempt; no effect if it runs no more."""
        with self._scope.connection.atomic():
            held = _row(self._scope, job.id)
            if held.state is JobState.RUNNING and held.leases == job.leases:
                _requeue(self._scope, held, reason)
            return _row(self._scope, job.id)

    def revive_jobs(self) -> int:
        """Queue dead jobs again with all their attempts, for a process that starts anew; returns how many."""
        now = self._scope.clock()
        with self._scope.connection.atomic():
            return self._scope.connection.run(
                "UPDATE queued_jobs SET state = 'queued', attempts = 0, abrupt_ends = 0, not_before = ?, changed = ?"
                " WHERE namespace = ? AND state = 'dead'",
                (now, now, self._scope.namespace),
            )

    def job(self, job_id: str) -> QueuedJob:
        """One job as it is now. Raises `UnknownIdError`."""
        return _row(self._scope, job_id)

    def prune_jobs(self, keep: int, *, spare: Collection[str] = ()) -> int:
        """Delete done jobs, except the newest `keep` and the ids in `spare`; returns how many.

        Waiting, running and dead jobs stay. Raises `InputError` when `keep` is negative.
        """
        if keep < 0:
            raise InputError(f"cannot keep {keep} done jobs, expected 0 or more")
        scope = self._scope
        with scope.connection.atomic():
            return scope.connection.run(
                "DELETE FROM queued_jobs WHERE namespace = ? AND state = 'done'"
                " AND id NOT IN (SELECT value FROM json_each(?)) AND seq NOT IN (SELECT seq FROM queued_jobs"
                " WHERE namespace = ? AND state = 'done' ORDER BY seq DESC LIMIT ?)",
                (scope.namespace, id_list(spare), scope.namespace, keep),
            )

    def jobs(self, *, states: Collection[JobState] | None = None, limit: int | None = None) -> list[QueuedJob]:
        """Jobs in any of these states, newest first."""
        wanted = list(JobState) if states is None else states
        rows = self._scope.connection.rows(
            "SELECT * FROM queued_jobs WHERE namespace = ? AND state IN (SELECT value FROM json_each(?))"
            " ORDER BY seq DESC LIMIT ?",
            (self._scope.namespace, id_list(state.value for state in wanted), -1 if limit is None else limit),
        )
        return [_job_from(row) for row in rows]


def retry_delay(attempt: int) -> float:
    """Seconds to wait before an attempt (counted from 1) after the previous one failed: exponential back-off."""
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = max(1, attempt - 1)
    return wait_exponential(multiplier=MIN_DELAY, max=MAX_DELAY)(state)


def _is_last(job: QueuedJob) -> bool:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = job.attempts
    return stop_after_attempt(job.max_attempts)(state)


def _requeue(scope: Scope, job: QueuedJob, reason: str) -> None:
    """Queue a job whose owner is gone. Attempts count failures; after many such ends in a row the job waits."""
    ends = 1 + int(
        scope.connection.rows(
            "SELECT abrupt_ends FROM queued_jobs WHERE namespace = ? AND id = ?", (scope.namespace, job.id)
        )[0][0]
    )
    wait = retry_delay(ends - MAX_ATTEMPTS + 2) if ends >= MAX_ATTEMPTS else 0.0
    _update(scope, job.id, attempts=job.attempts - 1, abrupt_ends=ends, not_before=scope.clock() + wait)
    _end(scope, job.id, JobState.QUEUED, error=reason)


def _shorten(scope: Scope, now: float, lease_seconds: float) -> None:
    """Cut leases to `lease_seconds` and waits to `MAX_DELAY`."""
    scope.connection.run(
        "UPDATE queued_jobs SET lease_until = ? WHERE namespace = ? AND state = 'running' AND lease_until > ?",
        (now + lease_seconds, scope.namespace, now + lease_seconds),
    )
    scope.connection.run(
        "UPDATE queued_jobs SET not_before = ? WHERE namespace = ? AND state IN ('queued', 'failed')"
        " AND not_before > ?",
        (now + MAX_DELAY, scope.namespace, now + MAX_DELAY),
    )


def _end(scope: Scope, job_id: str, state: JobState, *, error: str | None) -> QueuedJob:
    scope.connection.run(
        "UPDATE queued_jobs SET state = ?, error = ?, lease_until = NULL, owner = NULL, changed = ?"
        " WHERE namespace = ? AND id = ?",
        (state.value, error, scope.clock(), scope.namespace, job_id),
    )
    return _row(scope, job_id)


def _update(scope: Scope, job_id: str, **values: float) -> None:
    columns = ", ".join(f"{name} = ?" for name in values)
    scope.connection.run(
        f"UPDATE queued_jobs SET {columns} WHERE namespace = ? AND id = ?",
        (*values.values(), scope.namespace, job_id),
    )


def _require_held(scope: Scope, job: QueuedJob) -> QueuedJob:
    found = _row(scope, job.id)
    if found.state is not JobState.RUNNING or found.leases != job.leases:
        raise BusyError(
            f"job {job.id} ({job.kind}) is {found.state.value} and no longer yours: its lease ran out; "
            "stop working on it"
        )
    return found


def _row(scope: Scope, job_id: str) -> QueuedJob:
    rows = scope.connection.rows("SELECT * FROM queued_jobs WHERE namespace = ? AND id = ?", (scope.namespace, job_id))
    if not rows:
        raise UnknownIdError(f"the memory {scope.namespace!r} has no queued job {job_id}")
    return _job_from(rows[0])


def _job_from(row: sqlite3.Row) -> QueuedJob:
    return QueuedJob(
        id=row["id"],
        kind=row["kind"],
        state=JobState(row["state"]),
        payload=from_json(row["payload"]),
        priority=row["priority"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        leases=row["leases"],
        not_before=row["not_before"],
        created=row["created"],
        changed=row["changed"],
        lease_until=row["lease_until"],
        owner=row["owner"],
        error=row["error"],
    )
