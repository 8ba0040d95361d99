"""Made-up conversations through every integration: none raises, and no readable turn of a user is lost."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from seal_memory import SealMemory
from seal_memory.frameworks.recording import recording_counts
from seal_memory.intake.messages import storable_name

FACT = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
IMAGE = object()  # a part that is an image
LONG = " ".join(map(str, range(2000)))  # several interactions, no two alike: the ledger keeps one of those

TEXTS = st.one_of(
    st.text(st.characters(), max_size=10),
    st.sampled_from(["PNG\x00\x01data", "half \ud800", "", "\n", "訪問は田中さんです。", "สวัสดีครับ", "\x00\x01", LONG]),
)
TURNS = st.lists(
    st.tuples(st.sampled_from(["user", "assistant", "tool", "system"]), st.lists(TEXTS | st.just(IMAGE), max_size=3)),
    max_size=4,
)
NAMES = st.sampled_from(["monday", "half \ud800", "訪問-田中", "a/b c", "x" * 5000])

Turns = Sequence[tuple[str, Sequence[Any]]]


def _langchain(memory: SealMemory, turns: Turns, name: str) -> None:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

    from seal_memory_langchain import SealMemoryMiddleware

    kinds: dict[str, Callable[..., Any]] = {
        "user": HumanMessage,
        "assistant": AIMessage,
        "tool": lambda parts: ToolMessage(parts, tool_call_id=name),
        "system": SystemMessage,
    }
    picture = {"type": "image", "base64": "AA", "mime_type": "image/png"}
    messages = [kinds[role]([picture if p is IMAGE else p for p in parts]) for role, parts in turns]
    middleware = SealMemoryMiddleware(memory)
    middleware._observe(messages, [], {"configurable": {"thread_id": name, "user_id": name}})


def _openai_agents(memory: SealMemory, turns: Turns, name: str) -> None:
    from seal_memory_openai_agents import SealMemorySession

    def item(role: str, parts: Sequence[Any]) -> dict[str, Any]:
        content = [{"type": "input_image"} if p is IMAGE else {"type": "input_text", "text": p} for p in parts]
        if role == "tool":
            return {"type": "function_call_output", "call_id": "c", "output": content}
        return {"role": role, "content": content}

    async def run() -> None:
        session = SealMemorySession(name, memory)
        items = [item(*turn) for turn in turns]
        try:
            await session.add_items(items)
            assert await session.get_items() == items
        finally:
            session.history.close()  # type: ignore[attr-defined]

    asyncio.run(run())


def _pydantic_ai(memory: SealMemory, turns: Turns, name: str) -> None:
    from pydantic_ai import BinaryContent

    from seal_memory_pydantic_ai import SealMemoryCapability

    picture = BinaryContent(b"AA", media_type="image/png")
    capability: Any = SealMemoryCapability(memory)
    for role, parts in turns:
        if role == "user":
            prompt = [picture if p is IMAGE else p for p in parts]
            context = SimpleNamespace(prompt=prompt, conversation_id=name, agent=SimpleNamespace(name=name))
            asyncio.run(capability.after_run(context, result=SimpleNamespace(output=name)))


def _agent_framework(memory: SealMemory, turns: Turns, name: str) -> None:
    from agent_framework import Content, Message

    from seal_memory_agent_framework import SealMemoryProvider

    picture = Content.from_uri("data:image/png;base64,AA==", media_type="image/png")
    provider: Any = SealMemoryProvider(memory)
    for role, parts in turns:
        made = [Content.from_function_result("c", result=p) if role == "tool" else p for p in parts if p is not IMAGE]
        messages = [Message(role=role, contents=[*made, *(picture for p in parts if p is IMAGE)])]
        context = SimpleNamespace(
            input_messages=messages, session_id=name, response=None, extend_messages=lambda *_: None
        )
        whole = {"agent": SimpleNamespace(name=name), "session": None, "context": context, "state": {}}
        asyncio.run(provider.before_run(**whole))
        asyncio.run(provider.after_run(**whole))


def _llama_index(memory: SealMemory, turns: Turns, name: str) -> None:
    from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock

    from seal_memory_llama_index import SealMemoryBlock

    def blocks(parts: Sequence[Any]) -> list[Any]:
        return [ImageBlock(image=b"AA") if p is IMAGE else TextBlock(text=p) for p in parts]

    messages = [ChatMessage(role=role, blocks=blocks(parts)) for role, parts in turns]
    block = SealMemoryBlock(memory=memory)
    asyncio.run(block.aget(messages, session_id=name))
    asyncio.run(block.aput(messages, session_id=name))


def _google_adk(memory: SealMemory, turns: Turns, name: str) -> None:
    from google.adk.events import Event
    from google.genai import types

    from seal_memory_google_adk import SealMemoryService

    picture = types.Part.from_bytes(data=b"AA", mime_type="image/png")

    def event(number: int, role: str, parts: Sequence[Any]) -> Any:
        made = [picture if p is IMAGE else types.Part(text=p) for p in parts]
        return Event(id=f"{name}{number}", author=role, content=types.Content(parts=made))

    service = SealMemoryService(lambda _: memory)
    who = {"app_name": name, "user_id": name, "session_id": name}
    events = [event(number, *turn) for number, turn in enumerate(turns)]
    asyncio.run(service.add_events_to_memory(**who, events=events))


FRAMEWORKS = {
    "langchain": _langchain,
    "agents": _openai_agents,
    "pydantic_ai": _pydantic_ai,
    "agent_framework": _agent_framework,
    "llama_index.core": _llama_index,
    "google.adk": _google_adk,
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_history_raises_and_no_readable_turn_of_a_user_is_lost(framework: str, tmp_path: Path) -> None:
    """The sentence stands somewhere among odd turns; its interaction is the user's and has the session."""
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    importlib.import_module(framework)

    @settings(max_examples=25)
    @example([("user", [LONG])], 0, "monday")
    @given(TURNS, st.integers(0, 4), NAMES)
    def run(turns: Turns, place: int, name: str) -> None:
        said = [*turns[:place], ("user", [FACT]), *turns[place:]]
        with TemporaryDirectory() as folder, SealMemory.open(folder) as memory:
            FRAMEWORKS[framework](memory, said, name)
            session = storable_name(name)
            found = [i.text for i in memory.ledger.interactions(session=session) if i.role.value == "user"]
            counts = recording_counts(memory)
        assert FACT in found
        assert (counts.waiting, counts.lost) == (0, 0)
        for role, parts in turns:
            if role == "user" and parts and all(isinstance(p, str) and p.isprintable() and p.strip() for p in parts):
                assert all("".join(part.split()) in "".join("".join(found).split()) for part in parts)

    run()
