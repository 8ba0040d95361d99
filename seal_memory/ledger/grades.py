"""Rows of quiz grades and of the publish gate's decisions, both append-only.

Not here: grading (`learning.grading`), averages over grades (the retention matrix).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from enum import Enum
from typing import Final, Literal

from seal_memory.errors import UnknownIdError
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import from_json, id_list, not_nan, to_json
from seal_memory.records import Decision, Grade


class _NoFilter(Enum):
    ANY = "any"


ANY: Final = _NoFilter.ANY  # no filter; None selects grades of the untouched base
NoFilter = Literal[_NoFilter.ANY]


def add_grades(scope: Scope, items: Sequence[Grade]) -> None:
    with scope.connection.atomic():
        _require_quiz_items(scope, {grade.quiz_item_id for grade in items})
        scope.connection.run_many(
            "INSERT INTO grades"
            " (quiz_item, adapter_id, snapshot_version, logprob, share_likely, correct, time)"
            " SELECT seq, ?, ?, ?, ?, ?, ? FROM quiz_items WHERE namespace = ? AND id = ?",
            [
                (
                    grade.adapter_id, grade.snapshot_version,
                    not_nan(grade.logprob, f"the log-probability of {grade.quiz_item_id}"),
                    not_nan(grade.share_likely, f"the share of likely tokens of {grade.quiz_item_id}"),
                    None if grade.correct is None else int(grade.correct), grade.time,
                    scope.namespace, grade.quiz_item_id,
                )
                for grade in items
            ],
        )  # fmt: skip


def grades(
    scope: Scope,
    *,
    quiz_item_ids: Collection[str] | None,
    adapter_id: str | NoFilter | None,
    snapshot_version: int | NoFilter | None,
) -> list[Grade]:
    where: list[str] = ["q.namespace = ?"]
    values: list[str | int | None] = [scope.namespace]
    if quiz_item_ids is not None:
        where.append("q.id IN (SELECT value FROM json_each(?))")
        values.append(id_list(quiz_item_ids))
    if adapter_id is not ANY:
        where.append("g.adapter_id IS ?")
        values.append(adapter_id)
    if snapshot_version is not ANY:
        where.append("g.snapshot_version IS ?")
        values.append(snapshot_version)
    rows = scope.connection.rows(
        "SELECT g.*, q.id AS quiz_item_id FROM grades g JOIN quiz_items q ON q.seq = g.quiz_item"
        f" WHERE {' AND '.join(where)} ORDER BY g.seq",
        values,
    )
    return [_grade_from(row) for row in rows]


def add_decision(scope: Scope, decision: Decision) -> None:
    with scope.connection.atomic():
        scope.connection.run(
            "INSERT INTO decisions (namespace, id, adapter_id, episode_id, accepted, reasons, measures,"
            " snapshot_version, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                scope.namespace, decision.id, decision.adapter_id, decision.episode_id,
                int(decision.accepted), to_json(list(decision.reasons), "the reasons of a decision"),
                to_json(dict(decision.measures), "the measures of a decision"),
                decision.snapshot_version, decision.time,
            ),
        )  # fmt: skip


def decisions(scope: Scope, *, limit: int | None) -> list[Decision]:
    rows = scope.connection.rows(
        "SELECT * FROM decisions WHERE namespace = ? ORDER BY seq DESC LIMIT ?",
        (scope.namespace, -1 if limit is None else limit),
    )
    return [
        Decision(
            id=row["id"],
            adapter_id=row["adapter_id"],
            episode_id=row["episode_id"],
            accepted=bool(row["accepted"]),
            reasons=tuple(from_json(row["reasons"])),
            measures=from_json(row["measures"]),
            snapshot_version=row["snapshot_version"],
            time=row["time"],
        )
        for row in rows
    ]


def _require_quiz_items(scope: Scope, ids: Collection[str]) -> None:
    rows = scope.connection.rows(
        "SELECT j.value FROM json_each(?) j WHERE NOT EXISTS"
        " (SELECT 1 FROM quiz_items q WHERE q.namespace = ? AND q.id = j.value)",
        (id_list(ids), scope.namespace),
    )
    if rows:
        named = ", ".join(row[0] for row in rows[:5])
        raise UnknownIdError(f"the ledger holds no quiz item {named}: add it before its grades")


def _grade_from(row: sqlite3.Row) -> Grade:
    return Grade(
        quiz_item_id=row["quiz_item_id"],
        adapter_id=row["adapter_id"],
        snapshot_version=row["snapshot_version"],
        logprob=row["logprob"],
        share_likely=row["share_likely"],
        correct=None if row["correct"] is None else bool(row["correct"]),
        time=row["time"],
    )
