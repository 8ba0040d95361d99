"""An agent is told a fact in a session; another process asks the memory, with no stored text in the prompt.

    python agent_that_remembers.py tell FOLDER "The alarm code of the boathouse is K-7741."
    seal-memory consolidate --folder FOLDER
    python agent_that_remembers.py ask FOLDER "What is the alarm code of the boathouse?"

Needs `pip install 'seal-memory[openai-agents]'`, and a chat model at OPENAI_BASE_URL (with OPENAI_API_KEY).
"""

from __future__ import annotations

import asyncio
import os
import sys

from agents import Agent, OpenAIChatCompletionsModel, Runner
from openai import AsyncOpenAI

from seal_memory import SealMemory
from seal_memory_openai_agents import SealMemorySession

MODEL = os.environ.get("SEAL_MEMORY_MODEL", "smollm2-135m")


async def tell(memory: SealMemory, fact: str) -> None:
    model = OpenAIChatCompletionsModel(model="seal-memory", openai_client=AsyncOpenAI())
    session = SealMemorySession("boathouse", memory)
    result = await Runner.run(Agent(name="Keeper", model=model), fact, session=session)
    print("agent:", result.final_output)
    print("items in the session:", len(await session.get_items()))


def ask(memory: SealMemory, question: str) -> None:
    answer = memory.ask(question, mode="weights")
    print(f"{question}\n{answer.text}")
    print(f"mode: {answer.mode}, prompt tokens: {answer.prompt_tokens}, shards: {len(answer.shards)}")


if __name__ == "__main__":
    what, folder, text = sys.argv[1:4]
    with SealMemory.open(folder, model=MODEL) as opened:
        if what == "tell":
            asyncio.run(tell(opened, text))
        else:
            ask(opened, text)
