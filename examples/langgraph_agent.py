"""A LangGraph agent whose store and chat model are one memory: what a user says is kept, learned, and known tomorrow.

    pip install 'seal-memory[langchain,langgraph]'
    python examples/langgraph_agent.py tell ./my-agent "The alarm code of the workshop is K-7741."
    python examples/langgraph_agent.py ask ./my-agent "What is the alarm code of the workshop?"

SEAL_MEMORY_MODEL names another model than the default. An agent with tools: `SealMemoryMiddleware` in integrations/.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime

from seal_memory import SealMemory
from seal_memory_langchain import ChatSealMemory
from seal_memory_langgraph import SealMemoryStore

MODEL = os.environ.get("SEAL_MEMORY_MODEL", "smollm2-135m")


def keep(state: MessagesState, runtime: Runtime) -> dict[str, Any]:
    """Put the user's message into the store, where the memory will learn it."""
    message = state["messages"][-1]
    if runtime.store is not None:
        runtime.store.put(("users", "ada"), str(message.id), {"memory": message.content})
    return {}


def agent(memory: SealMemory, store: SealMemoryStore, *, remembers: bool) -> Any:
    """A graph that answers from the memory and, where it `remembers`, keeps what it was told first."""
    model = ChatSealMemory(memory=memory, mode="weights", max_tokens=24)
    graph = StateGraph(MessagesState)
    graph.add_node("keep", keep)
    graph.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "keep" if remembers else "answer")
    graph.add_edge("keep", "answer")
    graph.add_edge("answer", END)
    return graph.compile(store=store)


def main(what: str, folder: str, text: str) -> None:
    """Talk once; after telling, learn."""
    with SealMemory.open(folder, model=MODEL) as memory:
        store = SealMemoryStore(memory)
        told = agent(memory, store, remembers=what == "tell").invoke({"messages": [("user", text)]})
        print("agent:", told["messages"][-1].text)
        if what == "tell":
            for decision in memory.consolidate().decisions:
                print("published:" if decision.accepted else "refused:", *decision.reasons)
        store.close()


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("tell", "ask"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
