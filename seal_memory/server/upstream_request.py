"""A request for the upstream: the client's own bytes, unless the memory has something to change in them.

Read are only the fields `model`, `messages`, `prompt` and the memory's own, `seal_memory`; every other goes on as it
came. Pure functions. Not here: sending (`upstream`), checking what the upstream can do: it says so itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from seal_memory import prompts
from seal_memory.server.errors import ApiError
from seal_memory.server.request_fields import check_depth
from seal_memory.server.schemas import MemoryOptions

OWN_FIELD = "seal_memory"
_HEADS = ("system", "developer")


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A client's request: its bytes, its fields, and the memory's options among them."""

    raw: bytes
    fields: Mapping[str, Any]
    options: MemoryOptions

    @property
    def model(self) -> str | None:
        """The model that the client names, if any."""
        named = self.fields.get("model")
        return named if isinstance(named, str) else None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages that are JSON objects; whether the others can be used, the upstream says."""
        said = self.fields.get("messages")
        return [m for m in said if isinstance(m, dict)] if isinstance(said, list) else []

    @property
    def prompts(self) -> list[str]:
        """The texts that a plain completion continues."""
        found = self.fields.get("prompt")
        texts = found if isinstance(found, list) else [found]
        return [t for t in texts if isinstance(t, str) and t.strip()]

    def body(self, model: str, notes: Sequence[str] = ()) -> bytes:
        """The bytes for the upstream: with its model's name and the notes, without the memory's own field."""
        changed: dict[str, Any] = {"model": model}
        if notes and self.messages:
            changed["messages"] = with_notes(self.fields["messages"], notes)
        if OWN_FIELD not in self.fields and all(self.fields.get(name) == value for name, value in changed.items()):
            return self.raw
        kept = {name: value for name, value in self.fields.items() if name != OWN_FIELD}
        return json.dumps({**kept, **changed}, allow_nan=False, separators=(",", ":")).encode()


def parse_request(raw: bytes) -> UpstreamRequest:
    """Parse a client's request. Raises `ApiError` (400) for one that is no JSON object, or has a field twice."""
    try:
        fields = json.loads(
            raw, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_once
        )  # a field that is there twice could be read otherwise by the upstream than it was checked here
        check_depth(fields)
    except RecursionError:
        raise _unreadable("it is nested too deeply") from None
    except ValueError as error:
        raise _unreadable(str(error)) from None
    if not isinstance(fields, dict):
        raise _unreadable("expected an object")
    try:
        options = MemoryOptions.model_validate(fields.get(OWN_FIELD) or {})
    except ValidationError as error:
        (first, *_) = error.errors()
        place = ".".join([OWN_FIELD, *(str(part) for part in first["loc"])])
        raise ApiError(400, "invalid_request", f"{place}: {first['msg']}", param=place) from None
    return UpstreamRequest(raw, fields, options)


def with_notes(messages: Sequence[Any], notes: Sequence[str]) -> list[Any]:
    """The messages with the notes at the end of the leading system message, or as one of their own in front.

    Only there every chat template takes them: many refuse a system message further down, or a second one.
    """
    note, first = prompts.remembered(notes), messages[0]
    if isinstance(first, dict) and first.get("role") in _HEADS:
        content = first.get("content")
        if isinstance(content, str):
            return [{**first, "content": f"{content}\n\n{note}" if content.strip() else note}, *messages[1:]]
        if isinstance(content, list):
            return [{**first, "content": [*content, {"type": "text", "text": note}]}, *messages[1:]]
    return [{"role": "system", "content": note}, *messages]


def _unreadable(why: str) -> ApiError:
    return ApiError(400, "invalid_request", f"The body is not a JSON object of a request: {why}.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is there twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
