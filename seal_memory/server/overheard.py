"""Reading an OpenAI-compatible answer while it is relayed: the text of each choice, whole or from a stream's events.

What cannot be read is passed over: the answer is another server's, and its bytes go on as they are. Not here: relaying
(`relay`), recording.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LONGEST_EVENT = 4 << 20  # bytes of one event that are kept to be read


class StreamedAnswer:
    """The answer in a stream of server-sent events, fed in pieces of any size."""

    def __init__(self) -> None:
        self._texts: dict[int, list[str]] = {}
        self._line, self._data = b"", list[bytes]()
        self.is_done = False  # [DONE] was there

    @property
    def texts(self) -> list[str]:
        """The text of each choice so far, in the order of the choices."""
        return ["".join(self._texts[n]) for n in sorted(self._texts)]

    def feed(self, piece: bytes) -> None:
        *lines, rest = (self._line + piece).split(b"\n")
        for line in lines:
            self._take(line.removesuffix(b"\r"))
        self._line = rest[:LONGEST_EVENT]

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self.is_done = self.is_done or self._data == [b"[DONE]"]
        elif not line:
            event, self._data = b"\n".join(self._data), []
            for number, text in _texts_of(event):
                self._texts.setdefault(number, []).append(text)


def texts_of(body: bytes) -> list[str]:
    """The text of each choice in a whole answer's body; empty where it is none."""
    return [text for _, text in sorted(_texts_of(body))]


def _texts_of(body: bytes) -> list[tuple[int, str]]:
    """Index and text of each choice of a JSON object; "" for a choice without text, such as a tool call."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return []
    choices = found.get("choices") if isinstance(found, dict) else None
    listed = [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
    return [(_index(choice, place), _text(choice)) for place, choice in enumerate(listed)]


def _index(choice: Mapping[str, Any], place: int) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else place


def _text(choice: Mapping[str, Any]) -> str:
    """A choice's text: of a chat's message or its next piece, or of a plain completion."""
    said = choice.get("message") or choice.get("delta")
    content = said.get("content") if isinstance(said, dict) else choice.get("text")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
