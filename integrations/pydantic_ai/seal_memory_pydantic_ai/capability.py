"""`SealMemoryCapability` and the toolset inside it. Tools are async and cross to threads in `aside`.

What is remembered stays out of the instructions (pydantic-ai: keep untrusted text out of them): the model asks for it
with a tool. Not here: message history, and learning.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic_ai import ModelRetry, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ToolFailed, UserError
from pydantic_ai.run import AgentRunResult
from pydantic_ai.toolsets import AgentToolset, FunctionToolset

from seal_memory import SealMemory
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.frameworks.concurrency import aside
from seal_memory.frameworks.context import Consult, consult

__all__ = ["SealMemoryCapability", "memory_toolset"]

INSTRUCTIONS = (
    "You have a long-term memory. Before you say that you do not know something about the user or earlier "
    "conversations, call `recall`. Call `remember` for a durable fact, as one plain sentence that stands on its own."
)


@dataclass
class SealMemoryCapability(AbstractCapability[Any]):
    """Use it as `Agent(model, capabilities=[SealMemoryCapability(memory)])`.

    User prompts and answers are observed after each run that ends well, with the conversation's id as session and
    `pydantic-ai` or `pydantic-ai:AGENT` as source. `mode`: how `recall` answers, see `consult`. `forgetting` adds the
    tool `forget`. Errors: bad arguments ask the model again (`ModelRetry`), others are `ToolFailed`, after a run
    `UserError`.
    """

    memory: SealMemory
    mode: Consult = "recall"
    limit: int = 5
    observe: bool = True
    forgetting: bool = False

    @classmethod
    def get_serialization_name(cls) -> str | None:
        return None  # holds an open memory

    def get_instructions(self) -> str:
        return INSTRUCTIONS

    def get_toolset(self) -> AgentToolset[Any]:
        return memory_toolset(self.memory, mode=self.mode, limit=self.limit, forgetting=self.forgetting)

    async def after_run(self, ctx: RunContext[Any], *, result: AgentRunResult[Any]) -> AgentRunResult[Any]:
        if self.observe:
            try:
                await self._observe(ctx, result)
            except SealMemoryError as error:
                raise UserError(str(error)) from error
        return result

    async def _observe(self, ctx: RunContext[Any], result: AgentRunResult[Any]) -> None:
        answer = result.output if isinstance(result.output, str) else ""
        said = [("user", text) for text in _words(ctx.prompt)] + [("assistant", answer)]
        messages = [{"role": role, "content": text} for role, text in said if text.strip()]
        if messages:
            await aside(self.memory.observe_messages, messages, session=ctx.conversation_id, source=_source(ctx))


def memory_toolset(
    memory: SealMemory, *, mode: Consult = "recall", limit: int = 5, forgetting: bool = False
) -> FunctionToolset[Any]:
    """Tools `remember` and `recall`, with `forgetting` also `forget`, for an agent that wants no more than tools."""
    toolset: FunctionToolset[Any] = FunctionToolset(id="seal-memory")

    @toolset.tool
    async def remember(ctx: RunContext[Any], text: str) -> str:
        """Store a durable fact for later conversations, as a sentence that stands on its own."""
        with _as_tool_error():
            seen = await aside(memory.observe, text, session=ctx.conversation_id, source=_source(ctx))
        return ", ".join(one.id for one in seen)

    @toolset.tool_plain
    async def recall(query: str) -> list[dict[str, Any]]:
        """What is known from earlier conversations about a question, with the ids of the memories behind it."""
        with _as_tool_error():
            notes = await aside(consult, memory, query, mode=mode, limit=limit)
        return [{"text": note.text, "ids": list(note.sources)} for note in notes]

    if forgetting:

        @toolset.tool_plain(requires_approval=True)
        async def forget(ids: list[str]) -> str:
            """Destroy memories by their ids, and everything learned from them. It cannot be undone."""
            with _as_tool_error():
                done = await aside(memory.forget, ids)
            return f"{done.interactions} forgotten"

    return toolset


def _words(prompt: object) -> list[str]:
    """The texts of a user prompt; images and files are left out."""
    if isinstance(prompt, str):
        return [prompt]
    parts = prompt if isinstance(prompt, list | tuple) else []
    return [p if isinstance(p, str) else getattr(p, "content", "") for p in parts if isinstance(p, str) or _is_text(p)]


def _is_text(part: object) -> bool:
    return getattr(part, "kind", None) == "text-content" and isinstance(getattr(part, "content", None), str)


def _source(ctx: RunContext[Any]) -> str:
    name = ctx.agent.name if ctx.agent is not None else None
    return f"pydantic-ai:{name}" if name else "pydantic-ai"


@contextmanager
def _as_tool_error() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise ModelRetry(str(error)) from error
    except SealMemoryError as error:
        raise ToolFailed(str(error)) from error
