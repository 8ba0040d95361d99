"""OpenAI's Responses format: input items as chat messages, answers as output items, and the events of a stream.

Pure functions. Not here: HTTP (`responses`), checking a request (`responses_schemas`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seal_memory.answering.answerer import Answer

Item = dict[str, Any]


def messages_of(items: str | Sequence[Mapping[str, Any]], instructions: str | None) -> list[Item]:
    """The input as chat messages. Raises ValueError for an item that a chat cannot hold."""
    messages: list[Item] = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(items, str):
        return [*messages, {"role": "user", "content": items}]
    for place, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": item.get("role", "user"), "content": item.get("content")})
        elif kind == "function_call":
            _assistant(messages).setdefault("tool_calls", []).append(_chat_call(item))
        elif kind == "function_call_output":
            messages.append(
                {"role": "tool", "tool_call_id": item.get("call_id", ""), "content": item.get("output", "")}
            )
        elif kind != "reasoning":
            raise ValueError(f"item {place} is of type {kind!r}; expected a message, a function_call or its output")
    return messages


def _assistant(messages: list[Item]) -> Item:
    """The assistant's last message, to which calls belong; a new one where another spoke last."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    return messages[-1]


def _chat_call(item: Mapping[str, Any]) -> Item:
    function = {"name": item.get("name", ""), "arguments": item.get("arguments", "{}")}
    return {"id": item.get("call_id", ""), "type": "function", "function": function}


def output_of(answer: Answer, message_id: str) -> list[Item]:
    """The output items of an answer: its text, where there is some, and its calls."""
    items = [_message(message_id, answer.text)] if answer.text or not answer.tool_calls else []
    return items + [_call(call.id, call.name, call.arguments) for call in answer.tool_calls]


def usage_of(answer: Answer) -> Item:
    return {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.generated_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.prompt_tokens + answer.generated_tokens,
    }


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


# -- events of a stream ---------------------------------------------------------------------------


def text_start(message_id: str) -> Iterator[Item]:
    """The events before the first piece of a text."""
    yield {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {**_message(message_id, ""), "status": "in_progress", "content": []},
    }
    yield {"type": "response.content_part.added", **_at(message_id), "part": _part("")}


def text_piece(message_id: str, piece: str) -> Item:
    return {"type": "response.output_text.delta", **_at(message_id), "delta": piece, "logprobs": []}


def ends(items: Sequence[Item]) -> Iterator[Item]:
    """The events that end a text, and those of the calls."""
    for index, item in enumerate(items):
        if item["type"] == "message":
            part = item["content"][0]
            yield {"type": "response.output_text.done", **_at(item["id"]), "text": part["text"], "logprobs": []}
            yield {"type": "response.content_part.done", **_at(item["id"]), "part": part}
        else:
            at = {"item_id": item["id"], "output_index": index}
            started = {**item, "status": "in_progress", "arguments": ""}
            yield {"type": "response.output_item.added", "output_index": index, "item": started}
            yield {"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]}
            done = {"name": item["name"], "arguments": item["arguments"]}
            yield {"type": "response.function_call_arguments.done", **at, **done}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _at(message_id: str) -> Item:
    return {"item_id": message_id, "output_index": 0, "content_index": 0}


def _part(text: str) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(message_id: str, text: str) -> Item:
    part = _part(text)
    return {"id": message_id, "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def _call(call_id: str, name: str, arguments: str) -> Item:
    named = {"call_id": call_id, "name": name, "arguments": arguments}
    return {"id": new_id("fc"), "type": "function_call", "status": "completed", **named}
