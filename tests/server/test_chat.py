"""OpenAI's own endpoints, asked by OpenAI's own client: whole, streamed, recorded, refused."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import openai
import pytest
from langchain_openai import ChatOpenAI
from starlette.testclient import TestClient

from seal_memory.answering.conversation import LONG_CHAT
from seal_memory.engines.base import Decoding

Site = Any  # conftest's
MODEL = "tiny"
LIGHTHOUSE = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
QUESTION = "Who is the builder of the lighthouse at Korrin Bay?"
CHAT: list[Any] = [{"role": "user", "content": QUESTION}]
ASKED: dict[str, Any] = {"model": MODEL, "messages": CHAT, "max_tokens": 6}


def _streamed(client: openai.OpenAI, **options: Any) -> tuple[list[str], list[Any]]:
    """Every choice's text put together, and all chunks."""
    chunks = list(client.chat.completions.create(**{**ASKED, **options}, stream=True))
    texts = [""] * options.get("n", 1)
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    return texts, chunks


def test_the_client_gets_what_the_memory_says(site: Site) -> None:
    """The answer, its tokens, why it ended, and the version in header and field."""
    version = site.learn("known")
    client = site.openai(default_headers={"X-Seal-Memory-Namespace": "known"})
    raw = client.chat.completions.with_raw_response.create(**ASKED, extra_body={"seal_memory": {"mode": "weights"}})
    answer = raw.parse()
    with site.server.pool.memory("known") as memory:
        (expected,) = memory.converse(CHAT, mode="weights", decoding=Decoding(6)).run()
    assert answer.choices[0].message.content == expected.text
    assert answer.choices[0].finish_reason == expected.finish
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        expected.prompt_tokens,
        expected.generated_tokens,
    )
    assert raw.headers["X-Seal-Memory-Snapshot"] == str(version)
    own = answer.model_extra["seal_memory"]
    assert own["snapshot"] == version
    assert own["choices"][0]["shards"] == [s.adapter_id for s in expected.shards] != []
    assert raw.headers["x-request-id"]


def test_a_long_conversation_is_composed_unless_a_mode_is_named(site: Site) -> None:
    """A plain question keeps hybrid, whose answer comes from the weights or from text."""
    client = site.openai(default_headers={"X-Seal-Memory-Namespace": "stream", "X-Seal-Memory-Observe": "false"})
    long = [*CHAT, {"role": "assistant", "content": "Hm."}] * 4 + CHAT
    assert len(long) > LONG_CHAT

    def mode(messages: list[Any], **options: Any) -> str:
        answer = client.chat.completions.create(**{**ASKED, "messages": messages}, **options)
        return str(answer.model_extra["seal_memory"]["choices"][0]["mode"])

    assert mode(long) == "compose"
    assert mode(CHAT) != "compose"
    assert mode(long, extra_body={"seal_memory": {"mode": "weights"}}) == "weights"


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.0, "seed": 7, "n": 2, "extra_body": {"seal_memory": {"mode": "weights"}}},
        {"extra_body": {"seal_memory": {"mode": "hybrid"}}, "stop": ["e", "zzz"]},
        {"extra_body": {"seal_memory": {"mode": "compose"}}},
        {"extra_body": {"seal_memory": {"mode": "retrieval"}}, "logprobs": True, "top_logprobs": 2},
    ],
    ids=["sampled", "hybrid", "compose", "logprobs"],
)
def test_streaming_equals_the_whole(site: Site, options: dict[str, Any]) -> None:
    """The pieces add up, the ends and the usage are the same."""
    client = site.openai(default_headers={"X-Seal-Memory-Namespace": "stream", "X-Seal-Memory-Observe": "false"})
    whole = client.chat.completions.create(**ASKED, **options)
    texts, chunks = _streamed(client, **options, stream_options={"include_usage": True})
    assert texts == [c.message.content for c in whole.choices]
    ends = {c.index: c for chunk in chunks for c in chunk.choices if c.finish_reason}
    assert [ends[n].finish_reason for n in range(len(texts))] == [c.finish_reason for c in whole.choices]
    assert chunks[-1].usage == whole.usage
    assert chunks[-1].choices == []
    assert all(chunk.usage is None for chunk in chunks[:-1])
    if options.get("logprobs"):
        assert ends[0].logprobs.model_dump() == whole.choices[0].logprobs.model_dump()
        assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2


def test_the_async_client_streams_too(site: Site) -> None:
    async def talk() -> tuple[str, str]:
        transport = httpx2.ASGITransport(site.app)
        async with httpx2.AsyncClient(transport=transport) as http:
            client = openai.AsyncOpenAI(api_key="none", base_url="http://127.0.0.1/v1", http_client=http)
            whole = await client.chat.completions.create(**ASKED)
            stream = await client.chat.completions.create(**ASKED, stream=True)
            pieces = [c.choices[0].delta.content or "" async for c in stream if c.choices]
            return whole.choices[0].message.content or "", "".join(pieces)

    whole, streamed = asyncio.run(talk())
    assert whole == streamed


def test_langchain_talks_to_it(site: Site) -> None:
    """Asked and streamed, and what was said is remembered."""
    model = ChatOpenAI(
        model=MODEL,
        api_key="none",
        base_url="http://127.0.0.1/v1",
        http_client=site.http,
        max_tokens=5,
        default_headers={"X-Seal-Memory-Namespace": "langchain"},
    )
    answer = model.invoke(LIGHTHOUSE)
    assert "".join(str(c.content) for c in model.stream(LIGHTHOUSE)) == answer.content
    assert ("user", LIGHTHOUSE, 2) in site.texts("langchain")


def test_models(site: Site) -> None:
    client = site.openai()
    assert [m.id for m in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "seal-memory"
    with pytest.raises(openai.NotFoundError, match="has only"):
        client.models.retrieve("gpt-9")


def test_plain_completions(site: Site) -> None:
    """Several prompts, several samples, in their order; streamed the same. Recorded only when asked for."""
    client = site.openai(default_headers={"X-Seal-Memory-Namespace": "plain"})
    options: dict[str, Any] = {"model": MODEL, "prompt": ["The lighthouse", "Korrin"], "n": 2, "max_tokens": 4}
    options |= {"temperature": 1.0, "seed": 1, "logprobs": 2}
    whole = client.completions.create(**options)
    assert [c.index for c in whole.choices] == [0, 1, 2, 3]
    assert whole.choices[0].logprobs is not None
    texts = [""] * 4
    for chunk in client.completions.create(**options, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [c.text for c in whole.choices]
    assert site.texts("plain") == []
    client.completions.create(
        model=MODEL, prompt=LIGHTHOUSE, max_tokens=2, extra_body={"seal_memory": {"observe": True}}
    )
    assert site.texts("plain")[0] == ("user", LIGHTHOUSE, 1)


# -- what is recorded ---------------------------------------------------------------------------------


def test_a_conversation_is_recorded_once(site: Site) -> None:
    """The history that comes again with every turn is no further sighting; answers are the assistant's, not learned."""
    client = site.openai(default_headers={"X-Seal-Memory-Namespace": "talk"})
    said: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": LIGHTHOUSE}]
    for turn in ("The invoice goes to Petra Vandermolen.", "Velmar Timber asks for cash."):
        answer = client.chat.completions.create(model=MODEL, messages=said, max_tokens=3).choices[0].message.content
        said += [{"role": "assistant", "content": answer or "Yes."}, {"role": "user", "content": turn}]
    client.chat.completions.create(model=MODEL, messages=said, max_tokens=3)
    found = site.texts("talk")
    assert [f for f in found if f[0] == "user"] == [
        ("user", LIGHTHOUSE, 1),
        ("user", "The invoice goes to Petra Vandermolen.", 1),
        ("user", "Velmar Timber asks for cash.", 1),
    ]
    with site.server.pool.memory("talk") as memory:
        statuses = {i.role.value: i.status.value for i in memory.ledger.interactions()}
        sessions = {i.session for i in memory.ledger.interactions()}
    assert statuses["user"] == "pending"
    assert statuses["assistant"] == statuses["system"] == "skipped"
    assert len(sessions) == 1


def test_a_conversation_whose_system_prompt_tells_the_hour_is_one_session(site: Site) -> None:
    said: list[dict[str, str]] = []
    told = []
    for minute, text in enumerate((LIGHTHOUSE, "The invoice goes to Petra Vandermolen.", "Thank you.")):
        said.append({"role": "user", "content": text})
        messages = [{"role": "system", "content": f"You help. It is 12:{minute:02}."}, *said]
        answer = site.post("/v1/chat/completions", {**ASKED, "messages": messages}, namespace="hour").json()
        said.append(answer["choices"][0]["message"])
        told.append(answer["seal_memory"]["session"])
    assert len(set(told)) == 1


def test_two_chats_that_begin_alike_are_two_sessions_and_each_answer_tells_its_own(site: Site) -> None:
    """Forgetting one leaves the other whole, the words that both said, too."""
    client = site.openai(default_headers={"X-Seal-Memory-Namespace": "alike"})
    told: dict[str, list[str]] = {"first": [], "second": []}
    chats: dict[str, list[Any]] = {name: [{"role": "user", "content": LIGHTHOUSE}] for name in told}
    own = {"first": "The invoice goes to Petra Vandermolen.", "second": "Velmar Timber asks for cash."}
    for turn in range(3):
        for name, said in chats.items():
            answer = client.chat.completions.create(model=MODEL, messages=said, max_tokens=3)
            told[name].append(answer.model_extra["seal_memory"]["session"])
            text = own[name] if turn == 0 else f"Boat {turn} of the {name} fleet is blue."
            said += [
                {"role": "assistant", "content": answer.choices[0].message.content},
                {"role": "user", "content": text},
            ]
    assert [len(set(sessions)) for sessions in told.values()] == [1, 1]
    assert told["first"][0] != told["second"][0]
    with site.server.pool.memory("alike") as memory:
        done = memory.forget(session=told["first"][0])
        left = {i.text for i in memory.ledger.interactions(session=told["second"][0])}
        assert done.kept >= 1
        assert {LIGHTHOUSE, own["second"]} <= left
        assert own["first"] not in {i.text for i in memory.ledger.interactions()}


def test_recording_is_switched_by_the_request(site: Site) -> None:
    """By its own field or a header; the field goes first."""
    for body, headers, recorded in (
        ({"observe": False}, {}, False),
        ({}, {"X-Seal-Memory-Observe": "false"}, False),
        ({"observe": True}, {"X-Seal-Memory-Observe": "false"}, True),
    ):
        namespace = f"switch-{body.get('observe')}-{len(headers)}"
        client = site.openai(default_headers={"X-Seal-Memory-Namespace": namespace, **headers})
        said = client.chat.completions.create(**ASKED, extra_body={"seal_memory": {**body, "session": "s"}})
        assert said.model_extra["seal_memory"]["observed"] is recorded
        assert bool(site.texts(namespace)) is recorded


def test_what_was_said_is_recorded_though_no_answer_came(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"secret: {LIGHTHOUSE}")

    monkeypatch.setattr(site.server.pool.engine, "talk", broken)
    answer = site.post("/v1/chat/completions", ASKED, namespace="broken")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    assert site.texts("broken") == [("user", QUESTION, 1)]


# -- hot swap -----------------------------------------------------------------------------------------


def test_the_same_name_answers_with_a_new_version(site: Site) -> None:
    """After a consolidation, and after a rollback, without a restart."""
    client = site.openai(default_headers={"X-Seal-Memory-Namespace": "swap", "X-Seal-Memory-Observe": "false"})

    def version() -> tuple[str, int]:
        answer = client.chat.completions.create(**ASKED)
        return answer.model, answer.model_extra["seal_memory"]["snapshot"]

    assert version() == (MODEL, 0)
    learned = site.learn("swap")
    assert version() == (MODEL, learned)
    assert site.post("/v1/memory/rollback", {"version": 0}, namespace="swap").json() == {"version": 0, "shards": 0}
    assert version() == (MODEL, 0)


# -- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "gpt-9"}, "has only"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Yes?"}]}, "end with a user message"),
        ({"messages": [{"role": "nobody", "content": "x"}, *CHAT]}, "unknown role"),
        ({"max_tokens": 100_000}, "context"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"top_logprobs": 2}, "logprobs"),
        ({"presence_penalty": 1}, "not supported"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}}, "cannot be followed"),
        ({"tools": [{"type": "function", "function": {}}]}, "with a name"),
        ({"tool_choice": "required"}, "at least one tool"),
        ({"seal_memory": {"mode": "magic"}}, "mode"),
        ({"seal_memory": {"namespace": "other"}}, "namespace"),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_a_clear_error(site: Site, change: dict[str, Any], told: str, stream: bool) -> None:
    """Before anything is sent, in OpenAI's shape, and nothing is recorded."""
    answer = site.post("/v1/chat/completions", {**ASKED, **change, "stream": stream}, namespace="refused")
    assert answer.status_code == (404 if "model" in change else 400), answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert told in error["message"] or told in str(error["param"])
    assert site.texts("refused") == []


def test_ignored_tools_are_no_error(site: Site) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert site.post("/v1/chat/completions", {**ASKED, "tools": tools, "tool_choice": "none"}).status_code == 200


def test_an_error_in_a_stream_is_an_event(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status was sent already; the client raises."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(site.server.pool.engine, "talk", broken)
    with pytest.raises(openai.APIError, match="request"):
        _streamed(site.openai())


def test_a_client_that_leaves_frees_its_place(site: Site) -> None:
    """Nothing is held by a stream that nobody reads."""
    with site.http.stream("POST", "/v1/chat/completions", json={**ASKED, "stream": True}):
        pass
    site.until(lambda: site.server.slots.taken == 0)
    assert isinstance(site.http, TestClient)
