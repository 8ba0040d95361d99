"""Recording of conversations: whoever's own work it is goes on, whatever memory cannot record.

What cannot be recorded, or would exceed the quota, is left out, counted, and logged without its words; it takes no
other text with it. While the ledger cannot be written (another process holds its lock, the disk is full), or a memory's
server cannot be reached, records wait in this process, in order: one thread tries them again every `RETRY_SECONDS`,
with the next record, and when the recorder closes. Callers that come later do not wait for the lock once more.

Not here: cleaning (`cleaning`), what may be learned (`admission`), explicit requests to remember
(`SealMemory.observe`), which raise.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from seal_memory.errors import EngineUnavailableError, LedgerError, QuotaError

__all__ = ["Part", "Recorded", "Recorder", "RecordingCounts"]

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # between two attempts to record what waits
PATIENCE = 0.5  # seconds that a record gives those in front of it before its caller goes on
MAX_WAITING = 1000  # records that wait; beyond it the oldest is given up


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a record: texts cleaned, texts left out, and whether it waits for the ledger."""

    cleaned: int = 0
    skipped: int = 0
    deferred: bool = False


@dataclass(frozen=True, slots=True)
class RecordingCounts:
    """Texts that were cleaned or left out as unreadable, records that wait for the ledger, and lost records."""

    cleaned: int = 0
    skipped: int = 0
    waiting: int = 0
    lost: int = 0


@dataclass(slots=True)
class Part:
    """Items to record: `observe` gets them all at once or, where that fails, one by one.

    `observe` may say how many it has cleaned and left out. What is done is not done again when a record is.
    """

    observe: Callable[[list[Any]], Recorded | None]
    items: list[Any]
    done: Recorded = Recorded()
    singly: bool = False

    def write(self) -> None:
        """Observe the items. Raises only what is worth another try."""
        while self.items:
            some = self.items[:1] if self.singly else list(self.items)
            try:
                found = self.observe(some) or Recorded()
            except Exception as error:
                if isinstance(error, LedgerError | EngineUnavailableError) and not isinstance(error, QuotaError):
                    raise
                logger.debug("not recorded", exc_info=error)
                if len(some) > 1:
                    self.singly = True
                    continue
                logger.warning("a text of a conversation was not recorded (%s)", type(error).__name__)
                found = Recorded(skipped=1)
            self.done = Recorded(self.done.cleaned + found.cleaned, self.done.skipped + found.skipped)
            del self.items[: len(some)]


@dataclass(slots=True)
class _Record:
    """Parts in order. `result` is None until all are done."""

    parts: Sequence[Part]
    before: Recorded
    result: Recorded | None = None

    def write(self) -> Recorded:
        for part in self.parts:
            part.write()
        done = [self.before, *(part.done for part in self.parts)]
        return Recorded(sum(d.cleaned for d in done), sum(d.skipped for d in done))


@dataclass(slots=True, weakref_slot=True)
class Recorder:
    """Makes records in order; never raises because of their contents or of the ledger. Threads may share it.

    `count`: called with "cleaned", "skipped", "deferred" or "lost", and how many.
    """

    count: Callable[[str, int], object] = lambda outcome, number: None
    counts: RecordingCounts = RecordingCounts()
    _waiting: deque[_Record] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _recording: threading.Lock = field(default_factory=threading.Lock)  # held by the one that records what waits
    _wake: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _closed: bool = False

    def record(self, parts: Sequence[Part], *, cleaned: int = 0, skipped: int = 0) -> Recorded:
        """Record now; where that cannot be, or older records wait, later. `cleaned`, `skipped`: by the caller."""
        record = _Record(parts, Recorded(cleaned, skipped))
        if self._waiting or not self._written(record):
            self._defer(record)
        if record.result is None:
            self._tell("deferred", 1)
        return record.result or Recorded(deferred=True)

    def record_waiting(self) -> None:
        """Record what waits now, oldest first, as far as the ledger can be written."""
        with self._recording:
            while (oldest := self._oldest()) is not None and self._written(oldest):
                with self._changed:
                    if self._waiting and self._waiting[0] is oldest:  # else it was given up meanwhile
                        self._waiting.popleft()
                    self._note_waiting()
                    self._changed.notify_all()

    def close(self) -> None:
        """Try once more to record what waits; what cannot be recorded is given up, also what comes later."""
        with self._changed:
            self._closed, thread = True, self._thread
        self._wake.set()
        if thread is not None:
            thread.join()
        with self._changed:
            self._give_up(len(self._waiting))

    def _written(self, record: _Record) -> bool:
        try:
            result = record.write()
        except (LedgerError, EngineUnavailableError) as error:
            logger.warning("a record of a conversation waits: memory cannot be written (%s)", type(error).__name__)
            return False
        with self._changed:
            record.result = result
            now = self.counts
            self.counts = replace(now, cleaned=now.cleaned + result.cleaned, skipped=now.skipped + result.skipped)
        if result != Recorded():
            logger.warning("messages not recorded as sent: %d cleaned, %d left out", result.cleaned, result.skipped)
        self._tell("cleaned", result.cleaned)
        self._tell("skipped", result.skipped)
        return True

    def _defer(self, record: _Record) -> None:
        """Put a record behind the waiting ones, and give those a moment."""
        with self._changed:
            behind = bool(self._waiting)
            self._waiting.append(record)
            self._give_up(len(self._waiting) if self._closed else len(self._waiting) - MAX_WAITING)
            self._note_waiting()
            if self._thread is None and self._waiting:
                self._thread = threading.Thread(target=self._retry, name="seal-memory-recorder", daemon=True)
                self._thread.start()
            if behind:
                self._wake.set()
                self._changed.wait_for(lambda: record.result is not None, PATIENCE)

    def _retry(self) -> None:
        """Record what waits, oldest first, until nothing does or the recorder closes."""
        while True:
            self._wake.wait(RETRY_SECONDS)
            self._wake.clear()
            self.record_waiting()
            with self._changed:
                if self._closed or not self._waiting:
                    self._thread = None
                    return

    def _oldest(self) -> _Record | None:
        with self._changed:
            return self._waiting[0] if self._waiting else None

    def _give_up(self, number: int) -> None:
        for _ in range(number):
            self._waiting.popleft()
        if number > 0:
            logger.error("%d records of conversations are lost: memory could not be written", number)
            self.counts = replace(self.counts, lost=self.counts.lost + number)
            self._note_waiting()
            self._tell("lost", number)

    def _note_waiting(self) -> None:
        self.counts = replace(self.counts, waiting=len(self._waiting))

    def _tell(self, outcome: str, number: int) -> None:
        if number:
            self.count(outcome, number)
