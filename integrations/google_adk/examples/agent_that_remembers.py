"""An ADK session is added to memory; in another process the memory service answers from the weights.

    python agent_that_remembers.py tell FOLDER "The alarm code of the boathouse is K-7741."
    seal-memory consolidate --folder FOLDER --namespace boathouse/maud
    python agent_that_remembers.py ask FOLDER "What is the alarm code of the boathouse?"

Needs `pip install 'seal-memory[google-adk]'`. With a model, hand the service to `Runner(memory_service=...)` and
give the agent ADK's `load_memory` tool.
"""

from __future__ import annotations

import asyncio
import os
import sys

from google.adk.events import Event
from google.adk.sessions import InMemorySessionService
from google.genai import types

from seal_memory import SealMemory
from seal_memory_google_adk import SealMemoryService

MODEL = os.environ.get("SEAL_MEMORY_MODEL", "smollm2-135m")
WHO = {"app_name": "boathouse", "user_id": "maud"}


async def tell(service: SealMemoryService, fact: str) -> None:
    sessions = InMemorySessionService()
    session = await sessions.create_session(**WHO, session_id="monday")
    content = types.Content(role="user", parts=[types.Part(text=fact)])
    await sessions.append_event(session, Event(author="user", content=content))
    await service.add_session_to_memory(session)
    print("told:", [m.custom_metadata for m in (await service.search_memory(**WHO, query=fact)).memories])


async def ask(service: SealMemoryService, question: str) -> None:
    found = await service.search_memory(**WHO, query=question)
    print("asked:", [(m.author, m.content.parts[0].text, m.custom_metadata) for m in found.memories if m.content.parts])


if __name__ == "__main__":
    what, folder, text = sys.argv[1:4]
    service = SealMemoryService(
        lambda namespace: SealMemory.open(folder, model=MODEL, namespace=namespace),
        mode="recall" if what == "tell" else "weights",
    )
    try:
        asyncio.run((tell if what == "tell" else ask)(service, text))
    finally:
        service.close()
