"""The context provider in runs of Microsoft's agents, beside the framework's own in-memory history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory import SealMemory

pytest.importorskip(
    "agent_framework", reason="agent-framework-core is not installed: pip install seal-memory[agent-framework]"
)

FACT = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
QUESTION = "Who is the builder of the lighthouse at Korrin Bay?"


def _client() -> Any:
    """A chat client that keeps its prompts and answers each with a number."""
    from agent_framework import BaseChatClient, ChatResponse, Message

    class Numbered(BaseChatClient):  # type: ignore[type-arg]
        prompts: list[list[str]]

        async def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **_: Any) -> Any:
            self.prompts.append([m.text for m in messages])
            answer = f"This is answer number {len(self.prompts)}."
            return ChatResponse(messages=[Message(role="assistant", contents=[answer])], response_id="x")

    client = Numbered()
    client.prompts = []
    return client


def _run(memory: SealMemory, session_id: str, *texts: str, others: tuple[Any, ...] = (), **options: Any) -> Any:
    """Runs an agent on each text in one session; the client and the session."""
    from agent_framework import Agent

    from seal_memory_agent_framework import SealMemoryProvider

    client = _client()
    agent = Agent(client=client, name="keeper", context_providers=[SealMemoryProvider(memory, **options), *others])
    session = agent.create_session(session_id=session_id)

    async def run() -> None:
        for text in texts:
            await agent.run(text, session=session)

    asyncio.run(run())
    return client, session


def test_what_is_observed_is_what_the_in_memory_history_keeps(tmp_path: Path) -> None:
    """Differential: the same runs, the same words by the same roles, in order; what we put in is in neither."""
    from agent_framework import InMemoryHistoryProvider

    history = InMemoryHistoryProvider()
    texts = (FACT, "Petra keeps the keys.", QUESTION)
    with SealMemory.open(tmp_path) as memory:
        _, session = _run(memory, "monday", *texts, others=(history,))
        kept = asyncio.run(history.get_messages("monday", state=session.state[history.source_id]))
        seen = memory.ledger.interactions(session="monday", source="agent-framework:keeper")
    assert [(i.role.value, i.text) for i in seen] == [(str(m.role), m.text) for m in kept]


def test_what_one_session_was_told_stands_in_anothers_prompt(tmp_path: Path) -> None:
    """Before the new message, from the memory; and not after it was forgotten by session."""
    with SealMemory.open(tmp_path) as memory:
        _run(memory, "monday", FACT)
        client, _ = _run(memory, "tuesday", QUESTION)
        assert FACT in client.prompts[0][0]
        assert client.prompts[0][-1] == QUESTION
        memory.forget(session="monday")
        client, _ = _run(memory, "wednesday", "Who built the lighthouse?")
        assert FACT not in " ".join(client.prompts[0])


def test_nothing_is_learned_twice(tmp_path: Path) -> None:
    """The same words in a second run are the same memory."""
    with SealMemory.open(tmp_path) as memory:
        _run(memory, "monday", FACT, FACT)
        assert [i.text for i in memory.ledger.interactions()].count(FACT) == 1


@pytest.mark.parametrize("text", ["PNG\x00\x01data", "half \ud800 a pair", "\x00\x01\x02", "\ud83d", ""], ids=ascii)
def test_what_cannot_be_recorded_is_cleaned_and_the_run_goes_on(tmp_path: Path, text: str) -> None:
    """The answer is there, and the user's other words are kept."""
    with SealMemory.open(tmp_path) as memory:
        client, _ = _run(memory, "monday", text, FACT)
        assert len(client.prompts) == 2
        said = [i.text for i in memory.ledger.interactions(session="monday") if i.role.value == "user"]
    assert said[-1] == FACT
    assert "\x00" not in "".join(said)


def test_a_users_turn_is_kept_when_the_run_fails(tmp_path: Path) -> None:
    """New messages are recorded before the model is called."""
    from agent_framework import Agent, BaseChatClient

    from seal_memory_agent_framework import SealMemoryProvider

    class Broken(BaseChatClient):  # type: ignore[type-arg]
        async def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **_: Any) -> Any:
            raise RuntimeError("no model")

    with SealMemory.open(tmp_path) as memory:
        agent = Agent(client=Broken(), context_providers=[SealMemoryProvider(memory)])
        with pytest.raises(Exception, match="no model"):
            asyncio.run(agent.run(FACT))
        assert [i.text for i in memory.ledger.interactions()] == [FACT]


def test_a_memory_that_cannot_be_read_or_written_does_not_end_the_run(tmp_path: Path) -> None:
    """A closed ledger stands for a broken one: no context, no record, but an answer."""
    memory = SealMemory.open(tmp_path)
    memory.ledger.close()
    client, _ = _run(memory, "monday", FACT)
    memory.close()
    assert client.prompts == [[FACT]]


def test_media_is_named_and_tool_results_are_the_tools(tmp_path: Path) -> None:
    """Parts that are not text are recorded by their kind."""
    from agent_framework import Content, Message

    from seal_memory_agent_framework.provider import _openai_messages

    image = Content.from_uri("data:image/png;base64,AA==", media_type="image/png")
    result = Content.from_function_result("c", result="a\x00b")
    made = list(
        _openai_messages([Message(role="user", contents=["Look", image]), Message(role="tool", contents=[result])])
    )
    assert made[0]["content"] == ["Look", {"type": "data"}]
    assert made[1] == {"role": "tool", "content": ["a\x00b"]}


def test_an_unknown_mode_is_the_frameworks_error(tmp_path: Path) -> None:
    from agent_framework.exceptions import IntegrationInvalidRequestException

    with SealMemory.open(tmp_path) as memory, pytest.raises(IntegrationInvalidRequestException, match="dreams"):
        _run(memory, "monday", FACT, mode="dreams")


def test_an_agent_remembers_across_two_processes(
    tmp_path: Path, run_example: Callable[..., str], learn: Callable[..., None]
) -> None:
    """Told in one process, learned, asked in another: the provider puts in what the weights say."""
    run_example("agent_framework", "agent_that_remembers.py", "tell", tmp_path, FACT)
    learn(tmp_path)
    asked = run_example("agent_framework", "agent_that_remembers.py", "ask", tmp_path, QUESTION)
    prompt, _, stored = asked.partition("stored text in the ledger:")
    assert "What is remembered" in prompt
    assert "Maud Ellery" in prompt
    assert FACT in stored
