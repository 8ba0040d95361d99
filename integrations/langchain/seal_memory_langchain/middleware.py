"""`SealMemoryMiddleware`: observes an agent's conversation, and answers from memory where a shard is published.

Not here: learning (`consolidate()`, `start_background()` or the server's worker).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage, convert_to_openai_messages
from langgraph.config import get_config
from langgraph.runtime import Runtime

from seal_memory import SealMemory
from seal_memory_langchain.chat_model import ChatSealMemory
from seal_memory_langchain.errors import langchain_errors
from seal_memory_langchain.identity import source_of, thread_of
from seal_memory_langchain.remote import Memory
from seal_memory_langchain.tools import TOOL_NAMES, memory_tools


class MemoryState(AgentState[Any]):
    """The agent's state, with the ids of observed messages, private to this middleware."""

    seal_memory_observed: NotRequired[Annotated[list[str], PrivateStateAttr]]


class SealMemoryMiddleware(AgentMiddleware[MemoryState, Any, Any]):
    """Long-term memory for `create_agent(model, middleware=[SealMemoryMiddleware(memory)])`.

    After each model call the new messages are observed: the thread is the session; the user
    (`configurable["user_id"]`), or else the run, is the source. Before each call the question is routed. With a
    `SealMemory` in this process, a user's question that a published shard covers goes to that shard (`mode`), any other
    to the agent's own model. With a `RemoteMemory` the agent's model is one on that server, which routes by itself; the
    request names the session and asks the server not to observe it again. `tools`: the agent also gets `memory_tools`.
    """

    state_schema = MemoryState

    def __init__(self, memory: Memory, *, mode: str = "hybrid", tools: bool = False) -> None:
        super().__init__()
        self.memory, self.mode = memory, mode
        self.tools = memory_tools(memory) if tools else []

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
        observable = convert_to_openai_messages([m for m in new if _is_observable(m)], include_id=True)
        if observable:
            with langchain_errors():
                self.memory.observe_messages(observable, session=thread_of(config), source=source_of(config))
        return {"seal_memory_observed": [*seen, *(m.id for m in new if m.id is not None)]}

    # -- routing ----------------------------------------------------------------------------------

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Send the call to memory's own model where it knows the answer, else to the agent's."""
        return handler(self._routed(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Run `wrap_model_call` with the routing in a thread."""
        return await handler(await asyncio.to_thread(self._routed, request))

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
        with langchain_errors():
            return bool(last.text.strip()) and self.memory.route(last.text).adapter_id is not None


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
