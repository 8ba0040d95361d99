"""Audit rows of published shards: the schedule, and the append-only results.

Every shard of the published snapshot has a row in the schedule. A shard that is no longer published loses its row and
keeps its results until its adapter is deleted. Intervals double from audit to audit.

Not here: asking the questions (`forgetting.audits`), acting on the results (`forgetting.retention`).
"""

from __future__ import annotations

import sqlite3

from seal_memory.ledger import snapshots
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import id_list, not_nan
from seal_memory.records import Audit, AuditDue, Manifest, ShardEntry

MAX_STEP = 12  # doublings of the first interval: from one hour to half a year


class Audits:
    """The audits of one namespace."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def schedule(self, first_interval: float) -> None:
        """Match the schedule to the published snapshot; new shards are due in `first_interval` seconds.

        The first result of a new shard is the mean of its grades at publishing.
        """
        scope = self._scope
        with scope.connection.atomic():
            snapshot = snapshots.current(scope)
            manifest = snapshot.manifest if snapshot is not None else Manifest()
            scope.connection.run(
                "DELETE FROM audit_schedule WHERE namespace = ? AND adapter_id NOT IN (SELECT value FROM json_each(?))",
                (scope.namespace, id_list(s.adapter_id for s in manifest.shards)),
            )
            self.bring_forward(first_interval)
            known = {due.adapter_id for due in self.due()}
            for shard in manifest.shards:
                if shard.adapter_id not in known:
                    self._schedule(AuditDue(shard.adapter_id, shard.episode_id, scope.clock() + first_interval, 0))
                    self._record_first(shard)

    def bring_forward(self, first_interval: float) -> None:
        """Bring dates further away than the interval of their step forward: the clock was set back."""
        connection, namespace = self._scope.connection, self._scope.namespace
        too_late = "namespace = ? AND due > ? + ? * (1 << step)"
        values = (namespace, self._scope.clock(), first_interval)
        if connection.rows(f"SELECT 1 FROM audit_schedule WHERE {too_late} LIMIT 1", values):
            with connection.atomic():
                connection.run(
                    f"UPDATE audit_schedule SET due = ? + ? * (1 << step) WHERE {too_late}", (*values[1:], *values)
                )

    def due(self, at: float | None = None) -> list[AuditDue]:
        """Audits due by the time `at` (None: all that are scheduled), the most overdue first."""
        rows = self._scope.connection.rows(
            "SELECT * FROM audit_schedule WHERE namespace = ? AND (? IS NULL OR due <= ?) ORDER BY due, adapter_id",
            (self._scope.namespace, at, at),
        )
        return [AuditDue(row["adapter_id"], row["episode_id"], row["due"], row["step"]) for row in rows]

    def record(self, audit: Audit, *, weakened: bool, first_interval: float) -> AuditDue:
        """Append a result and schedule the next audit: double the interval, or back to the first if `weakened`.

        Raises:
            UnknownIdError: the ledger has no such adapter (see `Ledger.adapters`).
        """
        with self._scope.connection.atomic():
            step = 0 if weakened else min(MAX_STEP, self._step(audit.adapter_id) + 1)
            self._append(audit)
            due = AuditDue(audit.adapter_id, audit.episode_id, audit.time + first_interval * 2.0**step, step)
            self._schedule(due)
        return due

    def results(self, *, adapter_id: str | None = None) -> list[Audit]:
        """All results, oldest first."""
        rows = self._scope.connection.rows(
            "SELECT * FROM audits WHERE namespace = ? AND (? IS NULL OR adapter_id = ?) ORDER BY seq",
            (self._scope.namespace, adapter_id, adapter_id),
        )
        return [_audit_from(row) for row in rows]

    def _step(self, adapter_id: str) -> int:
        rows = self._scope.connection.rows(
            "SELECT step FROM audit_schedule WHERE namespace = ? AND adapter_id = ?",
            (self._scope.namespace, adapter_id),
        )
        return int(rows[0]["step"]) if rows else 0

    def _schedule(self, due: AuditDue) -> None:
        self._scope.connection.run(
            "INSERT OR REPLACE INTO audit_schedule (namespace, adapter_id, episode_id, due, step)"
            " VALUES (?, ?, ?, ?, ?)",
            (self._scope.namespace, due.adapter_id, due.episode_id, due.due, due.step),
        )

    def _append(self, audit: Audit) -> None:
        self._scope.connection.run(
            "INSERT INTO audits (namespace, adapter_id, episode_id, snapshot_version, time, recall, items)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self._scope.namespace, audit.adapter_id, audit.episode_id, audit.snapshot_version, audit.time,
                not_nan(audit.recall, f"the recall of {audit.adapter_id}"), audit.items,
            ),
        )  # fmt: skip

    def _record_first(self, shard: ShardEntry) -> None:
        """Append the recall measured at publishing, unless the shard has a result already or no grades are left."""
        if self.results(adapter_id=shard.adapter_id):
            return
        rows = self._scope.connection.rows(
            "SELECT g.snapshot_version, g.time, avg(g.correct) AS recall, count(*) AS items FROM grades g"
            " JOIN quiz_items q ON q.seq = g.quiz_item WHERE q.namespace = ? AND g.adapter_id = ?"
            " AND g.snapshot_version IS NOT NULL AND g.correct IS NOT NULL"
            " GROUP BY g.snapshot_version, g.time ORDER BY g.time LIMIT 1",
            (self._scope.namespace, shard.adapter_id),
        )
        for row in rows:
            self._append(
                Audit(
                    shard.adapter_id,
                    shard.episode_id,
                    row["snapshot_version"],
                    row["time"],
                    row["recall"],
                    row["items"],
                )
            )


def _audit_from(row: sqlite3.Row) -> Audit:
    return Audit(
        row["adapter_id"], row["episode_id"], row["snapshot_version"], row["time"], row["recall"], row["items"]
    )
