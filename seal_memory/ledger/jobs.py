"""Job rows with leases, so that two processes never train one namespace at the same time.

A job of a kind holds its namespace until it finishes or its lease expires. A process that finds an expired lease takes
over and marks the old job failed; the old owner's next `heartbeat` or `finish_job` raises. Call one of them in the
`atomic()` block that publishes: then a process that lost its lease cannot publish.

Leases use the clock that the ledger was opened with (by default wall time, which processes on one machine share). A
clock that was set back makes a lease look longer than any is: it is cut to the length that is asked for.

Not here: doing the work (`training`), waiting work (`queue`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from seal_memory.errors import BusyError, InputError, UnknownIdError
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import from_json, to_json
from seal_memory.records import Job

RUNNING, DONE, FAILED = "running", "done", "failed"
EXPIRED = "lease expired"
KEPT = 200  # jobs of a kind that have ended; every start and every look for a dead owner reads them


def start_job(scope: Scope, kind: str, payload: Mapping[str, Any], *, owner: str, lease_seconds: float) -> Job:
    _check_lease(lease_seconds)
    _shorten_leases(scope, kind, lease_seconds)
    with scope.connection.atomic():
        now = scope.clock()
        for row in _running(scope, kind):
            if row["lease_until"] > now:
                until = datetime.fromtimestamp(row["lease_until"], UTC).isoformat(timespec="seconds")
                raise BusyError(
                    f"a {kind} job of {scope.namespace!r} is being run by {row['owner']}, whose lease "
                    f"ends at {until}: wait for it, or stop that process and wait until then"
                )
            _end(scope, row["id"], FAILED, EXPIRED)
        scope.connection.run(
            "DELETE FROM jobs WHERE namespace = ?1 AND kind = ?2 AND state != ?3 AND seq NOT IN"
            " (SELECT seq FROM jobs WHERE namespace = ?1 AND kind = ?2 ORDER BY seq DESC LIMIT ?4)",
            (scope.namespace, kind, RUNNING, KEPT),
        )
        job = Job(scope.make_id(), kind, RUNNING, dict(payload), now, now + lease_seconds, owner, None)
        scope.connection.run(
            "INSERT INTO jobs (namespace, id, kind, state, payload, created, lease_until, owner)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                scope.namespace, job.id, kind, RUNNING, to_json(dict(payload), "the payload of a job"),
                now, job.lease_until, owner,
            ),
        )  # fmt: skip
    return job


def heartbeat(scope: Scope, job_id: str, *, lease_seconds: float) -> Job:
    _check_lease(lease_seconds)
    with scope.connection.atomic():
        _require_running(scope, job_id)
        scope.connection.run(
            "UPDATE jobs SET lease_until = ? WHERE namespace = ? AND id = ?",
            (scope.clock() + lease_seconds, scope.namespace, job_id),
        )
        return _job_from(_row_of(scope, job_id))


def finish_job(scope: Scope, job_id: str, *, error: str | None) -> Job:
    with scope.connection.atomic():
        _require_running(scope, job_id)
        _end(scope, job_id, DONE if error is None else FAILED, error)
        return _job_from(_row_of(scope, job_id))


def jobs(scope: Scope, *, limit: int | None) -> list[Job]:
    rows = scope.connection.rows(
        "SELECT * FROM jobs WHERE namespace = ? ORDER BY seq DESC LIMIT ?",
        (scope.namespace, -1 if limit is None else limit),
    )
    return [_job_from(row) for row in rows]


def _check_lease(lease_seconds: float) -> None:
    if not lease_seconds > 0:
        raise InputError(f"lease_seconds is {lease_seconds!r}, expected more than 0")


def _shorten_leases(scope: Scope, kind: str, longest: float) -> None:
    """In a transaction of its own: the one that finds a lease held is rolled back."""
    with scope.connection.atomic():
        until = scope.clock() + longest
        scope.connection.run(
            "UPDATE jobs SET lease_until = ? WHERE namespace = ? AND kind = ? AND state = ? AND lease_until > ?",
            (until, scope.namespace, kind, RUNNING, until),
        )


def _running(scope: Scope, kind: str) -> list[sqlite3.Row]:
    return scope.connection.rows(
        "SELECT * FROM jobs WHERE namespace = ? AND kind = ? AND state = ?", (scope.namespace, kind, RUNNING)
    )


def _require_running(scope: Scope, job_id: str) -> None:
    row = _row_of(scope, job_id)
    if row["state"] != RUNNING:
        why = f" ({row['error']})" if row["error"] else ""
        raise BusyError(f"job {job_id} is {row['state']}{why} and no longer holds its lease: start a new one")


def _end(scope: Scope, job_id: str, state: str, error: str | None) -> None:
    scope.connection.run(
        "UPDATE jobs SET state = ?, error = ?, lease_until = NULL WHERE namespace = ? AND id = ?",
        (state, error, scope.namespace, job_id),
    )


def _row_of(scope: Scope, job_id: str) -> sqlite3.Row:
    rows = scope.connection.rows("SELECT * FROM jobs WHERE namespace = ? AND id = ?", (scope.namespace, job_id))
    if not rows:
        raise UnknownIdError(f"the memory {scope.namespace!r} has no job {job_id}")
    return rows[0]


def _job_from(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        state=row["state"],
        payload=from_json(row["payload"]),
        created=row["created"],
        lease_until=row["lease_until"],
        owner=row["owner"],
        error=row["error"],
    )
