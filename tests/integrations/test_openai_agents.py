"""The OpenAI Agents session behaves as the SDK's own, and what is said in it is remembered."""

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

agents = pytest.importorskip("agents", reason="openai-agents is not installed: pip install seal-memory[openai-agents]")

FACT = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
QUESTION = "Who is the builder of the lighthouse at Korrin Bay?"

TEXTS = st.sampled_from(["The quay is closed on Friday.", "Petra keeps the keys.", "Hello", "  ", FACT])
ITEMS = st.one_of(
    st.builds(lambda text, role: {"role": role, "content": text}, TEXTS, st.sampled_from(["user", "system"])),
    st.builds(
        lambda text: {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}, TEXTS
    ),
    st.builds(lambda text: {"type": "function_call_output", "call_id": "c", "output": text}, TEXTS),
    st.just({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}),
    st.just({"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}),
    st.builds(
        lambda text, role: {"role": role, "content": text},
        st.text(st.characters(), max_size=8) | st.just("a\x00\ud800b"),
        st.sampled_from(["user", "assistant", "developer", "narrator"]),
    ),
    st.builds(
        lambda output: {"type": "function_call_output", "call_id": "c", "output": output},
        st.none() | st.text(st.characters(), max_size=4) | st.just([{"type": "input_file"}]) | st.just({"odd": 1}),
    ),
)
LIMITS = st.one_of(st.none(), st.integers(0, 5))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add_items"), st.lists(ITEMS, max_size=3)),
        st.tuples(st.just("get_items"), LIMITS),
        st.tuples(st.just("pop_item")),
        st.tuples(st.just("clear_session")),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(steps=STEPS)
def test_any_sequence_of_operations_gives_what_sqlite_session_gives(steps: list[tuple[Any, ...]]) -> None:
    """Differential: the same calls on both, every result equal, and the histories at the end."""
    from seal_memory_openai_agents import SealMemorySession

    async def run(session: Any) -> list[Any]:
        given = [await getattr(session, name)(*arguments) for name, *arguments in steps]
        return [*given, await session.get_items()]

    with tempfile.TemporaryDirectory() as folder, SealMemory.open(folder) as memory:
        reference = agents.SQLiteSession("s")
        ours = SealMemorySession("s", memory)
        try:
            assert asyncio.run(run(ours)) == asyncio.run(run(reference))
        finally:
            reference.close()
            ours.history.close()


def _with(memory: SealMemory, work: Callable[[Any], Any], session_id: str = "monday") -> Any:
    from seal_memory_openai_agents import SealMemorySession

    session = SealMemorySession(session_id, memory)
    try:
        return asyncio.run(work(session))
    finally:
        session.history.close()  # type: ignore[attr-defined]


def test_what_is_said_is_observed_once_with_its_session(tmp_path: Path) -> None:
    """A replayed history is known already; roles, session and source arrive."""
    items = [{"role": "user", "content": FACT}, {"type": "function_call_output", "call_id": "c", "output": "42 keys"}]

    async def work(session: Any) -> None:
        await session.add_items(items)
        await session.add_items(items)

    with SealMemory.open(tmp_path) as memory:
        _with(memory, work)
        seen = memory.ledger.interactions(session="monday", source="openai-agents")
    assert [(i.text, i.role.value) for i in seen] == [(FACT, "user"), ("42 keys", "tool")]


def test_forgetting_the_session_in_the_memory_empties_it_here(tmp_path: Path) -> None:
    """`memory.forget(session=…)` reaches the history; another session keeps its own; `session.forget()` does both."""

    async def add(session: Any) -> None:
        await session.add_items([{"role": "user", "content": FACT}])

    async def read(session: Any) -> Any:
        return await session.get_items()

    async def forget(session: Any) -> Any:
        await session.forget()
        return await session.get_items()

    with SealMemory.open(tmp_path) as memory:
        _with(memory, add)
        _with(memory, add, "tuesday")
        memory.forget(session="monday")
        assert _with(memory, read) == []
        memory.observe("Petra keeps the keys.", session="tuesday")
        assert len(_with(memory, read, "tuesday")) == 1
        assert _with(memory, forget, "tuesday") == []
        assert memory.ledger.interactions() == []


ODD = [
    "PNG\x00\x01data",
    "half \ud800 of a pair",
    "\x00\x01\x02\x03",
    "\ud83d",
    "",
    "\n",
    None,
    [],
    {"a": 1},
    5,
    [{"type": "output_text", "text": "a\x00b"}, {"type": "input_image", "image_url": "data:,"}],
    [{"type": "input_text", "text": None}],
    [None, 3],
]


@pytest.mark.parametrize("output", ODD, ids=ascii)
def test_a_tool_result_that_cannot_be_recorded_is_kept_in_the_history(tmp_path: Path, output: Any) -> None:
    """The run goes on, the history holds every item, and the user's words beside it are recorded."""
    items = [
        {"role": "user", "content": FACT},
        {"type": "function_call_output", "call_id": "c", "output": output},
        {"role": "user", "content": "Petra keeps the \x00 keys."},
    ]

    async def work(session: Any) -> Any:
        await session.add_items(items)
        return await session.get_items()

    with SealMemory.open(tmp_path) as memory:
        assert _with(memory, work) == items
        said = [i.text for i in memory.ledger.interactions(session="monday") if i.role.value == "user"]
    assert said == [FACT, "Petra keeps the  keys."]


def test_a_history_of_which_memory_could_record_nothing_is_not_taken_for_a_forgotten_one(tmp_path: Path) -> None:
    """Only a session that the memory once held can be forgotten."""
    items = [{"type": "function_call_output", "call_id": "c", "output": "\x00\x01\x02\x03"}]

    async def work(session: Any) -> Any:
        await session.add_items(items)
        return await session.get_items()

    with SealMemory.open(tmp_path) as memory:
        assert _with(memory, work, "odd \ud800 name") == items


def test_forgotten_words_do_not_come_back_with_the_next_items(tmp_path: Path) -> None:
    """The history is emptied also when it is written before it is read."""

    async def add(session: Any) -> Any:
        await session.add_items([{"role": "user", "content": FACT}])

    async def add_another(session: Any) -> Any:
        await session.add_items([{"role": "user", "content": "Petra keeps the keys."}])
        return await session.get_items()

    with SealMemory.open(tmp_path) as memory:
        _with(memory, add)
        memory.forget(session="monday")
        assert _with(memory, add_another) == [{"role": "user", "content": "Petra keeps the keys."}]


def test_parts_that_are_not_text_are_named(tmp_path: Path) -> None:
    """An image is no word, but its message is recorded with its kind."""
    parts = [{"type": "input_text", "text": FACT}, {"type": "input_image", "image_url": "data:,"}]

    async def work(session: Any) -> None:
        await session.add_items([{"role": "user", "content": parts}, {"role": "user", "content": parts[1:]}])

    with SealMemory.open(tmp_path) as memory:
        _with(memory, work)
        seen = memory.ledger.interactions(session="monday")
    assert [(i.text, i.metadata) for i in seen] == [
        (FACT, {"skipped_parts": ["input_image"]}),
        ("[input_image]", {"skipped_parts": ["input_image"]}),
    ]


def test_the_session_is_one_for_the_sdk(tmp_path: Path) -> None:
    """The protocol is fulfilled."""
    from agents.memory import Session

    async def work(session: Any) -> bool:
        return isinstance(session, Session)

    with SealMemory.open(tmp_path) as memory:
        assert _with(memory, work)


def test_an_agent_remembers_across_two_processes(
    tmp_path: Path, run_example: Callable[..., str], learn: Callable[..., None], fake_openai: Any
) -> None:
    """Run with an agent in one process, learned, asked of another: a shard answers, no stored text was read."""
    key = {"OPENAI_BASE_URL": fake_openai.base_url, "OPENAI_API_KEY": "none"}
    told = run_example("openai_agents", "agent_that_remembers.py", "tell", tmp_path, FACT, **key)
    assert fake_openai.requests[0]["messages"][-1]["content"] == FACT
    learn(tmp_path)
    asked = run_example("openai_agents", "agent_that_remembers.py", "ask", tmp_path, QUESTION)
    assert "items in the session: 2" in told
    assert "Maud Ellery" in asked
    assert "mode: weights" in asked
    assert "shards: 1" in asked
