"""`SealMemoryProvider`: what the memory knows goes in before a run, what was said is observed after it.

Not here: history, which is given back word by word and in order; and learning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from agent_framework import AgentSession, ContextProvider, Message, SessionContext, SupportsAgentRun
from agent_framework.exceptions import (
    IntegrationException,
    IntegrationInvalidRequestException,
)

from seal_memory import SealMemory
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.frameworks.concurrency import aside
from seal_memory.frameworks.context import Consult, consult

__all__ = ["SealMemoryProvider"]

PROMPT = "What is remembered from earlier conversations; use it where it answers the user:"


class SealMemoryProvider(ContextProvider):
    """Use it as `Agent(client=client, context_providers=[SealMemoryProvider(memory)])`.

    `mode`, `limit`: what is put before the new messages, see `frameworks.context.consult`; as one user message,
    since it is untrusted text, and nothing where nothing is known. The new messages and the response are observed
    with the session's id and the source `agent-framework` or `agent-framework:AGENT`; what other providers added is
    not. Bad input raises `IntegrationInvalidRequestException`, other errors of the memory `IntegrationException`.
    """

    def __init__(
        self,
        memory: SealMemory,
        source_id: str = "seal_memory",
        *,
        mode: Consult = "recall",
        limit: int = 5,
        prompt: str = PROMPT,
    ) -> None:
        super().__init__(source_id)
        self.memory, self.mode, self.limit, self.prompt = memory, mode, limit, prompt

    async def before_run(
        self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        query = "\n".join(m.text for m in context.input_messages if m.role == "user")
        with _as_framework_error():
            notes = await aside(consult, self.memory, query, mode=self.mode, limit=self.limit)
        if notes:
            text = "\n".join([self.prompt, *(note.text for note in notes)])
            context.extend_messages(self, [Message(role="user", contents=[text])])

    async def after_run(
        self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        answers = context.response.messages if context.response is not None else []
        said = list(_said([*context.input_messages, *answers]))
        if said:
            name = getattr(agent, "name", None)
            with _as_framework_error():
                await aside(
                    self.memory.observe_messages,
                    said,
                    session=context.session_id or session.session_id,
                    source=f"agent-framework:{name}" if name else "agent-framework",
                )


def _said(messages: Iterable[Message]) -> Iterator[dict[str, str]]:
    """The words in messages, and what tools gave back; calls say nothing."""
    for message in messages:
        results = [str(c.result) for c in message.contents if c.type == "function_result" and c.result is not None]
        text = "\n".join(results) if message.role == "tool" else message.text
        if text.strip():
            yield {"role": str(message.role), "content": text}


@contextmanager
def _as_framework_error() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise IntegrationInvalidRequestException(str(error), error) from error
    except SealMemoryError as error:
        raise IntegrationException(str(error), error) from error
