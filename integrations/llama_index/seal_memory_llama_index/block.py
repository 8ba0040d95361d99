"""`SealMemoryBlock`: observes the messages of a LlamaIndex memory and puts what a memory knows into the prompt.

What memory cannot record is cleaned or left out and never fails the chat (`frameworks.recording`). LlamaIndex has no
errors of its own for memories: an unknown mode raises `InputError`, which is a `ValueError`. Not here: training, and
keeping the chat history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.bridge.pydantic import Field
from llama_index.core.memory import BaseMemoryBlock

from seal_memory import SealMemory
from seal_memory.frameworks.context import ContextMode, context_or_nothing
from seal_memory.frameworks.recording import record_conversation

__all__ = ["SealMemoryBlock"]

SOURCE = "llama-index"


class SealMemoryBlock(BaseMemoryBlock[str]):
    """Use it as `Memory.from_defaults(session_id=…, memory_blocks=[SealMemoryBlock(memory=memory)])`.

    `mode`: "recall" puts the `k` passages that match the last user message into the prompt; "weights", "retrieval" and
    "hybrid" put in one answer of the memory's own model, or nothing where it knows nothing. Messages are observed when
    they leave the short-term memory and, with `observe_active`, already when a prompt is made of them; with the session
    of the `Memory` and the source `llama-index`. A text that is known is not learned again.
    """

    name: str = Field(default="seal_memory", description="The name of the block in the prompt.")
    memory: SealMemory = Field(exclude=True)
    mode: ContextMode = "recall"
    k: int = Field(default=5, ge=1)
    observe_active: bool = True

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        active = messages or []
        found = await context_or_nothing(self.memory, _last_question(active), mode=self.mode, limit=self.k)
        if self.observe_active:
            await self._observe(active, block_kwargs.get("session_id"))
        return "\n".join(item.text for item in found)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        for session in dict.fromkeys(m.additional_kwargs.get("session_id") for m in messages):
            await self._observe([m for m in messages if m.additional_kwargs.get("session_id") == session], session)

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Keep the first lines, at least `tokens_to_truncate` tokens of 3 characters fewer; None: nothing fits."""
        room = len(content) - 3 * tokens_to_truncate
        kept: list[str] = []
        for line in content.splitlines():
            room -= len(line) + 1
            if room < 0:
                break
            kept.append(line)
        return "\n".join(kept) or None

    async def _observe(self, messages: Sequence[ChatMessage], session: str | None) -> None:
        said = [{"role": m.role.value, "content": [_part(block) for block in m.blocks]} for m in messages]
        await record_conversation(self.memory, said, session=session, source=SOURCE)


def _part(block: Any) -> dict[str, str]:
    """A block as an OpenAI part: its text, or its kind; calls and thoughts hold no words."""
    if block.block_type == "text":
        return {"type": "text", "text": block.text}
    kind = str(block.block_type)
    return {"type": "text", "text": ""} if kind in ("thinking", "tool_call") else {"type": kind}


def _last_question(messages: Sequence[ChatMessage]) -> str:
    asked = [m.content for m in messages if m.role is MessageRole.USER and m.content]
    return asked[-1] if asked else ""
