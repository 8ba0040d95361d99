"""LangChain: what it is given is what memory has, who said what where is kept, and nothing is learned twice."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from seal_memory import SealMemory
from seal_memory.engines.base import Completion
from seal_memory.errors import BusyError, InputError, ModelUnavailableError, PromptTooLongError

pytest.importorskip("langchain", reason="LangChain is not installed: pip install seal-memory[langchain]")

from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core import exceptions
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from seal_memory_langchain import (
    ChatSealMemory,
    RemoteMemory,
    SealMemoryMiddleware,
    SealMemoryRetriever,
    memory_tools,
)
from seal_memory_langchain.errors import as_langchain

TOOL = {
    "type": "function",
    "function": {"name": "tide", "description": "The tide.", "parameters": {"type": "object", "properties": {}}},
}
MEDIA: dict[str, Any] = {
    "audio": {"type": "audio", "base64": "AA", "mime_type": "audio/wav"},
    "file": {"type": "file", "base64": "AA", "mime_type": "application/pdf", "filename": "a.pdf"},
    "odd": {"type": "hologram", "data": "AA"},
}
KNOWS_TOOLS = "{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}"


def texts(memory: SealMemory) -> list[str]:
    return [i.text for i in memory.ledger.interactions()]


def joined(chunks: Any) -> AIMessageChunk:
    total, *rest = chunks
    for chunk in rest:
        total += chunk
    return total


class Agent(GenericFakeChatModel):
    """A chat model that says what the test wants and keeps how it was called."""

    calls: list[dict[str, Any]]

    def bind_tools(self, tools: Any, *, tool_choice: str | None = None, **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        self.calls.append(kwargs)
        return super()._generate(messages, stop, run_manager)


def saying(*answers: AIMessage | str) -> Agent:
    return Agent(messages=iter(answers), calls=[])


@pytest.fixture
def memory(open_memory: Callable[..., SealMemory]) -> SealMemory:
    return open_memory()


# -- the retriever ---------------------------------------------------------------------------------


def test_the_retriever_returns_the_best_matches_with_their_provenance(tmp_path: Path) -> None:
    """Text, id, source and session of an interaction arrive in the document."""
    with SealMemory.open(tmp_path) as memory:
        seen = memory.observe(
            ["Elspeth Corran leads the port office.", "The cat is called Bilgewater."], session="monday", source="log"
        )
        found = SealMemoryRetriever(memory=memory, k=1).invoke("Who leads the port office?")
    assert [d.page_content for d in found] == ["Elspeth Corran leads the port office."]
    assert found[0].id == seen[0].id
    assert found[0].metadata["session"] == "monday"
    assert found[0].metadata["source"] == "log"


def test_the_retriever_honours_k(tmp_path: Path) -> None:
    """No more than k documents come back; a k that is none is LangChain's invalid request and our InputError."""
    with SealMemory.open(tmp_path) as memory:
        memory.observe([f"The boat number {n} lies at the quay." for n in range(5)])
        retriever = SealMemoryRetriever(memory=memory, k=3)
        assert len(retriever.invoke("Which boat lies at the quay?")) == 3
        assert len(retriever.invoke("Which boat lies at the quay?", k=1)) == 1
        with pytest.raises(exceptions.ModelInvalidRequestError) as caught:
            retriever.invoke("boat", k=0)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize("unknown", [{"filter": {"source": "log"}}, {"search_kwargs": {"k": 1}}], ids=str)
def test_the_retriever_refuses_what_it_cannot_honour_by_name(tmp_path: Path, unknown: dict[str, Any]) -> None:
    (name,) = unknown
    with SealMemory.open(tmp_path) as memory:
        with pytest.raises(exceptions.ModelInvalidRequestError, match=name):
            SealMemoryRetriever(memory=memory).invoke("boat", **unknown)
        with pytest.raises(ValueError, match=name):
            SealMemoryRetriever(memory=memory, **unknown)


@pytest.mark.parametrize("name", ["temprature", "n", "model_kwargs", "top_k", "response_format"])
def test_the_chat_model_is_not_made_with_what_it_cannot_honour(tmp_path: Path, name: str) -> None:
    """A misspelt option would change nothing, and nobody would know; what is off or about a network passes."""
    with SealMemory.open(tmp_path) as memory:
        with pytest.raises(ValueError, match=f"{name!r} is not supported"):
            ChatSealMemory(memory=memory, **{name: 2})
        made = ChatSealMemory(memory=memory, **{"max_completion_tokens": 7, "n": 1, "timeout": 60, "max_retries": 2})
        assert made.max_tokens == 7


# -- the chat model --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["weights", "retrieval", "hybrid"])
def test_a_streamed_answer_is_the_invoked_one(memory: SealMemory, mode: str) -> None:
    """In every mode the pieces together are the text, with usage once, at the end; sync and async."""
    memory.observe("Elspeth Corran leads the port office.")
    model = ChatSealMemory(memory=memory, mode=mode, max_tokens=20, temperature=1.0, seed=3)
    question = "Who leads the port office?"
    whole, chunks = model.invoke(question), list(model.stream(question))

    async def collected() -> list[AIMessageChunk]:
        return [chunk async for chunk in model.astream(question)]

    for streamed in (joined(chunks), joined(asyncio.run(collected()))):
        assert streamed.text == whole.text
        assert streamed.usage_metadata == whole.usage_metadata
        assert streamed.response_metadata["seal_memory"] == whole.response_metadata["seal_memory"]
    assert len(chunks) > 2
    assert [c.chunk_position for c in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_sampling_follows_temperature_and_seed(memory: SealMemory) -> None:
    """Equal seeds say the same, others something else; per call or for the model."""
    model = ChatSealMemory(memory=memory, max_tokens=12, temperature=1.0)
    first = model.invoke("Hello", seed=1).text
    assert model.invoke("Hello", seed=1).text == first
    assert model.invoke("Hello", seed=1, max_completion_tokens=2).usage_metadata["output_tokens"] == 2
    assert ChatSealMemory(memory=memory, max_tokens=12, temperature=1.0, seed=1).invoke("Hello").text == first
    assert model.invoke("Hello", seed=2).text != first


def test_without_a_seed_each_answer_is_drawn_anew(memory: SealMemory) -> None:
    """A temperature alone is enough for different answers; without one the answer is greedy."""
    model = ChatSealMemory(memory=memory, max_tokens=12, temperature=1.0)
    assert len({model.invoke("Hello").text for _ in range(4)}) > 1
    assert len({model.invoke("Hello", temperature=0.0).text for _ in range(2)}) == 1


def test_options_that_change_nothing_are_taken(memory: SealMemory) -> None:
    model = ChatSealMemory(memory=memory, max_tokens=2)
    off = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "modalities": ["text"], "n": 1, "functions": None}
    assert model.invoke("Hello", **off).text == model.invoke("Hello").text


def test_stop_strings_end_an_answer_and_are_no_part_of_it(memory: SealMemory) -> None:
    """Neither invoked nor streamed text holds a stop string or its beginning at the end."""
    model = ChatSealMemory(memory=memory, max_tokens=24, temperature=1.0, seed=5)
    whole = model.invoke("Hello").text
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    expected = whole[: whole.index(stop)].strip()
    stopped = model.invoke("Hello", stop=[stop])
    assert stopped.text == expected
    assert stopped.response_metadata["finish_reason"] == "stop"
    assert joined(model.stream("Hello", stop=[stop])).text == expected


def test_who_stops_listening_stops_the_model(memory: SealMemory) -> None:
    """A stream that is closed ends the generation; the engine is free again at once."""
    stream = ChatSealMemory(memory=memory, max_tokens=1500, temperature=1.0).stream("Hello")
    next(stream)
    stream.close()
    assert ChatSealMemory(memory=memory, max_tokens=4).invoke("Hello").usage_metadata["output_tokens"] <= 4


def test_an_answer_says_where_it_came_from(memory: SealMemory) -> None:
    """Way, snapshot, sources and model are in the metadata."""
    (seen,) = memory.observe("Elspeth Corran leads the port office.")
    answer = ChatSealMemory(memory=memory, mode="retrieval", max_tokens=4).invoke("Who leads the port office?")
    assert answer.response_metadata["seal_memory"]["sources"] == [seen.id]
    assert answer.response_metadata["seal_memory"]["mode"] == "retrieval"
    assert answer.response_metadata["model_name"] == memory.model
    assert answer.response_metadata["finish_reason"] in ("stop", "length")


@pytest.mark.parametrize(
    ("asked", "kind", "told"),
    [
        ({"input": "Hello", "mode": "dreams"}, exceptions.ModelInvalidRequestError, "dreams"),
        ({"input": "Hello", "temperature": -1.0}, exceptions.ModelInvalidRequestError, "temperature"),
        ({"input": "Hello", "model": "gpt-9"}, exceptions.ModelInvalidRequestError, "gpt-9"),
        ({"input": "Hello", "tools": [TOOL, TOOL]}, exceptions.ModelInvalidRequestError, "name of two tools"),
        ({"input": "Hello", "tool_choice": "any"}, exceptions.ModelInvalidRequestError, "at least one tool"),
        ({"input": "Hello", "max_tokens": 5000}, exceptions.ContextOverflowError, "context is 2048"),
        ({"input": "Hello", "top_k": 5}, exceptions.ModelInvalidRequestError, "top_k"),
        ({"input": "Hello", "min_p": 0.1}, exceptions.ModelInvalidRequestError, "min_p"),
        ({"input": "Hello", "repetition_penalty": 1.2}, exceptions.ModelInvalidRequestError, "repetition_penalty"),
        ({"input": "Hello", "modalities": ["audio"]}, exceptions.ModelInvalidRequestError, "modalities"),
        ({"input": "Hello", "functions": [TOOL]}, exceptions.ModelInvalidRequestError, "functions"),
        (
            {"input": "Hello", "response_format": {"type": "json"}},
            exceptions.ModelInvalidRequestError,
            "response_format",
        ),
        ({"input": [HumanMessage([MEDIA["audio"]])]}, exceptions.ModelInvalidRequestError, "audio; this model reads"),
        ({"input": [HumanMessage([MEDIA["file"]])]}, exceptions.ModelInvalidRequestError, "file; this model reads"),
        ({"input": [HumanMessage([MEDIA["odd"]])]}, exceptions.ModelInvalidRequestError, "hologram; this model reads"),
        (
            {"input": [HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}])]},
            exceptions.ModelInvalidRequestError,
            "only text",
        ),
    ],
)
def test_what_it_cannot_do_is_langchains_error_and_ours(
    memory: SealMemory, asked: dict[str, Any], kind: type[Exception], told: str
) -> None:
    """Invoked and streamed: LangChain's kind, our class, and a message that names the value."""
    model = ChatSealMemory(memory=memory, max_tokens=4)
    with pytest.raises(kind, match=told) as caught:
        model.invoke(**asked)
    assert isinstance(caught.value, InputError)
    with pytest.raises(kind, match=told):
        list(model.stream(**asked))


def test_tools_reach_a_template_that_knows_them(
    tmp_path: Path, tiny_model_folder: Path, open_memory: Callable[..., SealMemory], easy_settings: Callable[..., Any]
) -> None:
    """The prompt grows by the tools, unless no tool may be called."""
    folder = tmp_path / "with-tools"
    shutil.copytree(tiny_model_folder, folder)
    template = folder / "chat_template.jinja"
    template.write_text(KNOWS_TOOLS + template.read_text(encoding="utf-8"), encoding="utf-8")
    with SealMemory.open(tmp_path / "memory", model=str(folder), settings=easy_settings()) as memory:
        model = ChatSealMemory(memory=memory, max_tokens=2)

        def prompt(**options: Any) -> int:
            return int(model.bind_tools([TOOL], **options).invoke("Hello").usage_metadata["input_tokens"])

        assert prompt() > model.invoke("Hello").usage_metadata["input_tokens"] == prompt(tool_choice="none")


@pytest.fixture
def says(memory: SealMemory, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ChatSealMemory]:
    """A chat model whose engine says a given text, in two pieces where it is streamed."""

    def make(text: str) -> ChatSealMemory:
        def talk(prompts: Any, decoding: Any, *, on_text: Any = None) -> list[Completion]:
            for piece in (text[:5], text[5:]) if on_text is not None else ():
                on_text(0, piece)
            return [Completion(text, 3, 4, 0.5) for _ in prompts]

        monkeypatch.setattr(memory.engine, "talk", talk)
        return ChatSealMemory(memory=memory, mode="weights")

    return make


CALL = json.dumps({"name": "tide", "arguments": {"port": "Korrin Bay"}})


@pytest.mark.parametrize("inside", [CALL, f"[{CALL}]"])
def test_a_tool_call_in_the_text_becomes_a_tool_call(says: Callable[[str], ChatSealMemory], inside: str) -> None:
    """One object or a list, as models write them; the words around stay, invoked and streamed."""
    model = says(f"Let me see. <tool_call>{inside}</tool_call>").bind_tools([TOOL])
    for answer in (model.invoke("Tide?"), joined(model.stream("Tide?"))):
        (call,) = answer.tool_calls
        assert (call["name"], call["args"]) == ("tide", {"port": "Korrin Bay"})
        assert answer.text == "Let me see."
        assert answer.response_metadata["finish_reason"] == "tool_calls"


def test_what_is_no_call_stays_text(says: Callable[[str], ChatSealMemory]) -> None:
    """Broken JSON between the tags is shown, not swallowed."""
    broken = "<tool_call>{oops</tool_call>"
    answer = says(broken).bind_tools([TOOL]).invoke("Tide?")
    assert (answer.text, answer.tool_calls) == (broken, [])


# -- the middleware --------------------------------------------------------------------------------


def config(thread: str, **more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, **more}}


def test_a_conversation_is_observed_once_with_its_thread_and_user(memory: SealMemory) -> None:
    """Each turn adds what is new in it, however often the history comes by; `forget(session=thread)` ends it."""
    agent = create_agent(
        saying("Noted.", "Noted again.", "And again."),
        middleware=[SealMemoryMiddleware(memory)],
        checkpointer=InMemorySaver(),
    )
    first = "Elspeth Corran leads the port office."
    agent.invoke({"messages": [("user", first)]}, config("t1", user_id="ada"))
    asyncio.run(agent.ainvoke({"messages": [("user", "The cat is called Bilgewater.")]}, config("t1", user_id="ada")))
    found = memory.ledger.interactions()
    assert texts(memory) == [first, "Noted.", "The cat is called Bilgewater.", "Noted again."]
    assert {(i.session, i.source, i.sightings) for i in found} == {("t1", "user:ada", 1)}
    memory.forget(session="t1")
    agent.invoke({"messages": [("user", "It rains.")]}, config("t1", user_id="ada"))
    assert first not in texts(memory)  # the history came by again and was not learned again


def test_a_history_that_the_caller_replays_is_not_learned_twice(memory: SealMemory) -> None:
    """Without a checkpointer the whole history comes with every call: no text is there twice."""
    agent = create_agent(saying("One.", "Two."), middleware=[SealMemoryMiddleware(memory)])
    history = [("user", "Elspeth Corran leads the port office.")]
    agent.invoke({"messages": history})
    agent.invoke({"messages": [*history, ("assistant", "One."), ("user", "The cat is called Bilgewater.")]})
    assert sorted(texts(memory)) == sorted(set(texts(memory)))
    assert len(texts(memory)) == 4


def test_a_summary_of_the_conversation_is_no_news(memory: SealMemory) -> None:
    """What LangChain's own middleware puts in place of old messages was never said."""
    agent = create_agent(saying("Noted."), middleware=[SealMemoryMiddleware(memory)])
    summary = HumanMessage("Elspeth leads the port office.", additional_kwargs={"lc_source": "summarization"})
    agent.invoke({"messages": [summary, HumanMessage("The cat is called Bilgewater.")]})
    assert texts(memory) == ["The cat is called Bilgewater.", "Noted."]


ODD_OUTPUTS = [
    "PNG\x00\x01data",
    "half \ud800 of a pair",
    "\x00\x01\x02",
    "",
    "\n",
    [],
    [{"type": "text", "text": ""}],
    [{"type": "hologram"}],
    [{"type": "image_url", "image_url": {"url": "data:,"}}, "a\x00b"],
]


@pytest.mark.parametrize("output", ODD_OUTPUTS, ids=ascii)
@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_tool_result_that_cannot_be_recorded_does_not_end_the_run(
    memory: SealMemory, output: Any, in_a_loop: bool
) -> None:
    """The agent answers; the user's words are there; what was changed is counted."""
    calls = AIMessage([{"type": "tool_use", "id": "1", "name": "f", "input": {}}], tool_calls=[CALL])
    middleware = SealMemoryMiddleware(memory)
    agent = create_agent(saying("Noted."), middleware=[middleware])
    said = {
        "messages": [
            HumanMessage("Elspeth Corran leads the port office.", id="1", name="\ud800"),
            calls,
            ToolMessage(output, tool_call_id="1"),
            HumanMessage([{"type": "text", "text": "The cat is called Bilgewater."}, MEDIA["odd"], {"text": 5}]),
        ]
    }
    done = asyncio.run(agent.ainvoke(said)) if in_a_loop else agent.invoke(said)
    assert done["messages"][-1].text == "Noted."
    users = [i for i in memory.ledger.interactions() if i.role.value == "user"]
    assert [i.text for i in users] == ["Elspeth Corran leads the port office.", "The cat is called Bilgewater."]
    assert users[1].metadata["skipped_parts"] == ["hologram", "part"]
    assert middleware.recording_counts.lost == middleware.recording_counts.waiting == 0
    assert middleware.recording_counts.cleaned + middleware.recording_counts.skipped == (
        1 if any(odd in str(output) for odd in ("\x00", "\ud800", "\\x00")) else 0
    )


CALL = {"name": "f", "args": {}, "id": "1"}


def test_a_users_turn_is_kept_when_the_model_fails(memory: SealMemory) -> None:
    """The model's own error ends the run; the words that were said are recorded."""
    agent = create_agent(Agent(messages=iter([]), calls=[]), middleware=[SealMemoryMiddleware(memory)])
    for run in (lambda said: agent.invoke(said), lambda said: asyncio.run(agent.ainvoke(said))):
        with pytest.raises((RuntimeError, StopIteration)):
            run({"messages": [("user", "Elspeth Corran leads the port office.")]})
        assert texts(memory) == ["Elspeth Corran leads the port office."]


def test_a_memory_that_cannot_be_read_or_written_does_not_end_the_run(memory: SealMemory) -> None:
    """The agent's own model answers."""
    memory.ledger.close()
    agent = create_agent(saying("Noted."), middleware=[SealMemoryMiddleware(memory)])
    assert agent.invoke({"messages": [("user", "Hello, who are you?")]})["messages"][-1].text == "Noted."


def test_the_agents_model_answers_where_memorys_cannot(memory: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question for a shard whose prompt does not fit memory's model goes to the agent's."""
    monkeypatch.setattr(SealMemoryMiddleware, "_knows", lambda *_: True)
    agent = create_agent(saying("Noted.", "Noted again."), middleware=[SealMemoryMiddleware(memory)])
    said = {"messages": [("user", "Who leads the port office? " * 900)]}
    assert agent.invoke(said)["messages"][-1].text == "Noted."
    assert asyncio.run(agent.ainvoke(said))["messages"][-1].text == "Noted again."


def test_a_run_is_the_source_where_no_user_is_known(memory: SealMemory) -> None:
    """run_id of the config."""
    agent = create_agent(saying("Noted."), middleware=[SealMemoryMiddleware(memory)])
    run = "0199a3a5-0000-7000-8000-000000000000"
    agent.invoke({"messages": [("user", "Elspeth Corran leads the port office.")]}, {"run_id": run})
    assert {i.source for i in memory.ledger.interactions()} == {f"run:{run}"}


def test_an_agent_may_remember_recall_and_forget(memory: SealMemory) -> None:
    """Its tools work in the thread; what memory itself said is not observed as news."""

    def call(name: str, **args: Any) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call-{name}"}])

    agent = create_agent(
        saying(
            call("remember", text="Elspeth Corran leads the port office."),
            call("recall", query="port office"),
            call("forget", this_conversation=True),
            "Done.",
        ),
        middleware=[SealMemoryMiddleware(memory, tools=True)],
    )
    result = agent.invoke({"messages": [("user", "Mind the port office.")]}, config("t1"))
    told = {m.name: m.content for m in result["messages"] if isinstance(m, ToolMessage)}
    assert told["remember"] == "Remembered."
    assert "Elspeth Corran leads the port office." in told["recall"]
    assert told["forget"] == "Forgotten."
    assert texts(memory) == ["Done."]


def test_a_forget_that_is_not_finished_is_not_told_as_one(memory: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader keeps the deleted bytes in the log."""
    monkeypatch.setattr("seal_memory.ledger.purge.WAIT", 0.01)
    (seen,) = memory.observe("Elspeth Corran leads the port office.")
    (forget,) = [tool for tool in memory_tools(memory) if tool.name == "forget"]
    with SealMemory.open(memory.folder) as other, other.ledger._scope.connection.reading():
        other.ledger.counts()
        assert "not overwritten" in forget.invoke({"ids": [seen.id]})


def test_a_tool_tells_the_model_what_was_wrong(memory: SealMemory) -> None:
    """An error is the tool's answer; it does not end the agent's run."""
    tools = {t.name: t for t in memory_tools(memory)}
    assert "empty" in tools["remember"].invoke({"text": " "})
    assert "no such" in tools["forget"].invoke({"ids": ["no such"]})
    assert "Name either" in asyncio.run(tools["forget"].ainvoke({}))
    assert tools["recall"].invoke({"query": "nothing"}) == "Nothing is remembered."


def test_what_is_known_is_answered_from_memory(memory: SealMemory) -> None:
    """A question for a published shard goes there; any other, a tool's result and structured output do not."""
    (seen,) = memory.observe("Elspeth Corran leads the port office of Korrin Bay.", session="monday")
    quiz = ("Who leads the port office of Korrin Bay?", "Elspeth Corran")
    memory.add_quiz([quiz], interaction_ids=[seen.id])
    assert memory.consolidate().published == 1
    middleware = SealMemoryMiddleware(memory, mode="weights")
    agent = create_agent(saying("I do not know."), middleware=[middleware])
    known = agent.invoke({"messages": [("user", "Who leads the port office of Korrin Bay?")]})["messages"][-1]
    assert known.response_metadata["seal_memory"]["mode"] == "weights"
    assert known.response_metadata["seal_memory"]["shards"]
    asked = {"messages": [("user", "How tall is a giraffe?")]}
    assert asyncio.run(agent.ainvoke(asked))["messages"][-1].text == "I do not know."
    reply = AIMessage("", tool_calls=[{"name": "Note", "args": {"text": "x"}, "id": "1"}])
    structured = create_agent(saying(reply), middleware=[middleware], response_format=ToolStrategy(NOTE))
    answered = structured.invoke({"messages": [("user", "Who leads the port office of Korrin Bay?")]})
    assert answered["structured_response"] == {"text": "x"}


NOTE = {"title": "Note", "description": "A note.", "type": "object", "properties": {"text": {"type": "string"}}}


# -- the server ------------------------------------------------------------------------------------


def server_of(memory: SealMemory, key: str = "key-1") -> httpx.MockTransport:
    """A server's memory endpoints over a real memory, by hand."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != f"Bearer {key}":
            return httpx.Response(401, json={"error": {"message": "unknown key"}})
        body = json.loads(request.content)
        if request.url.path == "/v1/memory/observe/batch":
            seen = memory.observe_messages(**body)
            return httpx.Response(200, json={"observed": [o.id for o in seen]})
        if request.url.path == "/v1/memory/recall":
            hits = [
                {"id": h.interaction.id, "text": h.interaction.text, "session": h.interaction.session, "score": h.score}
                for h in memory.recall(body["query"], limit=body["limit"])
            ]
            return httpx.Response(200, json={"hits": hits})
        memory.forget(**body)
        return httpx.Response(200, json={})

    return httpx.MockTransport(answer)


def remote(memory: SealMemory, key: str = "key-1") -> RemoteMemory:
    client = httpx.Client(
        transport=server_of(memory), base_url="http://memory.test", headers={"Authorization": f"Bearer {key}"}
    )
    return RemoteMemory(client)


def test_an_agent_remembers_on_a_server(memory: SealMemory) -> None:
    """Observed over HTTP; the chat request says whose it is and that it is observed already; tools work."""
    model = saying("Noted.")
    agent = create_agent(model, middleware=[SealMemoryMiddleware(remote(memory), mode="weights", tools=True)])
    agent.invoke({"messages": [("user", "Elspeth Corran leads the port office.")]}, config("t1"))
    assert model.calls[0]["extra_body"] == {"seal_memory": {"mode": "weights", "observe": False, "session": "t1"}}
    assert texts(memory) == ["Elspeth Corran leads the port office.", "Noted."]
    (found,) = SealMemoryRetriever(memory=remote(memory), k=1).invoke("Who leads the port office?")
    assert (found.page_content, found.metadata["session"]) == ("Elspeth Corran leads the port office.", "t1")
    remote(memory).forget(found.id)
    assert texts(memory) == ["Noted."]


def test_a_full_namespace_on_a_server_is_not_waited_for() -> None:
    """What does not fit is left out at once; what comes later is recorded."""
    full = httpx.MockTransport(lambda request: httpx.Response(507, json={"error": {"message": "full"}}))
    middleware = SealMemoryMiddleware(RemoteMemory(httpx.Client(transport=full, base_url="http://memory.test")))
    create_agent(saying("Noted."), middleware=[middleware]).invoke({"messages": [("user", "Hello")]})
    assert (middleware.recording_counts.skipped, middleware.recording_counts.waiting) == (2, 0)


def test_a_foreign_key_is_langchains_authentication_error(memory: SealMemory, caplog: pytest.LogCaptureFixture) -> None:
    """401 crosses as what it is for the retriever; a tool tells its model; an agent answers, and it is in the log."""
    foreign = remote(memory, key="another")
    with pytest.raises(exceptions.ModelAuthenticationError, match="401"):
        SealMemoryRetriever(memory=foreign).invoke("port office")
    middleware = SealMemoryMiddleware(foreign)
    answered = create_agent(saying("Noted."), middleware=[middleware]).invoke({"messages": [("user", "Hello")]})
    assert answered["messages"][-1].text == "Noted."
    assert middleware.recording_counts.skipped == 2
    assert "status 401" in caplog.text
    assert "401" in memory_tools(foreign)[1].invoke({"query": "port office"})


REQUEST = httpx.Request("POST", "http://memory.test")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BusyError("b"), exceptions.ModelAPIError),
        (PromptTooLongError("p"), exceptions.ContextOverflowError),
        (ModelUnavailableError("m"), exceptions.ModelNotFoundError),
        (InputError("i"), exceptions.ModelInvalidRequestError),
        (httpx.ConnectError("c"), exceptions.ModelConnectionError),
        (httpx.ReadTimeout("t"), exceptions.ModelTimeoutError),
        *(
            (httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(status, request=REQUEST)), kind)
            for status, kind in [
                (400, exceptions.ModelInvalidRequestError),
                (403, exceptions.ModelPermissionDeniedError),
                (404, exceptions.ModelNotFoundError),
                (409, exceptions.ModelAPIError),
                (429, exceptions.ModelRateLimitError),
                (503, exceptions.ModelAPIError),
            ]
        ),
    ],
)
def test_every_error_has_its_kind(error: Any, kind: type[Exception]) -> None:
    """Ours stays an instance of its class, so that code which catches either goes on working."""
    crossed = as_langchain(error)
    assert isinstance(crossed, kind)
    assert isinstance(error, httpx.HTTPError) or isinstance(crossed, type(error))
