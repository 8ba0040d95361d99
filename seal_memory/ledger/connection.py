"""SQLite connection to a ledger file: opening, locking, transactions, error translation.

Every statement of the ledger goes through `Connection`, the one place where `sqlite3` errors become seal-memory
errors. Threads may share a connection: a re-entrant lock serialises them, and `atomic()` holds it for its whole
block. Processes may share the file: SQLite's lock serialises writers, and a writer that waits longer than
`BUSY_SECONDS` gets `BusyError`.

Commits are flushed to disk (`synchronous=FULL`), so that a returned `observe` or publish survives a power cut. That
costs one fsync per transaction: write in batches.

SQLite empties the write-ahead log only in a moment without readers; with overlapping readers there is none, and the log
grows. So a commit that finds the log over `LOG_LIMIT` empties it: it waits for the readers of older states, then for
those that began meanwhile; later ones need the file only. So the log stays under `LOG_LIMIT` and a transaction while no
reader keeps a state for longer than about half of `LOG_WAIT`. A reader that does keeps it growing until it ends.

Not here: the tables (`schema`), their rows, sharing a connection across `os.fork` (reopen the ledger in the child).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlite_utils import Database

from seal_memory._internal.scripts import fold
from seal_memory.errors import BusyError, InputError, LedgerError

logger = logging.getLogger(__name__)

FILE_NAME = "ledger.sqlite"
BUSY_SECONDS = 10.0
LOG_LIMIT = 16 << 20  # bytes of the write-ahead log from which on a commit empties it
LOG_WAIT = 2.0  # seconds that the commit which empties it waits for readers
LOG_PAUSE = 6.0  # seconds between two tries where a reader did not end in that time
LOG_TRY = 0.1  # seconds that one checkpoint waits; other writers wait as long

Parameters = Sequence[Any] | dict[str, Any]


class Connection:
    """Database handle with a lock, nested transactions and translated errors."""

    def __init__(self, database: Database, path: Path, *, read_only: bool) -> None:
        self.database = database
        self.path = path
        self.read_only = read_only
        self._lock = threading.RLock()
        self._depth = 0
        self._after_commit: list[Callable[[], None]] = []
        self.wipe_after = 0.0  # monotonic time before which `purge.retry_wipe` does not try again
        self.unfinished: Callable[[], object] | None = None  # called after every commit: what `purge` has to finish
        self.rebuild_after = 0.0  # monotonic time before which `purge.wipe_if_due` does not rebuild the file
        self._log_after = 0.0  # monotonic time before which the log is not emptied again

    def rows(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock, self.translated_errors():
            return list(self.database.execute(sql, parameters).fetchall())

    def run(self, sql: str, parameters: Parameters = ()) -> int:
        """Execute one statement; the number of rows it changed."""
        with self._lock, self.translated_errors():
            self._require_transaction()
            return int(self.database.execute(sql, parameters).rowcount)

    def run_many(self, sql: str, parameters: Iterable[Parameters]) -> int:
        """Execute one statement for many rows; the number of rows it changed."""
        with self._lock, self.translated_errors():
            self._require_transaction()
            return int(self.database.conn.executemany(sql, parameters).rowcount)

    def run_outside_transaction(self, sql: str) -> list[sqlite3.Row]:
        """Execute a statement that SQLite allows only outside a transaction (VACUUM, some PRAGMAs)."""
        with self._lock, self.translated_errors():
            return list(self.database.conn.execute(sql).fetchall())

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Write transaction: BEGIN IMMEDIATE … COMMIT, or ROLLBACK on any exception.

        A nested block joins the outer one: its failure undoes its own writes only, and nothing is durable before
        the outermost block ends.

        Raises:
            BusyError: another process kept the write lock for longer than `BUSY_SECONDS`.
            LedgerError: the ledger is read-only, or the disk is full.
        """
        with self._lock:
            if self._depth:
                self._require_transaction()
                with self._translate_outer(), self.database.atomic():
                    yield
                return
            self._begin("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._roll_back()
                raise
            self._commit()
            self._limit_log()
            callbacks, self._after_commit = self._after_commit, []
            for callback in callbacks:
                callback()
            if self.unfinished is not None:
                self.unfinished()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read transaction: all reads in the block see the same state. Joins `atomic()` when inside one."""
        with self._lock:
            if self._depth:
                yield
                return
            self._begin("BEGIN")
            try:
                yield
            finally:
                self._roll_back()

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the outermost transaction is durable; dropped if it rolls back."""
        self._after_commit.append(callback)

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Turn sqlite3, overflow and encoding errors raised in the block into seal-memory errors."""
        try:
            yield
        except sqlite3.Error as error:
            raise translate_error(error, self.path) from error
        except OverflowError as error:
            raise InputError("a number is too large for the ledger: expected at most 64 bits") from error
        except UnicodeEncodeError as error:
            raise InputError(
                "a text holds a lone surrogate that UTF-8 cannot carry: decode the bytes with errors='replace' first"
            ) from error

    def empty_log(self, *, wait: float) -> bool:
        """Move the write-ahead log into the file and truncate it; False where a reader prevents that for `wait` s.

        In short tries: a checkpoint waits for the slot of a reader of an older state, not for that reader, and later
        ones may take the slot again and again. The next try sees that they need no waiting for.
        """
        with self._lock, self.translated_errors():
            run = self.database.conn.execute
            usual = int(run("PRAGMA busy_timeout").fetchone()[0])
            end = time.monotonic() + min(usual / 1000, wait)
            run(f"PRAGMA busy_timeout={min(usual, round(1000 * LOG_TRY))}")
            try:
                while run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    if time.monotonic() >= end:
                        return False
                    time.sleep(0.01)
                return True
            finally:
                run(f"PRAGMA busy_timeout={usual}")

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        with self._lock:
            self.database.conn.close()

    @contextmanager
    def _translate_outer(self) -> Iterator[None]:
        """Translate sqlite3's errors only; other exceptions of the caller pass through."""
        try:
            yield
        except sqlite3.Error as error:
            raise translate_error(error, self.path) from error

    def _begin(self, statement: str) -> None:
        if self.read_only and statement != "BEGIN":
            raise LedgerError(f"{self.path.parent} is read-only: this memory can be read, not changed")
        with self.translated_errors():
            self.database.conn.execute(statement)
        self._depth = 1

    def _commit(self) -> None:
        try:
            with self.translated_errors():
                self._require_transaction()
                self.database.conn.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._depth = 0

    def _limit_log(self) -> None:
        """Empty a log that has grown long; the transaction is durable already, so a failure is only logged."""
        if time.monotonic() < self._log_after:
            return
        try:
            if os.stat(f"{self.path}-wal").st_size < LOG_LIMIT or self.empty_log(wait=LOG_WAIT):
                return
            logger.info("the log of %s stays long for now: a reader holds an older state", self.path)
        except (OSError, LedgerError) as error:
            logger.info("the log of %s stays long for now: %s", self.path, error)
        self._log_after = time.monotonic() + LOG_PAUSE

    def _roll_back(self) -> None:
        self._depth = 0
        self._after_commit.clear()
        if self.database.conn.in_transaction:
            self.database.conn.execute("ROLLBACK")

    def _require_transaction(self) -> None:
        """Raise LedgerError when the transaction is over: a full disk may end it early, inside its block."""
        if not (self._depth and self.database.conn.in_transaction):
            raise LedgerError(f"the transaction on {self.path} was undone by an earlier error; run it again")


@dataclass(frozen=True, slots=True)
class Scope:
    """Context of every ledger function: connection, namespace, clock (seconds), id generator."""

    connection: Connection
    namespace: str
    clock: Callable[[], float]
    make_id: Callable[[], str]


def open_connection(path: Path) -> Connection:
    """Open the ledger file at `path` for writing, or read-only where it cannot be written.

    A missing file or folder is created. An existing file is not changed.

    Raises:
        LedgerError: the folder cannot be made, the file cannot be opened, or it is not a database.
    """
    try:
        make_private_folder(path.parent)
    except OSError as error:
        raise LedgerError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    if path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        logger.warning("%s is read-only: opened for reading", path.parent)
        return Connection(_open_for_reading(path), path, read_only=True)
    try:
        make_private(path)
        database = _connect(str(path), uri=False)
    except OSError as error:
        raise LedgerError(f"cannot make the file {path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise translate_error(error, path) from error
    return Connection(database, path, read_only=False)


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter (0700). One that exists keeps its permissions: it may be shared."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


def make_private(path: Path) -> None:
    """Make a database file that only its owner may read (0600), or take others' rights to one; SQLite's logs follow.

    A file of another owner keeps its permissions.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        if path.is_file() and path.stat().st_mode & 0o077:
            with suppress(PermissionError):
                path.chmod(0o600)


def translate_error(error: sqlite3.Error, path: Path) -> LedgerError:
    """Map a sqlite3 error to `LedgerError` or `BusyError`; the message names the file and the remedy."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return BusyError(
            f"{path}: another process has been writing for more than {BUSY_SECONDS:g} s; "
            "try again, or stop the other process"
        )
    advice = {
        sqlite3.SQLITE_READONLY: "is read-only: make the file and its folder writable",
        sqlite3.SQLITE_FULL: "the disk is full, nothing was changed: free some space and try again",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that the folder exists and is writable",
        sqlite3.SQLITE_NOTADB: "is not a SQLite database: move it away, or choose another folder",
        sqlite3.SQLITE_CORRUPT: "is damaged: restore a copy, or try `sqlite3 FILE .recover`",
        sqlite3.SQLITE_IOERR: "reading or writing failed: check the disk and its free space",
    }.get(primary if primary is not None else -1)
    return LedgerError(f"{path}: {advice} ({error})" if advice else f"{path}: {error}")


def _connect(target: str, *, uri: bool) -> Database:
    connection = sqlite3.connect(target, uri=uri, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.create_function("folded", 1, lambda text: text and fold(text), deterministic=True)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return Database(connection, execute_plugins=False)
    except BaseException:
        connection.close()
        raise


def _open_for_reading(path: Path) -> Database:
    """Open read-only; `immutable` comes last because it ignores the write-ahead log."""
    address = f"file:{quote(str(path.absolute()))}"
    try:
        return _connect(f"{address}?mode=ro", uri=True)
    except sqlite3.Error as error:
        log = path.with_name(path.name + "-wal")
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
            raise translate_error(error, path) from error
        if log.exists() and log.stat().st_size:
            raise LedgerError(
                f"{path.parent} is read-only and its last writer left {log.name} behind: "
                "copy the folder to a writable place and open it there"
            ) from error
    try:
        return _connect(f"{address}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error as error:
        raise translate_error(error, path) from error
