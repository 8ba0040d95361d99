"""API keys with scopes and namespaces, in a small SQLite file beside the ledger.

A secret is 256 random bits, shown once and stored as its SHA-256: a random secret needs no slow hash. It is looked up
by its public prefix and compared in constant time. A revoked key stays on record, so that a server which once had keys
never becomes open again. Not here: reading a request's key (`auth`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from seal_memory.errors import InputError, UnknownIdError
from seal_memory.ledger.connection import BUSY_SECONDS, make_private, make_private_folder, translate_error
from seal_memory.pool import check_name

FILE_NAME = "keys.sqlite"
SCOPES = ("chat", "observe", "read", "admin")
_NO_HASH = hashlib.sha256(b"").hexdigest()
_TABLE = """
CREATE TABLE IF NOT EXISTS api_keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL, scopes TEXT NOT NULL, namespaces TEXT NOT NULL,
    observes INTEGER NOT NULL, created REAL NOT NULL, revoked REAL
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Key:
    """One API key. `id` is the public part of its secret; the first namespace is its default.

    `observes`: whether its conversations are recorded by default.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    namespaces: tuple[str, ...]
    observes: bool
    created: float
    revoked: float | None = None

    def allows(self, scope: str) -> bool:
        """Whether the key has the scope; `admin` includes all others."""
        return scope in self.scopes or "admin" in self.scopes


class KeyStore:
    """The keys of one memory folder; safe for several threads and processes."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Raises `LedgerError` when the file cannot be opened."""
        self.path, self._clock, self._lock = folder / FILE_NAME, clock, threading.RLock()
        with self._translated():
            make_private_folder(folder)
            make_private(self.path)
            connection = sqlite3.connect(
                str(self.path), timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            self._database = Database(connection, execute_plugins=False)
            self._database.execute(_TABLE)

    def create(
        self, *, namespaces: Sequence[str], scopes: Sequence[str] = SCOPES[:3], name: str = "", observes: bool = True
    ) -> tuple[Key, str]:
        """Create a key; returns it and its secret, which is not stored. Raises `InputError` for bad scopes or names."""
        unknown = [s for s in scopes if s not in SCOPES]
        if unknown or not scopes:
            raise InputError(f"Unknown scopes {list(scopes)}; expected one or more of {list(SCOPES)}.")
        if not namespaces:
            raise InputError("A key needs at least one namespace.")
        for namespace in namespaces:
            check_name(namespace)
        prefix, rest = secrets.token_hex(6), secrets.token_urlsafe(32)
        secret = f"sm-{prefix}-{rest}"
        row: dict[str, Any] = {
            "id": prefix,
            "name": name,
            "hash": _hash(secret),
            "scopes": json.dumps([s for s in SCOPES if s in scopes]),
            "namespaces": json.dumps(list(dict.fromkeys(namespaces))),
            "observes": int(observes),
            "created": self._clock(),
            "revoked": None,
        }
        with self._translated():
            self._database["api_keys"].insert(row)  # type: ignore[union-attr]
        return self.get(prefix), secret

    def get(self, key_id: str) -> Key:
        """One key. Raises `UnknownIdError`."""
        rows = self._rows("WHERE id = ?", key_id)
        if not rows:
            raise UnknownIdError(f"There is no key {key_id!r}; `seal-memory keys list` shows all keys.")
        return _key_from(rows[0])

    def keys(self) -> list[Key]:
        """All keys, revoked ones too, oldest first."""
        return [_key_from(row) for row in self._rows("ORDER BY created, id")]

    def revoke(self, key_id: str) -> Key:
        """Revoke a key at once; revoking again changes nothing. Raises `UnknownIdError`."""
        self.get(key_id)
        with self._translated():
            self._database.execute(
                "UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (self._clock(), key_id)
            )
        return self.get(key_id)

    def find(self, secret: str) -> Key | None:
        """The key of a secret; None for an unknown or revoked one, in the same time."""
        parts = secret.split("-", 2)
        rows = self._rows("WHERE id = ? AND revoked IS NULL", parts[1] if len(parts) == 3 else "")
        matches = hmac.compare_digest(_hash(secret), rows[0]["hash"] if rows else _NO_HASH)
        return _key_from(rows[0]) if rows and matches else None

    def is_valid(self, key_id: str) -> bool:
        """Whether a key exists and is not revoked."""
        return bool(self._rows("WHERE id = ? AND revoked IS NULL", key_id))

    @property
    def in_use(self) -> bool:
        """Whether a key was ever created: then every request needs one."""
        return bool(self._rows("LIMIT 1"))

    @property
    def any_valid(self) -> bool:
        """Whether there is a key that is not revoked."""
        return bool(self._rows("WHERE revoked IS NULL LIMIT 1"))

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        with self._lock:
            self._database.conn.close()

    def __enter__(self) -> KeyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, rest: str, *values: str) -> list[sqlite3.Row]:
        with self._translated():
            return list(self._database.execute(f"SELECT * FROM api_keys {rest}", values).fetchall())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise translate_error(error, self.path) from error


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", errors="surrogatepass")).hexdigest()


def _key_from(row: sqlite3.Row) -> Key:
    return Key(
        row["id"],
        row["name"],
        tuple(json.loads(row["scopes"])),
        tuple(json.loads(row["namespaces"])),
        bool(row["observes"]),
        row["created"],
        row["revoked"],
    )
