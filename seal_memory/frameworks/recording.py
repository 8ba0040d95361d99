"""Recording of conversations for agent frameworks: the agent's own run goes on, whatever memory cannot record.

Text that cannot be recorded is cleaned or left out, and counted; while the ledger cannot be written records wait
(`intake.recording`), at the latest until the memory closes. Explicit requests to remember (`SealMemory.observe`) raise
instead. Not here: each framework's types, and the server's recording of chats.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from seal_memory.frameworks.concurrency import call_in_thread
from seal_memory.intake.blocks import flatten_blocks
from seal_memory.intake.cleaning import clean_messages
from seal_memory.intake.messages import TEXT_KEYS, storable_name
from seal_memory.intake.recording import Part, Recorded, Recorder, RecordingCounts
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

# Kinds of content parts that are neither words nor media: calls and thoughts.
UNSAID = frozenset(
    {
        "function_call", "input_json_delta", "invalid_tool_call", "reasoning", "reasoning_content", "redacted_thinking",
        "server_tool_call", "server_tool_use", "thinking", "tool_call", "tool_call_chunk", "tool_calls", "tool_use",
    }
)  # fmt: skip
Observe = Callable[[Any, list[Any]], Recorded | None]

_guard = threading.Lock()
_recorders: WeakKeyDictionary[Any, Recorder] = WeakKeyDictionary()  # one per memory


def recording_counts(memory: Any) -> RecordingCounts:
    """Counts of this process's recording of conversations into a memory; messages are never counted by session."""
    return _recorder(memory).counts


def record_items(
    memory: Any, observe: Observe, items: Iterable[Any], *, cleaned: int = 0, skipped: int = 0
) -> RecordingCounts:
    """Call `observe(memory, items)` with all items, or one by one where that fails. Never raises; returns the counts.

    `cleaned`, `skipped`: how many items the caller has cleaned or left out; `observe` may say so instead.
    """
    recorder = _recorder(memory)
    recorder.record([Part(partial(observe, memory), list(items))], cleaned=cleaned, skipped=skipped)
    return recorder.counts


def record_messages(
    memory: Any, messages: Iterable[Mapping[str, Any]], *, session: str | None, source: str
) -> RecordingCounts:
    """Observe OpenAI message dicts that hold words or parts; `memory` has `observe_messages`. Never raises."""
    names = {"session": _name(session), "source": _name(source)}

    def observe(memory: Any, some: list[Any]) -> Recorded:
        said = flatten_blocks([m for m in some if isinstance(m, Mapping)])
        found = clean_messages([{**m, "content": plain_content(m.get("content"))} for m in said])
        if found.messages:
            memory.observe_messages(found.messages, **names)
        return Recorded(found.changed, found.skipped)

    return record_items(memory, observe, messages)


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
    kind = str(part.get("type") or "part")
    if text is not None or kind in TEXT_KEYS:
        return {"type": "text", "text": text or ""}
    return {"type": kind}


def _name(name: object) -> str | None:
    return None if name is None else storable_name(str(name))


def _recorder(memory: Any) -> Recorder:
    with _guard:
        recorder = _recorders.get(memory)
        if recorder is None:
            recorder = _recorders[memory] = Recorder()
            if isinstance(memory, SealMemory):
                memory.at_close(lambda _: recorder.close())
                memory.before_forget(recorder.record_waiting)
        return recorder
