"""`SealMemorySession`: the SDK's `Session`, whose messages a memory observes too.

The exact items are kept by a session of the SDK's own, since a memory knows a text once. Not here: unlearning an item
that is popped or cleared; `forget` does that.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents import SessionSettings, SQLiteSession
from agents.exceptions import AgentsException, UserError
from agents.items import TResponseInputItem
from agents.memory import Session

from seal_memory import SealMemory
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.frameworks.concurrency import call_in_thread
from seal_memory.frameworks.errors import ErrorTable, translate_errors
from seal_memory.frameworks.recording import record_conversation
from seal_memory.intake.messages import storable_name

__all__ = ["FILE_NAME", "SealMemorySession"]

FILE_NAME = "openai_agents.sqlite"  # in the memory's folder
SOURCE = "openai-agents"
logger = logging.getLogger(__name__)
_ERRORS: ErrorTable = ((InputError, UserError), (SealMemoryError, AgentsException))


class SealMemorySession:
    """A conversation of an agent. Use it as `Runner.run(agent, text, session=SealMemorySession(id, memory))`.

    `history`: the session that keeps the items; by default a `SQLiteSession` in the memory's folder, which is emptied
    when it is next read after the memory forgot this session. Messages are observed with `session=session_id` and the
    source `openai-agents`; what memory cannot record is cleaned or left out (`frameworks.recording`), and the history
    keeps it. `forget` raises `UserError` and `AgentsException` for errors of the memory.
    """

    def __init__(self, session_id: str, memory: SealMemory, *, history: Session | None = None) -> None:
        self.session_id, self.memory = session_id, memory
        self._own = history is None
        self._session = storable_name(session_id)  # as the ledger has it
        self._held = f"{SOURCE}: held {hashlib.sha256(self._session.encode()).hexdigest()[:32]}"  # a key of its meta
        name = f"{memory.ledger.namespace}/{self._session}"
        self.history: Session = history if history is not None else SQLiteSession(name, memory.folder / FILE_NAME)
        self.session_settings: SessionSettings | None = self.history.session_settings

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The latest `limit` items (all: None), oldest first."""
        await self._drop_forgotten()
        return await self.history.get_items(limit)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Observe the items' words, and keep the items."""
        await self._drop_forgotten()
        await record_conversation(self.memory, _openai_messages(items), session=self._session, source=SOURCE)
        await self.history.add_items(items)
        await call_in_thread(self._is_forgotten)  # makes the note

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove and return the latest item; the memory keeps its words."""
        return await self.history.pop_item()

    async def clear_session(self) -> None:
        """Empty the history; the memory keeps its words."""
        await self.history.clear_session()

    async def forget(self) -> None:
        """Destroy the history, the memory's interactions of this session, and everything learned from them."""
        await self.history.clear_session()
        with translate_errors(_ERRORS):
            if await call_in_thread(self.memory.ledger.interactions, session=self._session, limit=1):
                done = await call_in_thread(self.memory.forget, session=self._session)
                if done.left:
                    logger.warning("%s", done.left)
            await call_in_thread(self.memory.ledger.meta_set, self._held, None)

    async def _drop_forgotten(self) -> None:
        """Empty the history when the memory once held this session and holds nothing of it any more."""
        if self._own and await call_in_thread(self._is_forgotten):
            await self.history.clear_session()

    def _is_forgotten(self) -> bool:
        """Whether the ledger notes that it held this session and holds it no more; makes the note when it does."""
        ledger = self.memory.ledger
        try:
            noted = ledger.meta_get(self._held) is not None
            held = bool(ledger.interactions(session=self._session, limit=1))
            if held and not noted:
                ledger.meta_set(self._held, "1")
        except SealMemoryError as error:
            logger.warning("memory cannot be read (%s): the history stays as it is", type(error).__name__)
            return False
        return noted and not held


def _openai_messages(items: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Convert messages and tool results to OpenAI message dicts; calls and reasoning are left out."""
    for item in items:
        if not isinstance(item, Mapping):
            continue
        kind = item.get("type") or "message"
        if kind == "message" and item.get("role"):
            yield {"role": item["role"], "content": item.get("content")}
        elif str(kind).endswith("call_output"):  # of functions, custom tools, shells, computers
            yield {"role": "tool", "content": item.get("output")}
