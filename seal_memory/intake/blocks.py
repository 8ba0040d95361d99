"""Content parts of chat messages: Anthropic's tool blocks as OpenAI messages, and the kinds that are not text.

A `tool_result` block becomes a message of role tool, a `tool_use` block a tool call, so that what a tool said is never
taken for a user's words. The thoughts of earlier turns are left out, as Anthropic's own API does. Pure functions.

Not here: reading a message (`intake.messages`), images and sounds themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["flatten_blocks", "unsupported_parts"]

_TEXT = frozenset({"text", "input_text", "output_text", "refusal"})
_BLOCKS = frozenset({"tool_result", "tool_use"})
_UNSAID = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})


def flatten_blocks(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with Anthropic's blocks as OpenAI messages; others stay as they are."""
    return [one for message in messages for one in _flattened(message)]


def unsupported_parts(message: Mapping[str, Any]) -> list[str]:
    """The kinds of a message's content parts that are not text, once each, in order ("image_url")."""
    found = (_kind(part) for part in _parts(message.get("content")))
    return list(dict.fromkeys(kind for kind in found if kind and kind not in _TEXT))


def _flattened(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    parts = _parts(message.get("content"))
    if not any(_kind(part) in _BLOCKS | _UNSAID for part in parts):
        yield dict(message)
        return
    yield from (_tool_message(part) for part in parts if _kind(part) == "tool_result")
    others = [part for part in parts if _kind(part) not in _BLOCKS | _UNSAID]
    calls = [_tool_call(part) for part in parts if _kind(part) == "tool_use"]
    if calls:
        yield {**message, "content": others, "tool_calls": [*(message.get("tool_calls") or []), *calls]}
    elif others or all(_kind(part) in _UNSAID for part in parts):
        yield {**message, "content": others}


def _tool_message(block: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "tool", "content": block.get("content") or ""}
    if isinstance(block.get("tool_use_id"), str):
        message["tool_call_id"] = block["tool_use_id"]
    return message


def _tool_call(block: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": str(block.get("name", "")), "arguments": json.dumps(block.get("input") or {})}
    return {"id": str(block.get("id", "")), "type": "function", "function": function}


def _parts(content: Any) -> Sequence[Any]:
    return content if isinstance(content, list | tuple) else ()


def _kind(part: Any) -> str | None:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return kind if isinstance(kind, str) else None
