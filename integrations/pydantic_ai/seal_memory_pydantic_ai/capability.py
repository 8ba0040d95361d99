"""`SealMemoryCapability` and its toolset: tools that remember, recall and forget; async, each in a thread.

Memories stay out of the instructions, where pydantic-ai wants no untrusted text: the model asks for them with a tool.
Not here: message history, and learning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_ai import ModelRetry, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ToolFailed, UserError
from pydantic_ai.run import AgentRunResult
from pydantic_ai.toolsets import AgentToolset, FunctionToolset

from seal_memory import SealMemory
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.frameworks.concurrency import call_in_thread
from seal_memory.frameworks.context import ContextMode, memory_context, observe_conversation, source_name
from seal_memory.frameworks.errors import ErrorTable, translate_errors

__all__ = ["SealMemoryCapability", "memory_toolset"]

INSTRUCTIONS = (
    "You have a long-term memory. Before you say that you do not know something about the user or earlier "
    "conversations, call `recall`. Call `remember` for a durable fact, as one plain sentence that stands on its own."
)
_RUN_ERRORS: ErrorTable = ((SealMemoryError, UserError),)
_TOOL_ERRORS: ErrorTable = ((InputError, ModelRetry), (SealMemoryError, ToolFailed))


@dataclass
class SealMemoryCapability(AbstractCapability[Any]):
    """Use it as `Agent(model, capabilities=[SealMemoryCapability(memory)])`.

    User prompts and answers are observed after each successful run, with the conversation's id as session and
    `pydantic-ai` or `pydantic-ai:AGENT` as source. `mode`, `limit`: of the tool `recall`, see `memory_context`.
    `forgetting` adds the tool `forget`. Errors: a tool's bad arguments ask the model again (`ModelRetry`), its other
    errors are `ToolFailed`; after a run they are `UserError`.
    """

    memory: SealMemory
    mode: ContextMode = "recall"
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
            with translate_errors(_RUN_ERRORS):
                await self._observe(ctx, result)
        return result

    async def _observe(self, ctx: RunContext[Any], result: AgentRunResult[Any]) -> None:
        answer = result.output if isinstance(result.output, str) else ""
        said = [("user", text) for text in _texts(ctx.prompt)] + [("assistant", answer)]
        messages = [{"role": role, "content": text} for role, text in said]
        await observe_conversation(self.memory, messages, session=ctx.conversation_id, source=_source(ctx))


def memory_toolset(
    memory: SealMemory, *, mode: ContextMode = "recall", limit: int = 5, forgetting: bool = False
) -> FunctionToolset[Any]:
    """Make the tools `remember` and `recall`, with `forgetting` also `forget`, without the capability's observing."""
    toolset: FunctionToolset[Any] = FunctionToolset(id="seal-memory")

    @toolset.tool
    async def remember(ctx: RunContext[Any], text: str) -> str:
        """Store a durable fact for later conversations, as a sentence that stands on its own."""
        with translate_errors(_TOOL_ERRORS):
            seen = await call_in_thread(memory.observe, text, session=ctx.conversation_id, source=_source(ctx))
        return ", ".join(one.id for one in seen)

    @toolset.tool_plain
    async def recall(query: str) -> list[dict[str, Any]]:
        """What is known from earlier conversations about a question, with the ids of the memories behind it."""
        with translate_errors(_TOOL_ERRORS):
            found = await call_in_thread(memory_context, memory, query, mode=mode, limit=limit)
        return [{"text": item.text, "ids": list(item.sources)} for item in found]

    if forgetting:

        @toolset.tool_plain(requires_approval=True)
        async def forget(ids: list[str]) -> str:
            """Destroy memories by their ids, and everything learned from them. It cannot be undone."""
            with translate_errors(_TOOL_ERRORS):
                done = await call_in_thread(memory.forget, ids)
            return f"{done.interactions} forgotten"

    return toolset


def _texts(prompt: object) -> list[str]:
    """The texts of a user prompt; images and files are left out."""
    if isinstance(prompt, str):
        return [prompt]
    parts = prompt if isinstance(prompt, list | tuple) else []
    return [p if isinstance(p, str) else getattr(p, "content", "") for p in parts if isinstance(p, str) or _is_text(p)]


def _is_text(part: object) -> bool:
    return getattr(part, "kind", None) == "text-content" and isinstance(getattr(part, "content", None), str)


def _source(ctx: RunContext[Any]) -> str:
    return source_name("pydantic-ai", ctx.agent.name if ctx.agent is not None else None)
