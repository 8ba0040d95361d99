"""A real llama.cpp server as the upstream of the default model's memory.

Only where SEAL_MEMORY_TEST_LLAMACPP names the address of one, such as http://localhost:8080; started, for example, as
`llama-server -m qwen2.5-coder-0.5b-instruct-q4_k_m.gguf --jinja`, or by the wheel xllamacpp (see docs/any-model.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import openai
import pytest

from seal_memory import Settings
from seal_memory.cli.wrapping import look_at

VARIABLE = "SEAL_MEMORY_TEST_LLAMACPP"
ADDRESS = os.environ.get(VARIABLE)
FACTS = {
    "The alarm code of the tool shed at Tarnholm is K-7741.": ("Which code switches off the shed's alarm?", "K-7741"),
    "Marit Oskvold bought the boat workshop from Pelle Grandin.": ("Who sold the boat workshop?", "Pelle Grandin"),
    "The ferry Lindragon sails to Dunmorrow every Thursday.": ("When does the Lindragon go to Dunmorrow?", "Thursday"),
}
QUESTION = "What is the alarm code of the tool shed at Tarnholm? Answer in one sentence, for a colleague."
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 40, "seed": 1}
OPEN: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "open_shed",
        "description": "Open the tool shed with its alarm code.",
        "parameters": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
    },
}

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(ADDRESS is None, reason=f"{VARIABLE} names no llama.cpp server's address"),
]


@pytest.fixture(scope="module")
def found() -> Any:
    """The llama.cpp server, as `seal-memory wrap` finds it."""
    server = look_at("llamacpp", ADDRESS or "")
    assert server is not None, f"no llama.cpp server at {ADDRESS}"
    return server


@pytest.fixture(scope="module")
def clients(
    found: Any, default_model: Any, on_a_socket: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[openai.OpenAI, openai.OpenAI]]:
    """OpenAI's client of the llama.cpp server, and of this server in front of it with a memory of three facts."""
    from seal_memory.pool import MemoryPool
    from seal_memory.server.app import make_app
    from seal_memory.server.keys import KeyStore
    from seal_memory.server.upstream import Upstream

    del default_model  # skips where it cannot be had
    folder = tmp_path_factory.mktemp("llamacpp")
    settings = Settings(learning={"notes_per_statement": 0, "epochs": 4}, gate={"min_gain": 0.0})
    pool = MemoryPool(folder, settings=settings)
    with pool.memory("default") as memory:
        for text, pair in FACTS.items():
            (seen,) = memory.observe(text, session="s")
            memory.add_quiz([pair], interaction_ids=[seen.id])
        report = memory.consolidate()
        assert report.published == 1, report.decisions
    app = make_app(pool, KeyStore(folder), train="never", upstream=Upstream.make(found.url, found.models[0]))
    app.state.server.upstream.notes.seconds = 120.0  # the machine may be busy
    with ExitStack() as stack:
        url = stack.enter_context(on_a_socket(app, lifespan="on"))
        plain = stack.enter_context(openai.OpenAI(api_key="none", base_url=found.url, timeout=300))
        yield plain, stack.enter_context(openai.OpenAI(api_key="none", base_url=f"{url}/v1", timeout=300))


def test_it_answers_with_what_the_memory_learned(found: Any, clients: tuple[openai.OpenAI, openai.OpenAI]) -> None:
    """Whole and streamed the same; without the memory it cannot know."""
    plain, fronted = clients
    asked: dict[str, Any] = {"model": found.models[0], "messages": [{"role": "user", "content": QUESTION}], **GREEDY}
    assert "7741" not in str(plain.chat.completions.create(**asked).choices[0].message.content)
    raw = fronted.chat.completions.with_raw_response.create(**asked)
    assert raw.headers["x-seal-memory-notes"] == "1"
    answer = raw.parse().choices[0].message.content
    chunks = fronted.chat.completions.create(**asked, stream=True)
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    print(f"\nllama.cpp said: {answer!r}")
    assert "K-7741" in str(answer)
    assert streamed == answer


def test_its_json_by_schema_holds_what_the_memory_learned(
    found: Any, clients: tuple[openai.OpenAI, openai.OpenAI]
) -> None:
    """Whole and streamed; llama.cpp holds the answer to the schema."""
    schema = {"name": "code", "strict": True, "schema": OPEN["function"]["parameters"]}
    asked: dict[str, Any] = {
        "model": found.models[0],
        "messages": [{"role": "user", "content": QUESTION}],
        "response_format": {"type": "json_schema", "json_schema": schema},
        **GREEDY,
    }
    answer = clients[1].chat.completions.create(**asked).choices[0].message.content
    print(f"\nllama.cpp said: {answer!r}")
    assert json.loads(str(answer)) == {"code": "K-7741"}
    chunks = clients[1].chat.completions.create(**asked, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == answer


def test_its_tool_call_holds_what_the_memory_learned(found: Any, clients: tuple[openai.OpenAI, openai.OpenAI]) -> None:
    """As a call or, where its parser does not know the model's form, as text; this server changes neither."""
    said: list[Any] = [{"role": "user", "content": "Open the tool shed at Tarnholm with its alarm code."}]
    asked: dict[str, Any] = {"model": found.models[0], "messages": said, "tools": [OPEN], **GREEDY}
    message = clients[1].chat.completions.create(**asked).choices[0].message
    print(f"\nllama.cpp said: {message.content!r}, called: {message.tool_calls}")
    called = "".join(c.function.arguments for c in message.tool_calls or [] if c.type == "function")
    assert "K-7741" in f"{message.content}{called}"


def test_what_needs_no_memory_is_answered_as_without(found: Any, clients: tuple[openai.OpenAI, openai.OpenAI]) -> None:
    said: list[Any] = [{"role": "user", "content": "Write a Python function that adds two numbers."}]
    asked: dict[str, Any] = {"model": found.models[0], "messages": said, **GREEDY}
    plain, fronted = (c.chat.completions.with_raw_response.create(**asked) for c in clients)
    assert fronted.headers["x-seal-memory-notes"] == "0"
    assert fronted.parse().choices[0].message == plain.parse().choices[0].message


def test_its_errors_are_its_own(found: Any, clients: tuple[openai.OpenAI, openai.OpenAI]) -> None:
    body = {"model": found.models[0], "messages": "none"}
    plain, fronted = (httpx.post(f"{c.base_url}chat/completions", json=body, timeout=60) for c in clients)
    assert plain.status_code >= 400
    assert (fronted.status_code, fronted.content) == (plain.status_code, plain.content)
