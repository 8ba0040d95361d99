"""Tools in prompts: which form of call a chat template teaches, and tools for templates that have no place for them.

Such a template gets the tools described in the system turn, in Hermes' form; earlier calls and results become text.
Pure functions. Not here: parsing what the model answers (`answering.tool_calls`), rendering (`encoding`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from seal_memory import prompts
from seal_memory.engines.base import Messages


class CallForm(StrEnum):
    """How a model writes a call: between Hermes' tags, as Llama 3's JSON, or as plain JSON with "arguments"."""

    HERMES = "hermes"
    LLAMA = "llama"
    JSON = "json"

    @property
    def opening(self) -> str:
        """What stands before the JSON of a call."""
        return "<tool_call>\n" if self is CallForm.HERMES else ""

    @property
    def arguments_key(self) -> str:
        """The key of a call's arguments."""
        return "parameters" if self is CallForm.LLAMA else "arguments"


def form_of(template: str, *, shows_tools: bool) -> CallForm:
    """The form that a chat template teaches; Hermes' where the template shows no tools, as they are described here."""
    if not shows_tools or "<tool_call>" in template:
        return CallForm.HERMES
    is_llama = '"parameters"' in template and ("ipython" in template or "python_tag" in template)
    return CallForm.LLAMA if is_llama else CallForm.JSON


def with_calls_parsed(messages: Messages) -> list[dict[str, Any]]:
    """The messages with the arguments of earlier calls as mappings, which templates write as JSON themselves."""
    return [
        {**m, "tool_calls": [_parsed_call(c) for c in m["tool_calls"]]} if m.get("tool_calls") else dict(m)
        for m in messages
    ]


def told_in_text(messages: Messages, tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages for a template without tools: they are described in the system turn, calls and results are text."""
    told = list(_told(messages))
    if not tools:
        return told
    described = prompts.describe_tools([json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools])
    if told and told[0]["role"] == "system":
        return [{**told[0], "content": f"{told[0]['content']}\n\n{described}".strip()}, *told[1:]]
    return [{"role": "system", "content": described}, *told]


def _told(messages: Messages) -> Iterator[dict[str, Any]]:
    """The messages without calls and tool turns; adjacent results share one user turn."""
    results: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            results.append(f"<tool_response>\n{message['content']}\n</tool_response>")
            continue
        if results:
            yield {"role": "user", "content": "\n".join(results)}
            results = []
        yield _with_calls_in_text(message)
    if results:
        yield {"role": "user", "content": "\n".join(results)}


def _with_calls_in_text(message: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in message.items() if key != "tool_calls"}
    calls = [_parsed_call(c)["function"] for c in message.get("tool_calls") or ()]
    written = [f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>" for call in calls]
    return {**kept, "content": "\n".join([text for text in (message["content"],) if text] + written)}


def _parsed_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """An OpenAI tool call with its arguments as a mapping; arguments that are no JSON object stay as they are."""
    function = call.get("function") or {}
    arguments = function.get("arguments")
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        value = arguments
    found = value if isinstance(value, dict) else (arguments or {})
    return {**call, "type": "function", "function": {"name": function.get("name", ""), "arguments": found}}
