"""Recording of conversations: what was said is kept, whatever it holds, and no answer is lost because of it.

Text that cannot be recorded is cleaned or left out, and counted. While the ledger cannot be written (another process
holds its lock, the disk is full) records wait in this process and are tried again. Not here: what may be learned
(`intake.admission`), whether a request is recorded (`exchange`).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from seal_memory.errors import InputError, LedgerError, QuotaError, SealMemoryError
from seal_memory.intake.cleaning import clean_messages, clean_text
from seal_memory.memory import SealMemory
from seal_memory.server.metrics import Metrics

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # between two attempts to record what waits
MAX_WAITING = 1000  # exchanges that wait for the ledger; beyond it the oldest is given up

OpenMemory = Callable[[str], AbstractContextManager[SealMemory]]


@dataclass(frozen=True, slots=True)
class Record:
    """One exchange to record. `answer`: the model's text with its metadata, None where there is none to record.

    The first `replayed` messages came with an earlier turn. `time`: Unix seconds.
    """

    messages: Sequence[Mapping[str, Any]]
    replayed: int
    answer: tuple[str, Mapping[str, Any]] | None
    source: str
    session: str | None
    session_keys: Sequence[str]  # under which the next turn finds the session
    time: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a `Record`: texts cleaned, texts left out, and whether it waits for the ledger."""

    cleaned: int = 0
    skipped: int = 0
    deferred: bool = False


class Recorder:
    """Records exchanges; never raises because of their contents or of the ledger."""

    def __init__(self, memory: OpenMemory, metrics: Metrics) -> None:
        self._memory, self._metrics = memory, metrics
        self._lock, self._wake, self._closing = threading.Lock(), threading.Event(), False
        self._recording = threading.Lock()  # held by the one that records what waits
        self._waiting: deque[tuple[str, Record]] = deque()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Number of exchanges that wait for the ledger."""
        return len(self._waiting)

    def record(self, memory: SealMemory, namespace: str, record: Record) -> Recorded:
        """Record now; where the ledger cannot be written, later."""
        try:
            done = _record(memory, record)
        except QuotaError:
            logger.warning("an exchange was not recorded: its namespace holds as much as its quota allows")
            done = Recorded(skipped=len(record.messages))
        except LedgerError as error:
            logger.warning("an exchange waits for the ledger (%s)", type(error).__name__)
            self._defer(namespace, record)
            done = Recorded(deferred=True)
        except Exception as error:
            logger.error("an exchange was not recorded (%s)", type(error).__name__)
            logger.debug("not recorded", exc_info=error)
            done = Recorded(skipped=len(record.messages))
        for outcome, count in (("cleaned", done.cleaned), ("skipped", done.skipped), ("deferred", done.deferred)):
            if count:
                self._metrics.recording.labels(outcome).inc(count)
                logger.info("%d texts of a chat: %s", count, outcome)
        return done

    def record_waiting(self) -> None:
        """Record what waits now, as far as the ledger can be written."""
        with self._recording:
            while self._waiting and self._try_oldest():
                pass

    def close(self) -> None:
        """Try once more to record what waits; what cannot be recorded is given up, with a line in the log."""
        with self._lock:
            self._closing, thread = True, self._thread
        self._wake.set()
        if thread is not None:
            thread.join()
        self._give_up(len(self._waiting))

    def _defer(self, namespace: str, record: Record) -> None:
        with self._lock:
            self._waiting.append((namespace, record))
            surplus = len(self._waiting) - MAX_WAITING
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._retry, name="seal-memory-recorder", daemon=True)
                self._thread.start()
        self._give_up(surplus)

    def _give_up(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()
            self._metrics.recording.labels("lost").inc()
        if count > 0:
            logger.error("%d exchanges could not be recorded and are lost: the ledger could not be written", count)

    def _retry(self) -> None:
        """Record what waits, oldest first, until nothing does or the server closes."""
        while True:
            closing = self._wake.wait(RETRY_SECONDS)
            self.record_waiting()
            with self._lock:
                if closing or not self._waiting:
                    self._thread = None
                    return

    def _try_oldest(self) -> bool:
        namespace, record = entry = self._waiting[0]
        try:
            with self._memory(namespace) as memory:
                _record(memory, record)
        except QuotaError:
            self._give_up(1)
            return True
        except SealMemoryError:  # the ledger's, or the pool is closed
            return False
        except Exception as error:  # as when it is recorded at once; the others go on
            logger.error("an exchange that waited was not recorded (%s)", type(error).__name__)
            logger.debug("not recorded", exc_info=error)
            self._give_up(1)
            return True
        with self._lock:
            if self._waiting and self._waiting[0] is entry:  # else it was given up meanwhile
                self._waiting.popleft()
        return True


def _record(memory: SealMemory, record: Record) -> Recorded:
    found = clean_messages(record.messages, replayed=record.replayed)
    skipped = found.skipped
    with memory.ledger.atomic():
        try:
            _observe(memory, record, found.messages, found.replayed)
        except InputError:  # one by one, so that one text takes no other with it
            skipped += _observe_singly(memory, record, found.messages, found.replayed)
        if record.session is not None:
            memory.ledger.sessions.note(record.session, record.session_keys)
        if record.answer is None:
            return Recorded(found.changed, skipped)
        text, metadata = record.answer
        kept = clean_text(text.strip())
        if kept:
            options: dict[str, Any] = {"source": record.source, "session": record.session, "time": record.time}
            try:
                memory.observe(kept, role="assistant", metadata=metadata, **options)
            except InputError:
                kept = ""
    lost = bool(text.strip()) and not kept
    return Recorded(found.changed + (bool(kept) and kept != text.strip()), skipped + lost)


def _observe(memory: SealMemory, record: Record, messages: Sequence[Mapping[str, Any]], replayed: int) -> None:
    memory.observe_messages(messages, source=record.source, session=record.session, time=record.time, replayed=replayed)


def _observe_singly(memory: SealMemory, record: Record, messages: Sequence[Mapping[str, Any]], replayed: int) -> int:
    """Observe each message by itself; returns how many could not be."""
    skipped = 0
    for number, message in enumerate(messages):
        try:
            _observe(memory, record, [message], int(number < replayed))
        except InputError as error:
            skipped += 1
            logger.warning("a chat's message was not recorded (%s)", type(error).__name__)
    return skipped
