"""An agent of Microsoft's framework is told a fact; in another process the provider answers from the weights.

    python agent_that_remembers.py tell FOLDER "The alarm code of the boathouse is K-7741."
    seal-memory consolidate --folder FOLDER
    python agent_that_remembers.py ask FOLDER "What is the alarm code of the boathouse?"

Needs `pip install 'seal-memory[agent-framework]'`. The chat client only repeats its prompt, so that one sees what the
provider put there; any other takes its place.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from agent_framework import Agent, BaseChatClient, ChatResponse, Message

from seal_memory import SealMemory
from seal_memory_agent_framework import SealMemoryProvider

MODEL = os.environ.get("SEAL_MEMORY_MODEL", "smollm2-135m")


class Echo(BaseChatClient):
    """Says its prompt."""

    async def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **_: Any) -> ChatResponse:
        said = " | ".join(m.text for m in messages)
        return ChatResponse(messages=[Message(role="assistant", contents=[said])], response_id="echo")


async def run(memory: SealMemory, session_id: str, text: str) -> None:
    agent = Agent(client=Echo(), name="keeper", context_providers=[SealMemoryProvider(memory, mode="weights")])
    print((await agent.run(text, session=agent.create_session(session_id=session_id))).text)


if __name__ == "__main__":
    what, folder, text = sys.argv[1:4]
    with SealMemory.open(folder, model=MODEL) as opened:
        asyncio.run(run(opened, what, text))
        print("stored text in the ledger:", [i.text for i in opened.ledger.interactions(session="tell")])
