"""`SealMemoryService`: ADK's `BaseMemoryService`, with one namespace of a memory for each user of each app.

Users need namespaces of their own because a memory knows a text once, whoever said it. Not here: sessions, and learning
(`seal-memory worker --namespace APP/USER`, or `memory_of(...).consolidate()`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from google.adk.errors.input_validation_error import InputValidationError
from google.adk.errors.not_found_error import NotFoundError
from google.adk.events.event import Event
from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.sessions.session import Session
from google.genai import types

from seal_memory import SealMemory
from seal_memory.errors import InputError, UnknownIdError
from seal_memory.frameworks.concurrency import call_in_thread
from seal_memory.frameworks.context import ContextItem, ContextMode, memory_context
from seal_memory.frameworks.errors import ErrorTable, translate_errors
from seal_memory.frameworks.recording import record_items
from seal_memory.intake.cleaning import clean_text
from seal_memory.intake.messages import storable_name
from seal_memory.ledger.arguments import require_metadata, require_time

__all__ = ["SealMemoryService"]

SOURCE = "google-adk"
DELETED = "google-adk: deleted events"  # meta key; their ids, so that adding a session again does not restore them
_ERRORS: ErrorTable = ((UnknownIdError, NotFoundError), (InputError, InputValidationError))


class SealMemoryService(BaseMemoryService):
    """Use it as `Runner(..., memory_service=SealMemoryService(open_memory))`; close it at the end.

    `open_memory(namespace)` opens the memory of one user, such as
    `lambda namespace: SealMemory.open("./my-agent", namespace=namespace)`; each is opened once, closed by `close`.
    `mode`, `limit`: of `search_memory`, see `seal_memory.frameworks.context.memory_context`. Of events, what memory
    cannot record is cleaned or left out and never fails the caller's run (`frameworks.recording`). `add_memory` refuses
    it: bad input raises `InputValidationError`, an unknown id `NotFoundError`; other errors of a memory pass unchanged.
    """

    def __init__(
        self, open_memory: Callable[[str], SealMemory], *, mode: ContextMode = "recall", limit: int = 10
    ) -> None:
        self._open, self._mode, self._limit = open_memory, mode, limit
        self._memories: dict[str, SealMemory] = {}
        self._lock = threading.Lock()

    def memory_of(self, app_name: str, user_id: str) -> SealMemory:
        """Return one user's memory, opened at the first call."""
        namespace = storable_name(f"{app_name}/{user_id}")
        with self._lock:
            if namespace not in self._memories:
                self._memories[namespace] = self._open(namespace)
            return self._memories[namespace]

    def close(self) -> None:
        """Close every memory."""
        with self._lock:
            while self._memories:
                self._memories.popitem()[1].close()

    async def add_session_to_memory(self, session: Session) -> None:
        """Observe a session's events; a known text is not learned again."""
        memory = await call_in_thread(self.memory_of, session.app_name, session.user_id)
        await self._observe(memory, session.events, session.id)

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Observe some events; `custom_metadata` is kept with each."""
        memory = await call_in_thread(self.memory_of, app_name, user_id)
        await self._observe(memory, events, session_id, custom_metadata)

    async def add_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        memories: Sequence[MemoryEntry],
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Observe texts without a session, all or none: learned, but not as the user's own words."""
        memory = await call_in_thread(self.memory_of, app_name, user_id)
        texts = [(_text(m.content), {**m.custom_metadata, **(custom_metadata or {})}) for m in memories]

        def observe() -> None:
            with memory.ledger.atomic():
                for text, extra in texts:
                    memory.observe(text, role="tool", source=SOURCE, metadata=extra)

        with translate_errors(_ERRORS):
            await call_in_thread(observe)

    async def search_memory(self, *, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        """Search one user's memory; `delete_memory` takes the ids in the response."""
        memory = await call_in_thread(self.memory_of, app_name, user_id)
        with translate_errors(_ERRORS):
            found = await call_in_thread(memory_context, memory, query, mode=self._mode, limit=self._limit)
        return SearchMemoryResponse(memories=[_entry(item) for item in found])

    async def delete_memory(self, *, app_name: str, user_id: str, memory_id: str | None = None) -> None:
        """Destroy one memory and everything learned from it; does nothing without an id."""
        if memory_id:
            memory = await call_in_thread(self.memory_of, app_name, user_id)
            with translate_errors(_ERRORS):
                await call_in_thread(_delete, memory, memory_id)

    async def _observe(
        self,
        memory: SealMemory,
        events: Iterable[Event],
        session: str | None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        calls, cleaned, skipped = [], 0, 0
        for event in events:
            text = _text(event.content) or _media(event.content)
            kept = clean_text(text)
            cleaned, skipped = cleaned + (bool(kept) and kept != text), skipped + (bool(text) and not kept)
            if kept:
                calls.append(_call(event, kept, session, extra or {}))
        await call_in_thread(record_items, memory, _observe_events, calls, cleaned=cleaned, skipped=skipped)


def _observe_events(memory: SealMemory, calls: list[dict[str, Any]]) -> None:
    """Observe all events or none, but those that were deleted."""
    deleted = _deleted(memory)
    with memory.ledger.atomic():
        for call in calls:
            if call["metadata"]["event"] not in deleted:
                memory.observe(**call)


def _call(event: Event, text: str, session: str | None, extra: Mapping[str, object]) -> dict[str, Any]:
    """The arguments of `observe`. A time or metadata that cannot be stored is left out, and named in the metadata."""
    metadata: dict[str, Any] = {"event": storable_name(event.id), "author": storable_name(event.author)}
    media, time = _media_kinds(event.content), event.timestamp
    if media:
        metadata["skipped_parts"] = media
    try:
        require_metadata(extra, "custom_metadata")
        metadata = {**extra, **metadata}
    except InputError:
        metadata["not_stored"] = "custom_metadata"
    try:
        require_time(time, "timestamp")
    except InputError:
        metadata["timestamp"], time = str(time), None
    return {
        "text": text,
        "role": "user" if event.author == "user" else "assistant",
        "session": None if session is None else storable_name(session),
        "source": SOURCE,
        "time": time,
        "metadata": metadata,
    }


def _delete(memory: SealMemory, memory_id: str) -> None:
    (found,) = memory.ledger.interactions(ids=[memory_id])
    event = found.metadata.get("event")
    memory.forget(memory_id)
    if event:
        memory.ledger.meta_set(DELETED, json.dumps(sorted({*_deleted(memory), event})))


def _deleted(memory: SealMemory) -> set[str]:
    return set(json.loads(memory.ledger.meta_get(DELETED) or "[]"))


def _media_kinds(content: types.Content | None) -> list[str]:
    """The kinds of a content's files, once each."""
    parts = (content.parts if content is not None else None) or []
    return list(dict.fromkeys(kind for p in parts for kind in ("inline_data", "file_data") if getattr(p, kind)))


def _media(content: types.Content | None) -> str:
    return " ".join(f"[{kind}]" for kind in _media_kinds(content))


def _text(content: types.Content | None) -> str:
    """The text of a content; calls, files and thoughts are left out."""
    parts = (content.parts if content is not None else None) or []
    return " ".join(p.text for p in parts if p.text and not p.thought).strip()


def _entry(item: ContextItem) -> MemoryEntry:
    found = item.interaction
    author, when = "memory", None
    extra: dict[str, Any] = {"sources": list(item.sources)}
    if found is not None:
        author = str(found.metadata.get("author") or found.role.value)
        when = datetime.fromtimestamp(found.time).isoformat()
        extra["session"] = found.session
    content = types.Content(role="user" if author == "user" else "model", parts=[types.Part(text=item.text)])
    id = found.id if found is not None else None
    return MemoryEntry(id=id, content=content, author=author, timestamp=when, custom_metadata=extra)
