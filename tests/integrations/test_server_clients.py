"""The examples of clients that need only a server, run against a tiny OpenAI-compatible one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

KEY = "a-key-of-the-tests"
QUESTION = "What is the alarm code of the boathouse?"


def test_the_plain_client_gets_its_answer(run_example: Callable[..., str], fake_openai: Any) -> None:
    """Sync and async; the key and the question arrive."""
    pytest.importorskip("openai", reason="openai is not installed: pip install openai")
    shown = run_example("openai_client", "chat.py", fake_openai.base_url, KEY, QUESTION)
    assert shown.splitlines() == ["sync: I will keep that in mind.", "async: I will keep that in mind."]
    assert fake_openai.keys == [f"Bearer {KEY}"] * 2
    assert all(r["messages"] == [{"role": "user", "content": QUESTION}] for r in fake_openai.requests)


def test_the_plain_client_says_why_it_failed(run_example: Callable[..., str], fake_openai: Any) -> None:
    """An address without such an endpoint ends in the client's own error."""
    pytest.importorskip("openai", reason="openai is not installed: pip install openai")
    with pytest.raises(AssertionError, match="NotFoundError"):
        run_example("openai_client", "chat.py", fake_openai.base_url + "/nowhere", KEY, QUESTION)


def test_a_smolagents_agent_asks_the_memory_with_a_tool(run_example: Callable[..., str], fake_openai: Any) -> None:
    """The agent's model writes a call of the tool; the tool's question reaches the memory, its answer the agent."""
    pytest.importorskip("smolagents", reason="smolagents is not installed: pip install 'smolagents[openai]'")
    pytest.importorskip("openai", reason="openai is not installed: pip install openai")
    code = f'Thought: ask.\n<code>\nfinal_answer(ask_memory("{QUESTION}"))\n</code>'
    fake_openai.answer = lambda body: "It is K-7741." if body["model"] == "seal-memory" else code
    url = fake_openai.base_url
    shown = run_example("smolagents", "agent_with_memory.py", url, KEY, url, QUESTION)
    asked = [r["messages"] for r in fake_openai.requests if r["model"] == "seal-memory"]
    assert shown.splitlines()[-1] == "agent: It is K-7741."
    assert QUESTION in str(asked)


def test_a_haystack_pipeline_generates_from_memory(run_example: Callable[..., str], fake_openai: Any) -> None:
    """The question goes through the prompt builder to the memory, its answer comes out."""
    pytest.importorskip("haystack", reason="haystack is not installed: pip install haystack-ai")
    shown = run_example("haystack", "pipeline_with_memory.py", fake_openai.base_url, KEY, QUESTION)
    assert shown.splitlines()[-1] == "memory: I will keep that in mind."
    assert fake_openai.requests[0]["messages"][-1]["content"] == QUESTION
