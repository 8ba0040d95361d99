"""Cleaning of text that cannot be recorded as it is: NUL and control characters, halves of characters, binary data.

For callers whose own work must go on whatever a tool or a model said: they record the cleaned text and count what was
changed or left out. Text that can be recorded is not changed. Explicit requests to remember a text
(`SealMemory.observe`) are refused instead. Pure functions.

Not here: checking a text (`intake.admission`), content parts of other kinds (`intake.blocks`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seal_memory.intake.messages import TEXT_KEYS
from seal_memory.language.text import is_binary_junk

__all__ = ["Cleaned", "clean_messages", "clean_text", "without_surrogates"]

_UNREADABLE = re.compile("[\x01-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd\ufff0-\ufff8]")  # all that counts as binary junk
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Cleaned:
    """Messages that can be recorded. `changed`, `skipped`: how many were cleaned, or left out as nothing readable.

    `replayed`: the first messages of them came with an earlier turn.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    changed: int = 0
    skipped: int = 0
    replayed: int = 0


def clean_text(text: str) -> str:
    """The text without what cannot be recorded; "" where nothing readable is left."""
    kept = without_surrogates(text).replace("\x00", "")
    if is_binary_junk(kept):
        kept = _UNREADABLE.sub("", kept)
    return kept if kept.strip() else ""


def without_surrogates(text: str) -> str:
    """The text with surrogate pairs joined and lone halves replaced by U+FFFD."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def clean_messages(messages: Sequence[Mapping[str, Any]], *, replayed: int = 0) -> Cleaned:
    """OpenAI message dicts that can be recorded, in order. Those without text are left out, and are not counted.

    Parts of content that are not text stay. The first `replayed` messages came with an earlier turn.
    """
    found = Cleaned()
    for number, message in enumerate(messages):
        before = _without_blanks(message.get("content"))
        if not before:
            continue
        content = _without_blanks(_cleaned(before))
        found.changed += bool(content) and content != before
        found.skipped += not content
        if content:
            found.messages.append({**message, "content": content})
            found.replayed += number < replayed
    return found


def _without_blanks(content: Any) -> Any:
    """Content without blank texts; "" or [] where nothing else is there."""
    if isinstance(content, list | tuple):
        return [part for part in content if _text_of(part) is None or str(_text_of(part)).strip()]
    return content if not isinstance(content, str) or content.strip() else ""


def _cleaned(content: Any) -> Any:
    if isinstance(content, str):
        return clean_text(content)
    if not isinstance(content, list):
        return content
    return [
        part if _text_of(part) is None else clean_text(part) if isinstance(part, str) else _cleaned_part(part)
        for part in content
    ]


def _cleaned_part(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: clean_text(value) if key in _TEXT_KEYS and isinstance(value, str) else value for key, value in part.items()
    }


_TEXT_KEYS = tuple(dict.fromkeys(TEXT_KEYS.values()))


def _text_of(part: Any) -> str | None:
    """A part's text, "" for one of text without any; None for a part of another kind."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        return None
    found = next((part[key] for key in _TEXT_KEYS if isinstance(part.get(key), str)), None)
    key = TEXT_KEYS.get(str(part.get("type")))
    return "" if found is None and key is not None and part.get(key) is None else found
