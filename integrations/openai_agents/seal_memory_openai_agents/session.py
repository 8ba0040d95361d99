"""`SealMemorySession`: the SDK's `Session`, whose messages a memory observes too.

The exact items are kept by a session of the SDK's own, since a memory knows a text once. Not here: unlearning an item
that is popped or cleared; `forget` does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents import SessionSettings, SQLiteSession
from agents.exceptions import AgentsException, UserError
from agents.items import TResponseInputItem
from agents.memory import Session

from seal_memory import SealMemory
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.frameworks.concurrency import call_in_thread
from seal_memory.frameworks.context import has_words, observe_conversation
from seal_memory.frameworks.errors import ErrorTable, translate_errors

__all__ = ["FILE_NAME", "SealMemorySession"]

FILE_NAME = "openai_agents.sqlite"  # in the memory's folder
SOURCE = "openai-agents"
_ERRORS: ErrorTable = ((InputError, UserError), (SealMemoryError, AgentsException))


class SealMemorySession:
    """A conversation of an agent. Use it as `Runner.run(agent, text, session=SealMemorySession(id, memory))`.

    `history`: the session that keeps the items; by default a `SQLiteSession` in the memory's folder, which is emptied
    when it is next read after the memory forgot this session. Messages are observed with `session=session_id` and the
    source `openai-agents`. Raises `UserError` for input that cannot be recorded, `AgentsException` for other errors of
    the memory.
    """

    def __init__(self, session_id: str, memory: SealMemory, *, history: Session | None = None) -> None:
        self.session_id, self.memory = session_id, memory
        self._own = history is None
        name = f"{memory.ledger.namespace}/{session_id}"
        self.history: Session = history if history is not None else SQLiteSession(name, memory.folder / FILE_NAME)
        self.session_settings: SessionSettings | None = self.history.session_settings

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The latest `limit` items (all: None), oldest first."""
        if self._own and await self._was_forgotten():
            await self.history.clear_session()
        return await self.history.get_items(limit)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Observe the items' words, all or nothing, and keep the items."""
        with translate_errors(_ERRORS):
            await observe_conversation(self.memory, _openai_messages(items), session=self.session_id, source=SOURCE)
        await self.history.add_items(items)

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove and return the latest item; the memory keeps its words."""
        return await self.history.pop_item()

    async def clear_session(self) -> None:
        """Empty the history; the memory keeps its words."""
        await self.history.clear_session()

    async def forget(self) -> None:
        """Destroy the history, the memory's interactions of this session, and everything learned from them."""
        await self.history.clear_session()
        if await call_in_thread(self.memory.ledger.interactions, session=self.session_id, limit=1):
            with translate_errors(_ERRORS):
                await call_in_thread(self.memory.forget, session=self.session_id)

    async def _was_forgotten(self) -> bool:
        """Whether the history holds words and the memory no interaction of this session."""
        if await call_in_thread(self.memory.ledger.interactions, session=self.session_id, limit=1):
            return False
        return any(has_words(m["content"]) for m in _openai_messages(await self.history.get_items()))


def _openai_messages(items: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Convert messages and tool results to OpenAI message dicts; calls and reasoning are left out."""
    for item in items:
        if not isinstance(item, Mapping):
            continue
        if item.get("type", "message") == "message":
            role, content = item.get("role"), item.get("content")
        else:
            role, content = "tool", item.get("output") if item["type"] == "function_call_output" else None
        if role:
            yield {"role": role, "content": content}
