"""The ADK memory service beside ADK's own in-memory one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from seal_memory import SealMemory

pytest.importorskip("google.adk", reason="google-adk is not installed: pip install seal-memory[google-adk]")

FACT = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
QUESTION = "Who is the builder of the lighthouse at Korrin Bay?"
TEXTS = ["Lighthouse Korrin", "Petra keys", "Tomas report Oslo", "Quay Friday", "Invoice sails Petra"]


def _event(number: int, user: str = "maud") -> Any:
    from google.adk.events import Event
    from google.genai import types

    content = types.Content(role="user", parts=[types.Part(text=TEXTS[number])])
    return Event(id=f"e{number}-{user}", author="user", content=content, timestamp=1000.0 + number)


USERS = st.sampled_from(["maud", "petra"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), USERS, st.lists(st.integers(0, 4), max_size=4)),
        st.tuples(st.just("search"), USERS, st.sampled_from(["Korrin", "Petra", "report sails", "nothing", "the", ""])),
        st.tuples(st.just("delete"), USERS, st.integers(0, 4)),
    ),
    max_size=10,
)


async def _found(service: Any, user: str, query: str) -> dict[str, str]:
    response = await service.search_memory(app_name="app", user_id=user, query=query)
    return {m.content.parts[0].text: m.id for m in response.memories}


async def _run(service: Any, steps: list[tuple[Any, ...]]) -> list[set[str]]:
    """Every search's texts. Deleting goes by the id that the service itself shows for a text."""
    results = []
    for what, user, value in steps:
        if what == "add":
            events = [_event(n, user) for n in value]
            await service.add_events_to_memory(app_name="app", user_id=user, events=events, session_id="s")
        elif what == "delete":
            id = (await _found(service, user, TEXTS[value])).get(TEXTS[value])
            await service.delete_memory(app_name="app", user_id=user, memory_id=id)
        else:
            results.append(set(await _found(service, user, value)))
    return results


@settings(max_examples=12)
@given(steps=STEPS)
def test_any_sequence_of_operations_finds_what_the_in_memory_service_finds(steps: list[tuple[Any, ...]]) -> None:
    """Differential: adding, deleting and searching by words, for two users; what was deleted stays away."""
    from google.adk.memory import InMemoryMemoryService

    from seal_memory_google_adk import SealMemoryService

    with tempfile.TemporaryDirectory() as folder:
        service = SealMemoryService(lambda namespace: SealMemory.open(folder, namespace=namespace))
        try:
            assert asyncio.run(_run(service, steps)) == asyncio.run(_run(InMemoryMemoryService(), steps))
        finally:
            service.close()


def _service(folder: Path) -> Any:
    from seal_memory_google_adk import SealMemoryService

    return SealMemoryService(lambda namespace: SealMemory.open(folder, namespace=namespace))


def test_a_session_added_again_is_not_learned_twice_and_can_be_forgotten(tmp_path: Path) -> None:
    """ADK may add a session many times; session, source and author of the event arrive."""
    from google.adk.sessions import Session

    session = Session(id="monday", app_name="app", user_id="maud", events=[_event(0), _event(1)])
    service = _service(tmp_path)
    try:
        asyncio.run(service.add_session_to_memory(session))
        asyncio.run(service.add_session_to_memory(session))
        memory = service.memory_of("app", "maud")
        seen = memory.ledger.interactions(session="monday", source="google-adk")
        assert [(i.text, i.time, i.metadata["author"]) for i in seen] == [
            (TEXTS[0], 1000.0, "user"),
            (TEXTS[1], 1001.0, "user"),
        ]
        memory.forget(session="monday")
        assert asyncio.run(_found(service, "maud", "Petra")) == {}
    finally:
        service.close()


def test_errors_are_adks_own(tmp_path: Path) -> None:
    """An unknown id is not found; a memory without words is bad input."""
    from google.adk.errors.input_validation_error import InputValidationError
    from google.adk.errors.not_found_error import NotFoundError
    from google.adk.memory.memory_entry import MemoryEntry
    from google.genai import types

    service = _service(tmp_path)
    who = {"app_name": "app", "user_id": "maud"}
    try:
        with pytest.raises(NotFoundError, match="nobody"):
            asyncio.run(service.delete_memory(**who, memory_id="nobody"))
        empty = [MemoryEntry(content=types.Content(parts=[]))]
        with pytest.raises(InputValidationError, match="empty"):
            asyncio.run(service.add_memory(**who, memories=empty))
    finally:
        service.close()


def test_the_service_remembers_across_two_processes(
    tmp_path: Path, run_example: Callable[..., str], learn: Callable[..., None]
) -> None:
    """Added in one process, learned, searched in another: an answer from the weights, by no user or model."""
    told = run_example("google_adk", "agent_that_remembers.py", "tell", tmp_path, FACT)
    learn(tmp_path, namespace="boathouse/maud")
    asked = run_example("google_adk", "agent_that_remembers.py", "ask", tmp_path, QUESTION)
    assert "monday" in told
    assert "'sources': ['" in asked
    assert "('memory', 'Maud Ellery" in asked
