"""`memory_tools`: `remember`, `recall` and `forget` as tools that an agent's model may call.

The middleware does not observe their results. Not here: when they are called, which the model decides.
"""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException

from seal_memory_langchain.errors import tool_errors
from seal_memory_langchain.identity import source_of, thread_of
from seal_memory_langchain.remote import Memory

__all__ = ["TOOL_NAMES", "memory_tools"]

TOOL_NAMES = frozenset({"remember", "recall", "forget"})


def memory_tools(memory: Memory) -> list[BaseTool]:
    """Make the three tools over a memory (`SealMemory` or `RemoteMemory`). Errors go to the model."""

    def remember(text: str, config: RunnableConfig) -> str:
        """Keep a fact in long-term memory. Write it as one complete statement that makes sense on its own.

        Args:
            text: The statement to remember.
        """
        if not text.strip():
            raise ToolException("The text is empty; expected a statement to remember.")
        message = {"role": "tool", "content": text}  # learned, but not as the user's own words
        with tool_errors():
            memory.observe_messages([message], session=thread_of(config), source=source_of(config))
        return "Remembered."

    def recall(query: str, limit: int = 5) -> str:
        """Look up what is kept in long-term memory. Each line begins with the id that `forget` takes.

        Args:
            query: What to look for.
            limit: How many memories to return at most.
        """
        with tool_errors():
            hits = memory.recall(query, limit=limit)
        return "\n".join(f"[{h.interaction.id}] {h.interaction.text}" for h in hits) or "Nothing is remembered."

    def forget(config: RunnableConfig, ids: list[str] | None = None, this_conversation: bool = False) -> str:
        """Destroy memories for good, when the user asks for it.

        Args:
            ids: The ids of the memories, as `recall` names them.
            this_conversation: Instead of ids: everything that was said in this conversation.
        """
        session = thread_of(config) if this_conversation else None
        if bool(ids) == bool(session):
            raise ToolException("Name either the ids to forget, or this_conversation inside a thread.")
        with tool_errors():
            done = memory.forget(ids or None, session=session)
        left = (
            done.get("left", "") if isinstance(done, Mapping) else done.left
        )  # a server's report, or the memory's own
        return f"Forgotten. {left}".strip()

    made = (remember, recall, forget)
    return [StructuredTool.from_function(f, parse_docstring=True, handle_tool_error=True) for f in made]
