"""What is read of an answer while it is relayed."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from seal_memory.server.overheard import StreamedAnswer, texts_of

_texts = st.lists(st.tuples(st.integers(0, 2), st.text(max_size=8)), max_size=8)


def _event(index: int, text: str) -> bytes:
    found = {"choices": [{"index": index, "delta": {"content": text}}]}
    return f"data: {json.dumps(found, ensure_ascii=False)}".encode("utf-8", "surrogatepass")


@given(texts=_texts, ends=st.sampled_from([b"\n", b"\r\n"]), data=st.data())
def test_a_stream_is_read_however_it_is_cut(texts: list[tuple[int, str]], ends: bytes, data: Any) -> None:
    """Cut anywhere, also inside a character; with comments and named events in between, as some servers send."""
    lines = [b": ping", b"", *(line for n, t in texts for line in (b"event: message", _event(n, t), b""))]
    body = ends.join([*lines, b"data: [DONE]", b"", b""])
    heard, rest = StreamedAnswer(), body
    while rest:
        assert not heard.is_done
        size = data.draw(st.integers(1, len(rest)))
        heard.feed(rest[:size])
        rest = rest[size:]
        if heard.is_done:
            break
    assert heard.is_done
    assert heard.texts == ["".join(t for n, t in texts if n == k) for k in sorted({n for n, _ in texts})]


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"data: ", b"\n\n", b"\r", b'{"choices":[{}]}', b"[[[["])))
def test_nothing_that_a_server_sends_fails(pieces: list[bytes]) -> None:
    heard = StreamedAnswer()
    for piece in pieces:
        heard.feed(piece)
        texts_of(piece)
    assert all(isinstance(text, str) for text in heard.texts)


def test_a_whole_answer_is_read_in_the_order_of_its_choices() -> None:
    said: list[Any] = [
        {"index": 1, "message": {"content": [{"type": "text", "text": "B"}, {"type": "image_url"}]}},
        {"index": 0, "message": {"content": "A"}},
        {"index": 2, "message": {"content": None, "tool_calls": []}},
        "junk",
    ]
    assert texts_of(json.dumps({"choices": said}).encode()) == ["A", "B", ""]
    assert texts_of(b'{"error": {"message": "no"}}') == texts_of(b"<html>") == texts_of(b"[" * 100_000) == []
