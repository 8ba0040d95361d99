"""`SealMemorySession`: the SDK's `Session`, with everything that is said also observed by a memory.

The exact items, which a memory does not keep (it knows a text once), are kept by a session of the SDK's own. Not here:
taking back what was learned when an item is popped or the session cleared; `forget` does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from agents import SessionSettings, SQLiteSession
from agents.exceptions import AgentsException, UserError
from agents.items import TResponseInputItem
from agents.memory import Session

from seal_memory import SealMemory
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.frameworks.concurrency import aside

__all__ = ["FILE_NAME", "SealMemorySession"]

FILE_NAME = "openai_agents.sqlite"  # in the memory's folder
SOURCE = "openai-agents"


class SealMemorySession:
    """A conversation of an agent. Use it as `Runner.run(agent, text, session=SealMemorySession(id, memory))`.

    `history`: where the items are kept; left out, a `SQLiteSession` in the memory's folder, which is emptied as soon as
    somebody forgets this session in the memory. What is said is observed with `session=session_id` and the source
    `openai-agents`. Raises `UserError` for what cannot be recorded, `AgentsException` for other errors of the memory.
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
        """Observe what the items say, all or nothing, and keep them."""
        said = list(_said(items))
        if said:
            with _as_agents_error():
                await aside(self.memory.observe_messages, said, session=self.session_id, source=SOURCE)
        await self.history.add_items(items)

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove and return the latest item; the memory keeps what it said."""
        return await self.history.pop_item()

    async def clear_session(self) -> None:
        """Begin the conversation anew; the memory keeps what was said."""
        await self.history.clear_session()

    async def forget(self) -> None:
        """Destroy the conversation, what the memory has of it, and everything learned from it."""
        await self.history.clear_session()
        if await aside(self.memory.ledger.interactions, session=self.session_id, limit=1):
            with _as_agents_error():
                await aside(self.memory.forget, session=self.session_id)

    async def _was_forgotten(self) -> bool:
        """Whether something was said here and the memory has nothing of it any more."""
        if await aside(self.memory.ledger.interactions, session=self.session_id, limit=1):
            return False
        return any(_said(await self.history.get_items()))


def _said(items: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The messages and tool results among items, as OpenAI message dicts; calls and reasoning say nothing."""
    for item in items:
        if not isinstance(item, Mapping):
            continue
        if item.get("type", "message") == "message":
            role, content = item.get("role"), item.get("content")
        else:
            role, content = "tool", item.get("output") if item["type"] == "function_call_output" else None
        if role and _has_words(content):
            yield {"role": role, "content": content}


def _has_words(content: object) -> bool:
    if isinstance(content, str):
        return bool(content.strip())
    parts = content if isinstance(content, list) else []
    return any(str(p.get("text") or p.get("refusal") or "").strip() for p in parts if isinstance(p, Mapping))


@contextmanager
def _as_agents_error() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise UserError(str(error)) from error
    except SealMemoryError as error:
        raise AgentsException(str(error)) from error
