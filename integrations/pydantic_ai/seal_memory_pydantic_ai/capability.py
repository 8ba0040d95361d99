"""`SealMemoryCapability` and its toolset: tools that remember, recall and forget; async, each in a thread.

Memories stay out of the instructions, where pydantic-ai wants no untrusted text: the model asks for them with a tool.
Not here: message history, and learning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_ai import ModelRetry, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.run import AgentRunResult
from pydantic_ai.toolsets import AgentToolset, FunctionToolset

from seal_memory import SealMemory
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.frameworks.concurrency import call_in_thread
from seal_memory.frameworks.context import ContextMode, memory_context, source_name
from seal_memory.frameworks.errors import ErrorTable, translate_errors
from seal_memory.frameworks.recording import record_conversation
from seal_memory.intake.messages import storable_name

__all__ = ["SealMemoryCapability", "memory_toolset"]

INSTRUCTIONS = (
    "You have a long-term memory. Before you say that you do not know something about the user or earlier "
    "conversations, call `recall`. Call `remember` for a durable fact, as one plain sentence that stands on its own."
)
_TOOL_ERRORS: ErrorTable = ((InputError, ModelRetry), (SealMemoryError, ToolFailed))


@dataclass
class SealMemoryCapability(AbstractCapability[Any]):
    """Use it as `Agent(model, capabilities=[SealMemoryCapability(memory)])`.

    User prompts and answers are observed after each run (of a failed one the prompt), with the conversation's id as
    session and `pydantic-ai` or `pydantic-ai:AGENT` as source; what memory cannot record is cleaned or left out and
    never fails the run (`frameworks.recording`). `mode`, `limit`: of the tool `recall`, see `memory_context`.
    `forgetting` adds the tool `forget`. A tool's bad arguments ask the model again (`ModelRetry`), its other errors
    are `ToolFailed`.
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
        await self._observe(ctx, result.output if isinstance(result.output, str) else "")
        return result

    async def on_run_error(self, ctx: RunContext[Any], *, error: BaseException) -> AgentRunResult[Any]:
        await self._observe(ctx, "")
        raise error

    async def _observe(self, ctx: RunContext[Any], answer: str) -> None:
        if self.observe:
            said: list[dict[str, Any]] = [
                {"role": "user", "content": _parts(ctx.prompt)},
                {"role": "assistant", "content": answer},
            ]
            await record_conversation(self.memory, said, session=ctx.conversation_id, source=_source(ctx))


def memory_toolset(
    memory: SealMemory, *, mode: ContextMode = "recall", limit: int = 5, forgetting: bool = False
) -> FunctionToolset[Any]:
    """Make the tools `remember` and `recall`, with `forgetting` also `forget`, without the capability's observing."""
    toolset: FunctionToolset[Any] = FunctionToolset(id="seal-memory")

    @toolset.tool
    async def remember(ctx: RunContext[Any], text: str) -> str:
        """Store a durable fact for later conversations, as a sentence that stands on its own."""
        with translate_errors(_TOOL_ERRORS):
            seen = await call_in_thread(
                memory.observe, text, role="tool", session=_session(ctx), source=_source(ctx)
            )  # learned, but not as the user's own words
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
            return f"{done.interactions} forgotten. {done.left}".strip()

    return toolset


def _parts(prompt: object) -> list[dict[str, str]]:
    """The OpenAI parts of a user prompt: its texts, and the kinds of images and files."""
    parts = [prompt] if isinstance(prompt, str) else prompt if isinstance(prompt, list | tuple) else []
    return [_part(part) for part in parts if getattr(part, "kind", None) != "cache-point"]


def _part(part: object) -> dict[str, str]:
    kind, content = getattr(part, "kind", None), getattr(part, "content", None)
    if isinstance(part, str) or (kind == "text-content" and isinstance(content, str)):
        return {"type": "text", "text": part if isinstance(part, str) else str(content)}
    return {"type": str(kind or type(part).__name__)}


def _session(ctx: RunContext[Any]) -> str | None:
    return None if ctx.conversation_id is None else storable_name(ctx.conversation_id)


def _source(ctx: RunContext[Any]) -> str:
    return storable_name(source_name("pydantic-ai", ctx.agent.name if ctx.agent is not None else None))
