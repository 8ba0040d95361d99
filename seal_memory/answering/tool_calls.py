"""Parsing of tool calls in a model's text: Hermes' and Qwen's tags, Llama 3's JSON, and plain JSON.

A call is a JSON object with a name, and arguments under "arguments" or "parameters". Between `<tool_call>` and
`</tool_call>` it may have any name, so that an agent can tell the model that there is no such tool; JSON without tags
is a call only where all of the text is calls of offered tools: one object, a list, objects separated by ";", or any of
these in a code fence. What cannot be parsed stays text. Pure functions. Not here: forcing a call (`contract`).
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_BLOCK = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?(.*?)```", re.DOTALL)
_PYTHON_TAG = "<|python_tag|>"  # Llama 3's mark before a call
_JSON_STARTS = ("{", "[", "```", _PYTHON_TAG)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call: an id of its own, the tool's name, and its arguments as JSON text."""

    id: str
    name: str
    arguments: str


def new_call_id() -> str:
    """A fresh id in OpenAI's form."""
    return f"call_{uuid.uuid4().hex[:24]}"


def parse_calls(
    text: str, names: Collection[str], *, make_id: Callable[[], str] = new_call_id
) -> tuple[str, list[ToolCall]]:
    """The text around the calls, and the calls; `names` are those of the offered tools."""
    blocks = _BLOCK.findall(text)
    found = [_calls_in(block) for block in blocks]
    if blocks and all(found):
        content = _BLOCK.sub("", text).strip()
    else:
        found = [] if blocks else [_bare_calls(text, names)]
        content = "" if any(found) else text.strip()
    return content, [ToolCall(make_id(), name, arguments) for calls in found for name, arguments in calls]


def certain_text(text: str) -> str:
    """The part of an unfinished text that is content whatever follows: no call begins in it.

    It is always a beginning of the content that `parse_calls` finds in the finished text.
    """
    start = text.lstrip()
    if any(start.startswith(mark) or mark.startswith(start) for mark in _JSON_STARTS):
        return ""
    before, tag, _ = text.partition(_OPEN)
    held = 0 if tag else max((n for n in range(1, len(_OPEN)) if text.endswith(_OPEN[:n])), default=0)
    return before[: len(before) - held].strip()


def _bare_calls(text: str, names: Collection[str]) -> list[tuple[str, str]]:
    """The calls in a text that is nothing else; none where a name is not an offered tool's."""
    stripped = text.strip().removeprefix(_PYTHON_TAG).strip()
    fenced = _FENCE.fullmatch(stripped)
    calls = _calls_in(fenced[1] if fenced else stripped)
    return calls if all(name in names for name, _ in calls) else []


def _calls_in(text: str) -> list[tuple[str, str]]:
    """(name, arguments) of JSON values that are all calls: one, a list, or several separated by ';'; else none."""
    values = _json_values(text.strip())
    calls = [_call(one) for value in values for one in (value if isinstance(value, list) else [value])]
    known = [call for call in calls if call is not None]
    return known if len(known) == len(calls) else []


def _json_values(text: str) -> list[Any]:
    """The JSON values of a text, separated by white space or ';'; none where anything else stands in it."""
    decoder, values, at = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse), [], 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        values.append(value)
        rest = text[at:].lstrip(" \t\r\n;")
        at = len(text) - len(rest)
    return values


def _finite(number: str) -> float:
    """A number that can be written as JSON again: "1e999" is the greatest one, not infinity."""
    return max(-sys.float_info.max, min(float(number), sys.float_info.max))


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _call(value: Any) -> tuple[str, str] | None:
    """The name and the arguments of one call; arguments may be JSON in a string, or left out."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = next(iter(_json_values(arguments.strip())), None)
    return (value["name"], json.dumps(arguments, ensure_ascii=False)) if isinstance(arguments, dict) else None
