"""A LlamaIndex chat is told a fact; in another process the block answers from the weights into the chat's prompt.

    python chat_that_remembers.py tell FOLDER "The alarm code of the boathouse is K-7741."
    seal-memory consolidate --folder FOLDER
    python chat_that_remembers.py ask FOLDER "What is the alarm code of the boathouse?"

Needs `pip install 'seal-memory[llama-index]'`. The chat model is LlamaIndex's mock, which repeats its prompt, so that
one sees what the block put there; any other takes its place.
"""

from __future__ import annotations

import asyncio
import os
import sys

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.memory import Memory

from seal_memory import SealMemory
from seal_memory_llama_index import SealMemoryBlock

MODEL = os.environ.get("SEAL_MEMORY_MODEL", "smollm2-135m")


async def chat(memory: SealMemory, session: str, text: str) -> None:
    block = SealMemoryBlock(memory=memory, mode="weights")
    conversation = Memory.from_defaults(session_id=session, memory_blocks=[block])
    engine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=conversation)
    print(await engine.achat(text))


if __name__ == "__main__":
    what, folder, text = sys.argv[1:4]
    with SealMemory.open(folder, model=MODEL) as opened:
        asyncio.run(chat(opened, what, text))
        print("stored text in the ledger:", [i.text for i in opened.ledger.interactions(session="tell")])
