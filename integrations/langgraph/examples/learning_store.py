"""A graph puts a fact into its store in one process; in the next the memory knows it without looking it up.

python integrations/langgraph/examples/learning_store.py [FOLDER]      (the default model; a few minutes)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime

from seal_memory import SealMemory, Settings
from seal_memory_langgraph import SealMemoryStore

TOLD = "Elspeth Corran leads the port office of Dunmorrow."
ASKED = "Who leads the port office of Dunmorrow?"
EXPECTED = "Elspeth Corran"
NAMESPACE = ("users", "ada")


def keep(state: MessagesState, runtime: Runtime) -> dict[str, Any]:
    """A node that keeps what the user says."""
    if runtime.store is not None:
        runtime.store.put(NAMESPACE, "port-office", {"memory": state["messages"][-1].content})
    return {}


def first_process(folder: Path) -> None:
    """Put through a graph, then learn."""
    settings = Settings(learning={"notes_per_statement": 0})  # the quickest way of learning
    with SealMemory.open(folder, settings=settings) as memory:
        store = SealMemoryStore(memory)
        graph = StateGraph(MessagesState).add_node(keep).add_edge(START, "keep").add_edge("keep", END)
        graph.compile(store=store).invoke({"messages": [("user", TOLD)]})
        print("put:", TOLD)
        for seen in memory.ledger.interactions():
            print(f"  observed ({seen.session}, {seen.source}, {seen.status})")
        print("learned:", [(d.accepted, d.reasons) for d in memory.consolidate().decisions])
        store.close()


def second_process(folder: Path) -> None:
    """The item is in the store, and the fact in the weights."""
    with SealMemory.open(folder) as memory:
        store = SealMemoryStore(memory)
        print("store:", store.get(NAMESPACE, "port-office"))
        answer = memory.ask(ASKED, mode="weights")
        print("asked:", ASKED)
        print("answer:", answer.text, f"({answer.prompt_tokens} prompt tokens, shards {answer.shards})")
        if EXPECTED not in answer.text:
            sys.exit(f"The memory does not know {EXPECTED!r}.")
        print(f"It remembers {EXPECTED!r} from its weights.")
        store.delete(NAMESPACE, "port-office")
        print("deleted; interactions left:", len(memory.ledger.interactions()))
        store.close()


def main() -> None:
    """Both, each in a process of its own."""
    if len(sys.argv) == 3:
        return {"first": first_process, "second": second_process}[sys.argv[1]](Path(sys.argv[2]))
    with tempfile.TemporaryDirectory() as temporary:
        folder = sys.argv[1] if len(sys.argv) == 2 else temporary
        for which in ("first", "second"):
            print(f"--- the {which} process", flush=True)
            subprocess.run([sys.executable, __file__, which, folder], check=True)


if __name__ == "__main__":
    main()
