"""`SealMemoryProvider`: puts what the memory knows before a run and observes the run's messages after it.

Not here: history (the framework's own `HistoryProvider`s), and learning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agent_framework import AgentSession, ContextProvider, Message, SessionContext, SupportsAgentRun
from agent_framework.exceptions import IntegrationInvalidRequestException

from seal_memory import SealMemory
from seal_memory.errors import InputError
from seal_memory.frameworks.context import ContextMode, context_or_nothing, source_name
from seal_memory.frameworks.errors import ErrorTable, translate_errors
from seal_memory.frameworks.recording import record_conversation

__all__ = ["SealMemoryProvider"]

PROMPT = "What is remembered from earlier conversations; use it where it answers the user:"
_ERRORS: ErrorTable = ((InputError, IntegrationInvalidRequestException),)
_CALLS = frozenset({"function_call", "function_result", "text_reasoning", "usage"})  # neither words nor media


class SealMemoryProvider(ContextProvider):
    """Use it as `Agent(client=client, context_providers=[SealMemoryProvider(memory)])`.

    `mode`, `limit`: of the context put before the new messages, see `frameworks.context.memory_context`. It is one
    user message, since it is untrusted text, and is left out where nothing is known. The new messages are observed
    before the run, so that they are kept if it fails, and the response after it, with the session's id and the source
    `agent-framework` or `agent-framework:AGENT`; messages of other providers are not. What memory cannot record is
    cleaned or left out and never fails the run (`frameworks.recording`). An unknown mode raises
    `IntegrationInvalidRequestException`.
    """

    def __init__(
        self,
        memory: SealMemory,
        source_id: str = "seal_memory",
        *,
        mode: ContextMode = "recall",
        limit: int = 5,
        prompt: str = PROMPT,
    ) -> None:
        super().__init__(source_id)
        self.memory, self.mode, self.limit, self.prompt = memory, mode, limit, prompt

    async def before_run(
        self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        query = "\n".join(m.text for m in context.input_messages if m.role == "user")
        with translate_errors(_ERRORS):
            found = await context_or_nothing(self.memory, query, mode=self.mode, limit=self.limit)
        if found:
            text = "\n".join([self.prompt, *(item.text for item in found)])
            context.extend_messages(self, [Message(role="user", contents=[text])])
        await self._observe(context.input_messages, agent, session, context)

    async def after_run(
        self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        await self._observe(context.response.messages if context.response is not None else [], agent, session, context)

    async def _observe(
        self, messages: Iterable[Message], agent: SupportsAgentRun, session: AgentSession, context: SessionContext
    ) -> None:
        source = source_name("agent-framework", getattr(agent, "name", None))
        said, session_id = _openai_messages(messages), context.session_id or session.session_id
        await record_conversation(self.memory, said, session=session_id, source=source)


def _openai_messages(messages: Iterable[Message]) -> Iterator[dict[str, Any]]:
    """Convert messages and tool results to OpenAI message dicts; calls hold no words, media is named by its kind."""
    for message in messages:
        media = [{"type": str(c.type)} for c in message.contents if c.type not in {*_CALLS, "text"}]
        results = [str(c.result) for c in message.contents if c.type == "function_result" and c.result is not None]
        text = "\n".join(results) if message.role == "tool" else message.text
        yield {"role": str(message.role), "content": [text, *media]}
