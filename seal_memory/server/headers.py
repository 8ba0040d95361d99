"""Text in request headers: the one place that decodes it. Not here: what the headers mean (`auth`, `chat`)."""

from __future__ import annotations

from pydantic import BeforeValidator


def decode_header(value: object) -> object:
    """A header's text: UTF-8 where its bytes are valid UTF-8, else Latin-1, as which ASGI hands it over."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


DECODED = BeforeValidator(decode_header)
