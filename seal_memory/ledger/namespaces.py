"""Namespaces of a ledger file: their names, which have background work, and a key/value store for each.

`Namespaces` is the only part of the ledger that sees more than one namespace. The key/value store holds facts about a
memory itself; a purge does not look there. Not here: access control between namespaces (`server.auth`).
"""

from __future__ import annotations

from dataclasses import replace

from seal_memory.ledger.connection import Scope
from seal_memory.ledger.queue import MAX_DELAY, JobQueue

_ANY_WORK = """
    SELECT namespace FROM interactions WHERE status = 'pending'
    UNION SELECT namespace FROM audit_schedule WHERE due <= :now OR due > :now + :audits * (1 << step)
    UNION SELECT namespace FROM queued_jobs WHERE state IN ('queued', 'failed')
        AND (not_before <= :now OR not_before > :now + :longest)
    UNION SELECT namespace FROM queued_jobs WHERE state = 'running'
    ORDER BY 1
"""
_QUEUED = """
    SELECT namespace FROM queued_jobs WHERE state IN ('queued', 'failed')
        AND (not_before <= :now OR not_before > :now + :longest)
    UNION SELECT namespace FROM queued_jobs WHERE state = 'running'
    ORDER BY 1
"""


class Namespaces:
    """The namespaces of one ledger file."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def names(self) -> list[str]:
        """Names of the namespaces with an interaction or a snapshot, sorted."""
        connection = self._scope.connection
        rows = connection.rows("SELECT namespace FROM interactions UNION SELECT namespace FROM snapshots ORDER BY 1")
        return [row[0] for row in rows]

    def with_work(self, *, audit_interval: float, asked_only: bool = False) -> list[str]:
        """Names of the namespaces with background work now; `asked_only` counts queued jobs only.

        What waits longer than any work does (an audit: than its interval) counts, since the clock was set back.
        """
        sql = _QUEUED if asked_only else _ANY_WORK
        times = {"now": self._scope.clock(), "longest": MAX_DELAY, "audits": audit_interval}
        return [row[0] for row in self._scope.connection.rows(sql, times)]

    def revive_jobs(self) -> int:
        """`JobQueue.revive_jobs` in every namespace."""
        rows = self._scope.connection.rows("SELECT DISTINCT namespace FROM queued_jobs WHERE state = 'dead'")
        return sum(JobQueue(replace(self._scope, namespace=row[0])).revive_jobs() for row in rows)


def meta_get(scope: Scope, key: str) -> str | None:
    rows = scope.connection.rows("SELECT value FROM meta WHERE namespace = ? AND key = ?", (scope.namespace, key))
    return rows[0][0] if rows else None


def meta_set(scope: Scope, key: str, value: str | None) -> None:
    with scope.connection.atomic():
        if value is None:
            scope.connection.run("DELETE FROM meta WHERE namespace = ? AND key = ?", (scope.namespace, key))
        else:
            scope.connection.run(
                "INSERT INTO meta (namespace, key, value) VALUES (?, ?, ?)"
                " ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value",
                (scope.namespace, key, value),
            )
