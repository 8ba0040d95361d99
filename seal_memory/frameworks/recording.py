"""Recording of conversations for agent frameworks: the agent's own run goes on, whatever memory cannot record.

Text that cannot be recorded is cleaned or left out, counted, and logged without its words. While the ledger cannot be
written (another process holds its lock, the disk is full) records wait in this process, in order, and are tried again:
every `RETRY_SECONDS`, with the next record, and when the memory closes. Explicit requests to remember
(`SealMemory.observe`) raise instead.

Not here: each framework's types, and the server's recording of chats.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary, ref

from seal_memory.errors import EngineUnavailableError, LedgerError
from seal_memory.frameworks.concurrency import call_in_thread
from seal_memory.intake.blocks import flatten_blocks
from seal_memory.intake.cleaning import clean_messages
from seal_memory.intake.messages import storable_name
from seal_memory.memory import SealMemory

__all__ = [
    "UNSAID",
    "RecordingCounts",
    "plain_content",
    "record_conversation",
    "record_items",
    "record_messages",
    "recording_counts",
]

logger = logging.getLogger(__name__)

# Kinds of content parts that are neither words nor media: calls and thoughts.
UNSAID = frozenset(
    {
        "function_call", "input_json_delta", "invalid_tool_call", "reasoning", "reasoning_content", "redacted_thinking",
        "server_tool_call", "server_tool_use", "thinking", "tool_call", "tool_call_chunk", "tool_calls", "tool_use",
    }
)  # fmt: skip
RETRY_SECONDS = 5.0
MAX_WAITING = 1000  # records that wait for the ledger; beyond it the oldest is given up
_UNAVAILABLE = (LedgerError, EngineUnavailableError)  # worth another try

Observe = Callable[[Any, list[Any]], object]


@dataclass(frozen=True, slots=True)
class RecordingCounts:
    """Messages that were cleaned or left out as unreadable, records that wait for the ledger, and lost records."""

    cleaned: int = 0
    skipped: int = 0
    waiting: int = 0
    lost: int = 0


@dataclass(slots=True)
class _Record:
    """Items to observe: all at once, or (`singly`) one by one, so that one item takes no other with it."""

    observe: Observe
    items: deque[Any]
    singly: bool = False


class _Recorder:
    """The records of one memory. It holds no reference to the memory."""

    def __init__(self) -> None:
        self._lock, self._waiting = threading.RLock(), deque[_Record]()
        self._timer: threading.Timer | None = None
        self.counts = RecordingCounts()

    def record(self, memory: Any, new: _Record | None, *, cleaned: int = 0, skipped: int = 0) -> None:
        """Record what waits, oldest first, and then `new`; where the ledger cannot be written they wait."""
        with self._lock:
            self._count(cleaned=cleaned, skipped=skipped)
            if new is not None:
                self._waiting.append(new)
            while self._waiting and self._observed(memory, self._waiting[0]):
                self._waiting.popleft()
            self._give_up(len(self._waiting) - MAX_WAITING)
            self.counts = replace(self.counts, waiting=len(self._waiting))
            self._retry_later(memory)

    def finish(self, memory: Any) -> None:
        """Try once more; what cannot be recorded is given up."""
        with self._lock:
            self.record(memory, None)
            self._give_up(len(self._waiting))

    def _observed(self, memory: Any, record: _Record) -> bool:
        """Whether the record is done; False while the ledger cannot be written."""
        while record.items:
            part = [record.items[0]] if record.singly else list(record.items)
            try:
                record.observe(memory, part)
            except _UNAVAILABLE as error:
                logger.warning("a record of a conversation waits: memory cannot be written (%s)", type(error).__name__)
                return False
            except Exception as error:
                logger.debug("not recorded", exc_info=error)
                if len(part) > 1:
                    record.singly = True
                    continue
                self._count(skipped=1)
            for _ in part:
                record.items.popleft()
        return True

    def _count(self, *, cleaned: int = 0, skipped: int = 0) -> None:
        if cleaned or skipped:
            logger.warning("messages that memory cannot record: %d were cleaned, %d left out", cleaned, skipped)
            now = self.counts
            self.counts = replace(now, cleaned=now.cleaned + cleaned, skipped=now.skipped + skipped)

    def _give_up(self, number: int) -> None:
        for _ in range(number):
            self._waiting.popleft()
        if number > 0:
            logger.error("%d records of conversations are lost: memory could not be written", number)
            self.counts = replace(self.counts, lost=self.counts.lost + number, waiting=len(self._waiting))

    def _retry_later(self, memory: Any) -> None:
        if self._waiting and self._timer is None:
            self._timer = threading.Timer(RETRY_SECONDS, self._retry, [ref(memory)])
            self._timer.daemon = True
            self._timer.start()

    def _retry(self, memory: ref[Any]) -> None:
        with self._lock:
            self._timer = None
            held = memory()
            if held is not None:
                self.record(held, None)


_guard = threading.Lock()
_recorders: WeakKeyDictionary[Any, _Recorder] = WeakKeyDictionary()  # one per memory


def recording_counts(memory: Any) -> RecordingCounts:
    """Counts of this process's recording of conversations into a memory; messages are never counted by session."""
    return _recorder(memory).counts


def record_items(
    memory: Any, observe: Observe, items: Iterable[Any], *, cleaned: int = 0, skipped: int = 0
) -> RecordingCounts:
    """Call `observe(memory, items)` with all items, or one by one where that fails. Never raises; returns the counts.

    `cleaned`, `skipped`: how many items the caller has cleaned or left out.
    """
    recorder, kept = _recorder(memory), deque(items)
    recorder.record(memory, _Record(observe, kept) if kept else None, cleaned=cleaned, skipped=skipped)
    return recorder.counts


def record_messages(
    memory: Any, messages: Iterable[Mapping[str, Any]], *, session: str | None, source: str
) -> RecordingCounts:
    """Observe OpenAI message dicts that hold words or parts; `memory` has `observe_messages`. Never raises."""
    said = flatten_blocks([m for m in messages if isinstance(m, Mapping)])
    found = clean_messages([{**m, "content": plain_content(m.get("content"))} for m in said])
    names = {"session": _name(session), "source": _name(source)}

    def observe(memory: Any, some: list[Any]) -> object:
        return memory.observe_messages(some, **names)

    return record_items(memory, observe, found.messages, cleaned=found.changed, skipped=found.skipped)


async def record_conversation(
    memory: SealMemory, messages: Iterable[Mapping[str, Any]], *, session: str | None, source: str
) -> RecordingCounts:
    """Run `record_messages` in a thread."""
    return await call_in_thread(record_messages, memory, list(messages), session=session, source=source)


def plain_content(content: object) -> str | list[dict[str, str]]:
    """A message's content as text, or as OpenAI parts: text, and the kinds of the other parts without their data."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    parts = content if isinstance(content, list | tuple) else [content]
    return [_plain_part(part) for part in parts if not (isinstance(part, Mapping) and part.get("type") in UNSAID)]


def _plain_part(part: object) -> dict[str, str]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        return {"type": type(part).__name__}
    text = next((part[key] for key in ("text", "refusal") if isinstance(part.get(key), str)), None)
    if text is not None:
        return {"type": "text", "text": text}
    return {"type": str(part.get("type") or "part")}


def _name(name: object) -> str | None:
    return None if name is None else storable_name(str(name))


def _recorder(memory: Any) -> _Recorder:
    with _guard:
        found = _recorders.get(memory)
        if found is None:
            found = _recorders[memory] = _Recorder()
            if isinstance(memory, SealMemory):
                memory.at_close(found.finish)
        return found
