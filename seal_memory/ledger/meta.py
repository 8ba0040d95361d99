"""A small key/value store per namespace, for facts about the memory itself.

Not covered: anything made from interactions. A purge does not look in here.
"""

from __future__ import annotations

from seal_memory.ledger.connection import Scope


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
