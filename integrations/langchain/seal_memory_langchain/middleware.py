"""`SealMemoryMiddleware`: observes an agent's conversation, and answers from memory where a shard is published.

Not here: learning (`consolidate()`, `start_background()` or the server's worker).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, NotRequired, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.exceptions import ModelError
from langchain_core.messages import BaseMessage, ChatMessage, HumanMessage, ToolMessage
from langgraph.config import get_config
from langgraph.runtime import Runtime

from seal_memory import SealMemory
from seal_memory.errors import SealMemoryError
from seal_memory.frameworks.recording import RecordingCounts, record_messages, recording_counts
from seal_memory_langchain.chat_model import ChatSealMemory
from seal_memory_langchain.identity import source_of, thread_of
from seal_memory_langchain.remote import Memory, TranslatedMemory
from seal_memory_langchain.tools import TOOL_NAMES, memory_tools

logger = logging.getLogger(__name__)


class MemoryState(AgentState[Any]):
    """The agent's state, with the ids of observed messages, private to this middleware."""

    seal_memory_observed: NotRequired[Annotated[list[str], PrivateStateAttr]]


class SealMemoryMiddleware(AgentMiddleware[MemoryState, Any, Any]):
    """Long-term memory for `create_agent(model, middleware=[SealMemoryMiddleware(memory)])`.

    After each model call, also a failed one, the new messages are observed: the thread is the session; the user
    (`configurable["user_id"]`), or else the run, is the source. What memory cannot record is cleaned or left out and
    never fails the run (`recording_counts`). Before each call the question is routed. With a
    `SealMemory` in this process, a user's question that a published shard covers goes to that shard (`mode`), any other
    to the agent's own model. With a `RemoteMemory` the agent's model is one on that server, which routes by itself; the
    request names the session and asks the server not to observe it again. `tools`: the agent also gets `memory_tools`.
    """

    state_schema = MemoryState

    def __init__(self, memory: Memory, *, mode: str = "hybrid", tools: bool = False) -> None:
        super().__init__()
        self.memory, self.mode = memory, mode
        self.tools = memory_tools(memory) if tools else []
        self._recorded = memory if isinstance(memory, SealMemory) else TranslatedMemory(memory)

    @property
    def recording_counts(self) -> RecordingCounts:
        """Counts of messages that memory could not record as they were."""
        return recording_counts(self._recorded)

    # -- observing --------------------------------------------------------------------------------

    def after_model(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Observe the messages that are new since the last call, with the answer."""
        return self._observe(state["messages"], state.get("seal_memory_observed", []), get_config())

    async def aafter_model(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Run `after_model` in a thread, since the ledger waits for the disk."""
        seen = state.get("seal_memory_observed", [])
        return await asyncio.to_thread(self._observe, state["messages"], seen, get_config())

    def _observe(self, messages: Sequence[BaseMessage], seen: Sequence[str], config: Any) -> dict[str, Any] | None:
        known = set(seen)
        new = [m for m in messages if m.id not in known]
        if not new:
            return None
        said = [_openai_message(m) for m in new if _is_observable(m)]
        record_messages(self._recorded, said, session=thread_of(config), source=source_of(config))
        return {"seal_memory_observed": [*seen, *(m.id for m in new if m.id is not None)]}

    # -- routing ----------------------------------------------------------------------------------

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Send the call to memory's own model where it knows the answer, else to the agent's."""
        try:
            routed = self._routed(request)
            try:
                return handler(routed)
            except ModelError as error:
                if not _is_ours(error, routed):
                    raise
                return handler(request)
        except Exception:
            self._observe_failed(request, get_config())
            raise

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Run `wrap_model_call` with the routing and the observing in a thread."""
        try:
            routed = await asyncio.to_thread(self._routed, request)
            try:
                return await handler(routed)
            except ModelError as error:
                if not _is_ours(error, routed):
                    raise
                return await handler(request)
        except Exception:
            await asyncio.to_thread(self._observe_failed, request, get_config())
            raise

    def _observe_failed(self, request: ModelRequest[Any], config: Any) -> None:
        """Observe the new messages of a call that brought no answer."""
        state = cast("MemoryState", request.state)
        self._observe(state["messages"], state.get("seal_memory_observed", []), config)

    def _routed(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        if not isinstance(self.memory, SealMemory):
            return _for_the_server(request, self.mode)
        if not self._knows(request):
            return request
        model = ChatSealMemory(memory=self.memory, mode=self.mode)
        return request.override(model=model, tools=[], tool_choice=None, model_settings={})

    def _knows(self, request: ModelRequest[Any]) -> bool:
        """Whether a published shard covers the user's question; never for tool results or structured output."""
        last = request.messages[-1]
        if not isinstance(self.memory, SealMemory) or not isinstance(last, HumanMessage) or request.response_format:
            return False
        try:
            return bool(last.text.strip()) and self.memory.route(last.text).adapter_id is not None
        except SealMemoryError as error:
            logger.warning("memory cannot route (%s): the agent's own model answers", type(error).__name__)
            return False


def _is_ours(error: ModelError, routed: ModelRequest[Any]) -> bool:
    """Whether memory's own model failed, so that the agent's may answer."""
    if not isinstance(routed.model, ChatSealMemory) or not isinstance(error, SealMemoryError):
        return False
    logger.warning("memory's model cannot answer (%s): the agent's own model does", type(error).__name__)
    return True


def _openai_message(message: BaseMessage) -> dict[str, Any]:
    """An OpenAI message dict for observing: role, content, name and ids."""
    role = message.role if isinstance(message, ChatMessage) else message.type.removesuffix("MessageChunk").lower()
    more = {name: getattr(message, name, None) for name in ("id", "name", "tool_call_id")}
    return {"role": role, "content": message.content, **more}


def _is_observable(message: BaseMessage) -> bool:
    """Whether a message is neither a result of memory's own tools nor LangChain's own text, such as a summary."""
    own = isinstance(message, ToolMessage) and message.name in TOOL_NAMES
    return not own and not message.additional_kwargs.get("lc_source")


def _for_the_server(request: ModelRequest[Any], mode: str) -> ModelRequest[Any]:
    settings = dict(request.model_settings)
    session = thread_of(get_config())
    ours = {"mode": mode, "observe": False} | ({"session": session} if session else {})
    settings["extra_body"] = {"seal_memory": ours, **settings.get("extra_body", {})}
    return request.override(model_settings=settings)
