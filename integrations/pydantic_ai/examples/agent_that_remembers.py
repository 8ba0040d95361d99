"""A pydantic-ai agent is told a fact; in another process its tool `recall` answers from the weights.

    python agent_that_remembers.py tell FOLDER "The alarm code of the boathouse is K-7741."
    seal-memory consolidate --folder FOLDER
    python agent_that_remembers.py ask FOLDER "What is the alarm code of the boathouse?"

Needs `pip install 'seal-memory[pydantic-ai]'`. The model is a small function that always calls `recall`; any other
takes its place.
"""

from __future__ import annotations

import os
import sys

from pydantic_ai import Agent, ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from seal_memory import SealMemory
from seal_memory_pydantic_ai import SealMemoryCapability

MODEL = os.environ.get("SEAL_MEMORY_MODEL", "smollm2-135m")


def think(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Look the user's words up in the memory, then say what was found."""
    last = messages[-1].parts[-1]
    if isinstance(last, ToolReturnPart):
        return ModelResponse(parts=[TextPart(f"memory: {last.content}")])
    return ModelResponse(parts=[ToolCallPart("recall", {"query": str(last.content)})])  # type: ignore[union-attr]


if __name__ == "__main__":
    what, folder, text = sys.argv[1:4]
    with SealMemory.open(folder, model=MODEL) as opened:
        agent = Agent(FunctionModel(think), capabilities=[SealMemoryCapability(opened, mode="weights")])
        print(agent.run_sync(text, conversation_id=what).output)
        print("stored text in the ledger:", [i.text for i in opened.ledger.interactions(session="tell")])
