"""OpenAI's Responses by the official client: text, schemas, calls and their results, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

Site = Any  # conftest's
MORE: dict[str, Any] = {"model": "tiny", "max_output_tokens": 120}
TIDE: Any = {
    "type": "function",
    "name": "tide",
    "parameters": {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]},
    "strict": False,
}


class Tide(BaseModel):
    where: str
    metres: float | None


@pytest.fixture
def client(site: Site) -> openai.OpenAI:
    found: openai.OpenAI = site.openai(default_headers={"X-Seal-Memory-Namespace": "responses"})
    return found


def test_a_text_is_the_chats_text(site: Site, client: openai.OpenAI) -> None:
    """With instructions as the system turn; recorded like a chat."""
    done = client.responses.create(model="tiny", instructions="Be brief.", input="Who built it?", max_output_tokens=6)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who built it?"}]
    same = client.chat.completions.create(model="tiny", messages=chat, max_tokens=6)  # type: ignore[arg-type]
    assert done.output_text == same.choices[0].message.content
    assert done.status == ("completed" if same.choices[0].finish_reason == "stop" else "incomplete")
    assert done.usage is not None
    assert done.usage.input_tokens > 0
    assert ("user", "Who built it?") in [(role, text) for role, text, _ in site.texts("responses")]


def test_a_streamed_text_adds_up(client: openai.OpenAI) -> None:
    """OpenAI's stream helper reads it; events are numbered."""
    with client.responses.stream(model="tiny", input="Who built it?", max_output_tokens=6) as stream:
        events = list(stream)
        final = stream.get_final_response() if events[-1].type == "response.completed" else events[-1].response  # type: ignore[union-attr]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == final.output_text
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert (
        final.output_text
        == client.responses.create(model="tiny", input="Who built it?", max_output_tokens=6).output_text
    )


def test_a_structured_answer_is_an_object_of_the_class(client: openai.OpenAI) -> None:
    done = client.responses.parse(**MORE, input="The tide?", text_format=Tide)
    assert isinstance(done.output_parsed, Tide)


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_and_its_result(client: openai.OpenAI, stream: bool) -> None:
    """The loop of an agent, with the call's item sent back as it came."""
    asked: dict[str, Any] = {**MORE, "tools": [TIDE], "tool_choice": "required"}
    question = {"role": "user", "content": "The tide at Korrin Bay?"}
    if stream:
        with client.responses.stream(**asked, input=[question]) as events:
            done = events.get_final_response()
    else:
        done = client.responses.create(**asked, input=[question])  # type: ignore[assignment]
    (call,) = done.output
    assert call.type == "function_call"
    assert call.name == "tide"
    assert set(json.loads(call.arguments)) == {"where"}
    sent = call.model_dump(include={"type", "call_id", "name", "arguments", "id", "status"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "12:10"}
    again = client.responses.create(**MORE, tools=[TIDE], input=[question, sent, result])
    assert again.output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id: not supported"),
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        ({"text": {"format": {"type": "xml"}}}, "xml"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"model": "gpt-9"}, "has only"),
        ({"input": []}, "messages"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_told(site: Site, change: dict[str, Any], told: str) -> None:
    answer = site.post("/v1/responses", {**MORE, "input": "Who?", **change})
    assert answer.status_code in (400, 404)
    assert told in answer.json()["error"]["message"]
