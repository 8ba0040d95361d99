"""Table of LangGraph items: one SQLite file beside the ledger, shared by processes, read and written in transactions.

An item's row holds the ids of the interactions that were learned from it. Deleting moves those ids to a second table,
`due`, in the same transaction, so that they are forgotten even if the process dies before. Not here: LangGraph's
operations (`store`), and forgetting itself.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal_memory.errors import InputError, LedgerError
from seal_memory.ledger.arguments import require_depth

__all__ = ["Items", "Row"]

_TABLES = """
CREATE TABLE IF NOT EXISTS items (
    memory TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, learned TEXT NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL, ttl_minutes REAL, expires REAL, interactions TEXT NOT NULL,
    PRIMARY KEY (memory, namespace, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS due (memory TEXT NOT NULL, interaction TEXT NOT NULL, PRIMARY KEY (memory, interaction));
"""
_COLUMNS = "namespace, key, value, learned, created, updated, ttl_minutes, expires, interactions"


@dataclass(frozen=True, slots=True)
class Row:
    """One item. Times are Unix seconds; `learned` is the text that was observed, "" for none."""

    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any]
    learned: str
    created: float
    updated: float
    ttl_minutes: float | None
    expires: float | None
    interactions: tuple[str, ...]


class Items:
    """The rows of one memory namespace in `file`. Calls from threads are serialised; another process waits 10 s."""

    def __init__(self, file: Path, memory: str) -> None:
        self._memory, self._lock = memory, threading.RLock()
        with _translated(file):
            self._db = sqlite3.connect(file, timeout=10, isolation_level=None, check_same_thread=False)
            self._db.executescript(f"PRAGMA secure_delete=ON; {_TABLES}")
        self._file = file

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Open a transaction; other writers wait. Raises `LedgerError` for SQLite's errors."""
        with self._lock, _translated(self._file):
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def rows(self, where: str = "1", values: Iterable[Any] = ()) -> list[Row]:
        """Select the rows that fit the SQL condition, last updated first."""
        sql = f"SELECT {_COLUMNS} FROM items WHERE memory = ? AND {where} ORDER BY updated DESC, namespace, key"
        with self._lock, _translated(self._file):
            return [_row(found) for found in self._db.execute(sql, (self._memory, *values))]

    def get(self, namespace: tuple[str, ...], key: str) -> Row | None:
        """The row of a namespace and key."""
        return next(iter(self.rows("namespace = ? AND key = ?", (to_json(namespace), key))), None)

    def put(self, row: Row) -> None:
        """Write a row in place of the one with its namespace and key."""
        values = (
            to_json(row.namespace), row.key, to_json(row.value), row.learned, row.created, row.updated,
            row.ttl_minutes, row.expires, to_json(row.interactions),
        )  # fmt: skip
        marks = ", ".join("?" * (len(values) + 1))
        with self.atomic():
            self._db.execute(
                f"INSERT OR REPLACE INTO items (memory, {_COLUMNS}) VALUES ({marks})", (self._memory, *values)
            )

    def remove(self, row: Row) -> None:
        """Delete a row; its interactions become due to be forgotten."""
        with self.atomic():
            where = "memory = ? AND namespace = ? AND key = ?"
            self._db.execute(f"DELETE FROM items WHERE {where}", (self._memory, to_json(row.namespace), row.key))
            self.forget_later(row.interactions)

    def touch(self, rows: Iterable[Row], now: float) -> None:
        """Restart the rows' time to live."""
        living = [(now, self._memory, to_json(r.namespace), r.key) for r in rows if r.ttl_minutes is not None]
        if living:
            sql = "UPDATE items SET expires = ? + 60 * ttl_minutes WHERE memory = ? AND namespace = ? AND key = ?"
            with self.atomic():
                self._db.executemany(sql, living)

    def expired(self, now: float) -> list[Row]:
        """List the rows whose time to live is over; none lives longer than that from now, if the clock was set back."""
        with self.atomic():
            sql = "UPDATE items SET expires = ? + 60 * ttl_minutes WHERE memory = ? AND expires > ? + 60 * ttl_minutes"
            self._db.execute(sql, (now, self._memory, now))
            return self.rows("expires <= ?", (now,))

    def forget_later(self, interactions: Iterable[str]) -> None:
        """Add ids that are due to be forgotten."""
        with self.atomic():
            noted = [(self._memory, i) for i in interactions]
            self._db.executemany("INSERT OR IGNORE INTO due (memory, interaction) VALUES (?, ?)", noted)

    def due(self) -> list[str]:
        """List the ids that are due to be forgotten and that no item holds any more."""
        with self._lock, _translated(self._file):
            self._db.execute(
                "DELETE FROM due WHERE memory = ?1 AND interaction IN"
                " (SELECT j.value FROM items i, json_each(i.interactions) j WHERE i.memory = ?1)",
                (self._memory,),
            )
            found = self._db.execute("SELECT interaction FROM due WHERE memory = ?", (self._memory,))
            return [row[0] for row in found]

    def forgotten(self, interactions: Iterable[str]) -> None:
        """Remove ids from those that are due."""
        with self.atomic():
            done = [(self._memory, i) for i in interactions]
            self._db.executemany("DELETE FROM due WHERE memory = ? AND interaction = ?", done)


def to_json(value: Any) -> str:
    """Convert to JSON.

    Raises `InputError` (a `ValueError`) for a value without a JSON form, nested over 100 levels deep, or with half of a
    surrogate pair.
    """
    require_depth(value, "the item")
    plain = dict(value) if isinstance(value, Mapping) else value
    try:
        json.dumps(plain, ensure_ascii=False).encode("utf-8")
        return json.dumps(plain)
    except UnicodeEncodeError:
        raise InputError("This item holds half of a surrogate pair; put valid Unicode only.") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"This item cannot be stored as JSON: {error}; put values of plain JSON types.") from error


def _row(found: tuple[Any, ...]) -> Row:
    namespace, key, value, learned, created, updated, ttl, expires, ids = found
    return Row(
        tuple(json.loads(namespace)), key, json.loads(value), learned, created, updated, ttl, expires,
        tuple(json.loads(ids)),
    )  # fmt: skip


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(
            f"The store {file} cannot be used: {error}. Is the disk full, or the file damaged?"
        ) from error
