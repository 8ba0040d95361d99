"""Parsing of OpenAI-style messages and of roles by any of their usual names. Pure functions.

Not here: whether a message is learned (`admission`), and parts that are not text: images, audio and tool calls are
named, never kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seal_memory.errors import InputError
from seal_memory.records import Role

__all__ = ["TEXT_KEYS", "Message", "parse_message", "parse_role", "storable_name"]

_ALIASES = {
    "human": Role.USER,
    "ai": Role.ASSISTANT,
    "model": Role.ASSISTANT,
    "chatbot": Role.ASSISTANT,
    "developer": Role.SYSTEM,
    "function": Role.TOOL,
}
# Type of a content part -> the key that holds its text.
TEXT_KEYS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_KEPT_KEYS = ("name", "tool_call_id", "id")
_LONGEST_NAME = 1000  # characters


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its text, and the types of its parts that are not text (once each, in order)."""

    role: Role
    text: str
    skipped_parts: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def media_parts(self) -> list[str]:
        """Kinds of the skipped parts other than tool calls: images, audio, files."""
        return [part for part in self.skipped_parts if part != "tool_calls"]

    @property
    def recorded_metadata(self) -> dict[str, Any]:
        """The metadata, with the skipped parts' kinds as "skipped_parts" where there are some."""
        skipped = {"skipped_parts": list(self.skipped_parts)} if self.skipped_parts else {}
        return {**self.metadata, **skipped}


def parse_role(value: object) -> Role:
    """The role of a name in any case; also of 'human', 'ai', 'model', 'chatbot', 'developer' and 'function'.

    Raises InputError for anything else.
    """
    if isinstance(value, str):
        name = value.strip().lower()
        if name in _ALIASES:
            return _ALIASES[name]
        if name in set(Role):
            return Role(name)
    known = ", ".join([*Role, *_ALIASES])
    raise InputError(f"unknown role {_shown(value)}; known roles: {known}")


def parse_message(message: object, where: str) -> Message:
    """Parse an OpenAI message dict; every error message begins with `where`, such as "message 3".

    Content may be a string, a list of parts, or None. Raises InputError for no mapping, an
    unknown role, or content of another shape.
    """
    if not isinstance(message, Mapping):
        raise InputError(f"{where}: expected a mapping with 'role' and 'content', got {_kind(message)}")
    if "role" not in message:
        raise InputError(f"{where}: 'role' is missing; expected a mapping with 'role' and 'content'")
    try:
        role = parse_role(message["role"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    calls = bool(message.get("tool_calls") or message.get("function_call"))
    if "content" not in message and not calls:
        raise InputError(f"{where}: 'content' is missing; expected a string or a list of parts")
    texts, skipped = _parts(message.get("content"), where)
    if calls:
        skipped.append("tool_calls")
    kept = {key: storable_name(message[key]) for key in _KEPT_KEYS if isinstance(message.get(key), str)}
    return Message(role, "\n".join(texts), tuple(dict.fromkeys(skipped)), kept)


def storable_name(name: str) -> str:
    """A name that any ledger takes: halves of surrogate pairs as "\\ud800", the end of a long one as its hash."""
    written = name.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(written) <= _LONGEST_NAME:
        return written
    return f"{written[: _LONGEST_NAME - 17]}~{hashlib.sha256(written.encode()).hexdigest()[:16]}"


def _parts(content: object, where: str) -> tuple[list[str], list[str]]:
    """The texts in a message's content, and the types of the other parts."""
    if content is None:
        return [], []
    if isinstance(content, str):
        return [content], []
    if not isinstance(content, list | tuple):
        raise InputError(f"{where}: 'content' is {_kind(content)}; expected a string or a list of parts")
    texts: list[str] = []
    skipped: list[str] = []
    for number, part in enumerate(content):
        text, kind = _part(part, f"{where}, part {number}")
        if text is None:
            skipped.append(kind)
        else:
            texts.append(text)
    return texts, skipped


def _part(part: object, where: str) -> tuple[str | None, str]:
    if isinstance(part, str):
        return part, "text"
    if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
        raise InputError(f"{where}: expected a string or a mapping with a 'type', got {_kind(part)}")
    kind: str = part["type"]
    if kind not in TEXT_KEYS:
        return None, storable_name(kind)
    text = part.get(TEXT_KEYS[kind])
    if text is None:  # as a content that is null
        return "", kind
    if not isinstance(text, str):
        raise InputError(f"{where}: '{TEXT_KEYS[kind]}' is {_kind(text)}; expected a string")
    return text, kind


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _shown(value: object) -> str:
    plain = isinstance(value, str | bytes | int | float | None)  # what is nested too deeply has no repr
    shown = repr(value) if plain else _kind(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
