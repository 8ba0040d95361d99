"""What a ledger file holds across its namespaces: their names, and which of them have background work.

Everything else in the ledger sees one namespace. Not here: deciding who may see another's name (`server.auth`).
"""

from __future__ import annotations

from seal_memory.ledger.connection import Scope

_WAITING = """
    SELECT namespace FROM interactions WHERE status = 'pending'
    UNION SELECT namespace FROM audit_schedule WHERE due <= :now
    UNION SELECT namespace FROM queued_jobs WHERE state IN ('queued', 'failed') AND not_before <= :now
    UNION SELECT namespace FROM queued_jobs WHERE state = 'running'
    ORDER BY 1
"""
_ASKED = """
    SELECT namespace FROM queued_jobs WHERE state IN ('queued', 'failed') AND not_before <= :now
    UNION SELECT namespace FROM queued_jobs WHERE state = 'running'
    ORDER BY 1
"""


class Namespaces:
    """The namespaces of one ledger file."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def names(self) -> list[str]:
        """Where something was ever observed or published, sorted."""
        connection = self._scope.connection
        rows = connection.rows("SELECT namespace FROM interactions UNION SELECT namespace FROM snapshots ORDER BY 1")
        return [row[0] for row in rows]

    def with_work(self, *, asked_only: bool = False) -> list[str]:
        """Where a worker would find something to do now; `asked_only`: only jobs that are queued already."""
        sql = _ASKED if asked_only else _WAITING
        return [row[0] for row in self._scope.connection.rows(sql, {"now": self._scope.clock()})]
