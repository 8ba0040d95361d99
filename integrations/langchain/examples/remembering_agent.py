"""An agent is told something in one process and knows it in the next, with no stored text in its prompt.

python integrations/langchain/examples/remembering_agent.py [FOLDER]      (the default model; a few minutes)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver

from seal_memory import SealMemory, Settings
from seal_memory.prompts import SYSTEM
from seal_memory_langchain import ChatSealMemory, SealMemoryMiddleware

TOLD = [
    "Marit Oskvold bought the boat workshop in Korrin Bay from Pelle Grandin.",
    "The alarm code of the workshop is K-7741.",
]
ASKED = "Who bought the boat workshop in Korrin Bay?"
EXPECTED = "Marit Oskvold"


def first_process(folder: Path) -> None:
    """Talk, then learn what was said."""
    settings = Settings(learning={"notes_per_statement": 0})  # the quickest way of learning
    with SealMemory.open(folder, settings=settings) as memory:
        model = ChatSealMemory(memory=memory, max_tokens=24)
        middleware = [SealMemoryMiddleware(memory)]
        agent = create_agent(model, system_prompt=SYSTEM, middleware=middleware, checkpointer=InMemorySaver())
        for text in TOLD:
            agent.invoke({"messages": [("user", text)]}, {"configurable": {"thread_id": "monday", "user_id": "ada"}})
            print("user:", text)
        for seen in memory.ledger.interactions():
            print(f"  observed ({seen.session}, {seen.source}, {seen.role}, {seen.status}): {seen.text}")
        report = memory.consolidate()
        print("learned:", [(d.accepted, d.reasons) for d in report.decisions])


def second_process(folder: Path) -> None:
    """Ask: the prompt holds the question and the system's one line, and no passage."""
    with SealMemory.open(folder) as memory:
        model = ChatSealMemory(memory=memory, mode="weights", max_tokens=24)
        agent = create_agent(model, system_prompt=SYSTEM, middleware=[SealMemoryMiddleware(memory)])
        answer = agent.invoke({"messages": [("user", ASKED)]})["messages"][-1]
    print("user:", ASKED)
    print("agent:", answer.text)
    print("prompt tokens:", answer.usage_metadata["input_tokens"])
    print("from:", answer.response_metadata["seal_memory"])
    if EXPECTED not in answer.text:
        sys.exit(f"The agent does not remember {EXPECTED!r}.")
    print(f"It remembers {EXPECTED!r} from its weights.")


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
