"""Parts that the request schemas share: the base class, token limits, stop strings, one text or several.

Not here: the schemas (`schemas`, `memory_schemas`), fields that are refused (`unsupported`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

MAX_TOKENS = 1 << 20
MAX_DEPTH = 100  # of nested lists and objects in a request
MAX_STOPS, MAX_STOP_LENGTH = 4, 200
MAX_PROMPTS = 8
MAX_QUESTIONS, MAX_QUESTION = 64, 20_000


def mapped_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with every text in it changed, keys too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {mapped_texts(key, change): mapped_texts(one, change) for key, one in value.items()}
    if isinstance(value, list):
        return [mapped_texts(one, change) for one in value]
    return value


def depth_of(value: Any) -> int:
    """How deep lists and objects are nested; 0 for a plain value. Without recursion."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def check_depth(value: Any) -> None:
    """Raises ValueError for a JSON value that is nested too deeply."""
    depth = depth_of(value)
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested {depth} levels deep; expected at most {MAX_DEPTH}")


def encodable(value: Any) -> Any:
    """The JSON value. Raises ValueError where a text in it cannot be encoded."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair; expected valid Unicode") from None
    return value


class Body(BaseModel):
    """Base of all requests; refuses text that UTF-8 cannot encode, and too deep nesting."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _encodable(cls, value: Any) -> Any:
        check_depth(value)
        return encodable(value)


def _no_limit(value: int | None) -> int | None:
    if value == 0:
        raise ValueError("0 tokens make no answer; expected 1 or more, or -1 for no limit")
    return value


# Tokens of an answer; -1: as many as the model's context holds, as LM Studio has it (`engines.base.NO_LIMIT`).
MaxTokens = Annotated[int | None, Field(ge=-1, le=MAX_TOKENS), AfterValidator(_no_limit)]


def _stops(value: Any) -> Any:
    """A tuple of stop strings; one message that names the limits instead of one for each type that it may have."""
    if value is None:
        return None
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or len(found) > MAX_STOPS or not all(isinstance(s, str) for s in found):
        got = len(found) if isinstance(found, list) else repr(type(found).__name__)
        raise ValueError(f"expected one stop string or a list of at most {MAX_STOPS}; got {got}")
    if any(not 1 <= len(s) <= MAX_STOP_LENGTH for s in found):
        raise ValueError(f"a stop string must have 1 to {MAX_STOP_LENGTH} characters")
    return tuple(found)


def _content(value: Any) -> Any:
    """A message's content; one message instead of one for each type that it may have."""
    parts_are_known = isinstance(value, list) and all(isinstance(part, dict) for part in value)
    if value is None or isinstance(value, str) or parts_are_known:
        return value
    raise ValueError("expected a text, a list of content parts, or null")


def _texts(value: Any, *, most: int, longest: int) -> Any:
    """A tuple of texts; one message instead of one for each type that it may have."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(s, str) for s in found):
        raise ValueError(f"expected a text or a list of 1 to {most} texts")
    if len(found) > most:
        raise ValueError(f"expected at most {most} texts, got {len(found)}; send the rest in another request")
    if any(len(s) > longest for s in found):
        raise ValueError(f"a text has more than {longest} characters; send less of it")
    return tuple(found)


def _several(text: dict[str, Any], most: int) -> WithJsonSchema:
    """The JSON schema of one text or a list of up to `most`."""
    several = {"type": "array", "items": text, "minItems": 1, "maxItems": most}
    return WithJsonSchema({"anyOf": [text, several]})


_ONE = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_LENGTH}
Stop = Annotated[
    tuple[str, ...] | None,
    BeforeValidator(_stops),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE, "maxItems": MAX_STOPS}, {"type": "null"}]}),
]
Content = Annotated[
    Any,
    BeforeValidator(_content),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}, {"type": "null"}]},
    ),
]
Prompts = Annotated[
    tuple[str, ...],
    BeforeValidator(partial(_texts, most=MAX_PROMPTS, longest=MAX_TOKENS)),
    _several({"type": "string"}, MAX_PROMPTS),
]
Questions = Annotated[
    tuple[str, ...],
    BeforeValidator(partial(_texts, most=MAX_QUESTIONS, longest=MAX_QUESTION)),
    _several({"type": "string", "minLength": 1, "maxLength": MAX_QUESTION}, MAX_QUESTIONS),
]
