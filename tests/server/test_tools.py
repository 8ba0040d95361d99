"""Tools and structured output by the official client: valid from a random model, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel

Site = Any  # conftest's
CHAT: list[Any] = [{"role": "user", "content": "When is high tide at Korrin Bay?"}]
MORE: dict[str, Any] = {"model": "tiny", "messages": CHAT, "max_tokens": 120}


class Tide(BaseModel):
    """The tide of a place on a day."""

    where: str
    day: Literal["today", "tomorrow"]
    metres: float | None


TIDE = openai.pydantic_function_tool(Tide, name="tide")
OSLO = {"where": "Oslo", "day": "today", "metres": None}
NOW: Any = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def client(site: Site) -> openai.OpenAI:
    found: openai.OpenAI = site.openai(default_headers={"X-Seal-Memory-Namespace": "tools"})
    return found


@pytest.fixture
def says(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the model say a text, in pieces of three characters."""

    def make(text: str) -> None:
        def talk(prompts: Any, decoding: Any, *, on_text: Any = None) -> list[Any]:
            from seal_memory.engines.base import Completion

            for at in range(0, len(text), 3):
                if on_text is not None:
                    on_text(0, text[at : at + 3])
            return [Completion(text, 5, 7, 0.9) for _ in prompts]

        monkeypatch.setattr(site.server.pool.engine, "talk", talk)

    return make


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_structured_answer_is_an_object_of_the_class(client: openai.OpenAI, temperature: float) -> None:
    """OpenAI's own helper: `parsed` is the model's answer as the pydantic class."""
    done = client.chat.completions.parse(**MORE, response_format=Tide, temperature=temperature)
    assert isinstance(done.choices[0].message.parsed, Tide)
    assert done.choices[0].finish_reason == "stop"


def test_json_mode_gives_a_json_object(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(**MORE, response_format={"type": "json_object"})
    assert isinstance(json.loads(done.choices[0].message.content or ""), dict)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "tide"}}])
def test_a_forced_call_is_valid_by_the_tools_schema(client: openai.OpenAI, choice: Any) -> None:
    ask = client.chat.completions.parse if choice == "required" else client.chat.completions.create
    done = ask(**MORE, tools=[TIDE] if choice == "required" else [NOW, TIDE], tool_choice=choice)
    (one,) = done.choices
    assert one.finish_reason == "tool_calls"
    assert one.message.content is None
    (call,) = one.message.tool_calls or []
    assert (call.type, call.function.name) == ("function", "tide")
    assert Tide.model_validate_json(call.function.arguments)
    assert done.usage is not None
    assert done.usage.completion_tokens > 5


def test_a_streamed_call_adds_up(client: openai.OpenAI) -> None:
    """OpenAI's stream helper reads it: an id and a name once, arguments in deltas, no text, and usage at the end."""
    options: dict[str, Any] = {**MORE, "tools": [TIDE, NOW], "tool_choice": "required"}
    with client.chat.completions.stream(**options, stream_options={"include_usage": True}) as stream:
        chunks = [event.chunk for event in stream if event.type == "chunk"]
        final = stream.get_final_completion()
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert [bool(call.id) for call in calls] == [True] + [False] * (len(calls) - 1)
    assert not any(delta.content for delta in deltas)
    (call,) = final.choices[0].message.tool_calls or []
    assert call.function.name in ("tide", "now")
    assert isinstance(json.loads(call.function.arguments), dict)
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.usage is not None


@pytest.mark.parametrize("stream", [False, True])
def test_a_free_call_is_parsed_out_of_the_text(
    client: openai.OpenAI, says: Callable[[str], None], stream: bool
) -> None:
    """Text before it is text; two calls have ids and places of their own."""
    calls = [{"name": "tide", "arguments": OSLO}, {"name": "now", "arguments": {}}]
    says("Let me see. " + "\n".join(f"<tool_call>\n{json.dumps(c)}\n</tool_call>" for c in calls))
    options: dict[str, Any] = {**MORE, "tools": [TIDE, NOW]}
    if stream:
        with client.chat.completions.stream(**options) as events:
            message, finish = (one := events.get_final_completion().choices[0]).message, one.finish_reason
    else:
        one = client.chat.completions.create(**options).choices[0]
        message, finish = one.message, one.finish_reason
    assert message.content == "Let me see."
    found = message.tool_calls or []
    assert [(c.function.name, json.loads(c.function.arguments)) for c in found] == [
        ("tide", OSLO),
        ("now", {}),
    ]
    assert len({c.id for c in found}) == 2
    assert finish == "tool_calls"


@pytest.mark.parametrize("text", ["The tide comes at 12:10.", "<tool_call>{oops", '{"height": 3}', "a < b"])
def test_text_without_a_call_is_streamed_whole(client: openai.OpenAI, says: Callable[[str], None], text: str) -> None:
    says(text)
    with client.chat.completions.stream(**MORE, tools=[TIDE]) as events:
        one = events.get_final_completion().choices[0]
    assert (one.message.content, one.message.tool_calls, one.finish_reason) == (text, None, "stop")


def test_no_call_comes_where_none_is_wanted(client: openai.OpenAI, says: Callable[[str], None]) -> None:
    said = f"<tool_call>{json.dumps({'name': 'now', 'arguments': {}})}</tool_call>"
    says(said)
    one = client.chat.completions.create(**MORE, tools=[NOW], tool_choice="none").choices[0]
    assert (one.message.content, one.message.tool_calls, one.finish_reason) == (said, None, "stop")


def test_a_tools_result_goes_back_into_the_chat(site: Site) -> None:
    """The loop of an agent: call, result, answer; the result is recorded as the tool's words, the call is not."""
    client = site.openai(default_headers={"X-Seal-Memory-Namespace": "tool-loop"})
    called = client.chat.completions.create(**MORE, tools=[NOW], tool_choice="required").choices[0].message
    (call,) = called.tool_calls or []
    result = {"role": "tool", "tool_call_id": call.id, "content": "The clock says 12:10."}
    history = [*CHAT, called.model_dump(exclude_none=True), result]
    done = client.chat.completions.create(**{**MORE, "messages": history, "max_tokens": 6}, tools=[NOW])
    assert done.choices[0].finish_reason in ("stop", "length", "tool_calls")
    texts = [(role, text) for role, text, _ in site.texts("tool-loop")]
    assert ("tool", "The clock says 12:10.") in texts
    assert not any(role == "assistant" and "arguments" in text for role, text in texts)


@pytest.mark.parametrize("calls", [["x"], "x", [{}], [{"function": {"name": 5}}], [{"function": "f"}]])
def test_a_broken_call_in_the_history_is_named(site: Site, calls: Any) -> None:
    history = [*CHAT, {"role": "assistant", "content": None, "tool_calls": calls}, {"role": "tool", "content": "12:10"}]
    answer = site.post("/v1/chat/completions", {**MORE, "messages": history})
    assert answer.status_code == 400
    assert "message 1: 'tool_calls'" in answer.json()["error"]["message"]


def test_a_tool_that_cannot_be_used_is_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(**MORE, tools=[NOW], tool_choice={"type": "function", "function": {"name": "x"}})
    assert error.value.param == "tool_choice"
    assert "there is no tool 'x'" in error.value.message
