"""What a request may ask for: honoured, or refused by the parameter's name with the way out; never dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory.server.app import public_name

Site = Any  # conftest's
ASKED: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Who built it?"}], "max_tokens": 6}
PLAIN: dict[str, Any] = {"model": "tiny", "prompt": "The lighthouse", "max_tokens": 6}
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
JSON = {"Content-Type": "application/json"}


def _error(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 400, answer.text
    found: dict[str, Any] = answer.json()["error"]
    return found


# -- refused by name ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("functions", [{"name": "f"}]),
        ("function_call", {"name": "f"}),
        ("min_p", 0.1),
        ("repetition_penalty", 1.1),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy"}),
        ("frequency_penalty", 0.5),
        ("logit_bias", {"5": 1}),
        ("grammar", "root ::= 'a'"),
        ("guided_json", {"type": "object"}),
        ("stop", list("abcdefgh")),
        ("stop", 5),
        ("stop", [""]),
        ("max_tokens", 0),
        ("max_tokens", -2),
        ("max_completion_tokens", 0),
        ("top_k", -2),
        ("top_logprobs", 2),
        ("tool_choice", "required"),
        ("web_search_options", {}),  # what switches it on
        ("echo", True),
        ("prompt", "Who built it?"),
        ("system", "Answer in French."),
        ("stop_sequences", ["a"]),
        ("reasoning_effort", "high"),
        ("chat_template_kwargs", {"enable_thinking": False}),
        ("max_new_tokens", 5),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(site: Site, field: str, value: Any) -> None:
    error = _error(site.post(CHAT, {**ASKED, field: value}, namespace="by-name"))
    assert error["param"] == field
    assert error["message"].startswith(f"{field}: ")
    assert "Value error" not in error["message"]
    assert site.texts("by-name") == []


@pytest.mark.parametrize(("field", "value"), [("echo", True), ("suffix", "."), ("best_of", 2), ("messages", ["x"])])
def test_what_a_completion_does_not_honour_is_refused_by_name(site: Site, field: str, value: Any) -> None:
    assert _error(site.post(TEXT, {**PLAIN, field: value}))["param"] == field


@pytest.mark.parametrize(
    "off",
    [
        {"min_p": 0, "repetition_penalty": 1.0, "frequency_penalty": 0.0, "logit_bias": {}, "modalities": ["text"]},
        {"functions": None, "function_call": "none", "audio": None, "top_logprobs": None, "stop": None},
        {"user": "ada", "metadata": {"a": "b"}, "store": False, "parallel_tool_calls": True},
        {"service_tier": "auto", "prompt_cache_key": "x", "echo": False, "suffix": None, "enable_thinking": False},
    ],
    ids=str,
)
def test_what_is_switched_off_or_changes_nothing_passes(site: Site, off: dict[str, Any]) -> None:
    assert site.post(CHAT, {**ASKED, **off}).status_code == 200


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "image", "source": {"type": "base64", "data": "AA"}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {}}]},
        {"type": "hologram"},
    ],
    ids=lambda part: part["type"],
)
@pytest.mark.parametrize("observe", [False, True])
def test_parts_that_are_not_text_are_refused_by_name(site: Site, part: dict[str, Any], observe: bool) -> None:
    """A model that cannot see must not answer as if it had."""
    messages = [*ASKED["messages"], {"role": "user", "content": [{"type": "text", "text": "And this?"}, part]}]
    body = {**ASKED, "messages": messages, "seal_memory": {"observe": observe}}
    error = _error(site.post(CHAT, body, namespace="parts"))
    assert error["param"].startswith("messages.")
    kind = part["content"][0]["type"] if "content" in part else part["type"]
    assert repr(kind) in error["message"]
    assert "text parts" in error["message"]
    assert site.texts("parts") == []


@pytest.mark.parametrize("field", ["images", "audio", "files", "attachments"])
def test_media_beside_the_content_is_refused_by_name(site: Site, field: str) -> None:
    turn = ASKED["messages"][0]
    error = _error(site.post(CHAT, {**ASKED, "messages": [{**turn, field: [{"id": "AA"}]}]}))
    assert error["param"] == f"messages.0.{field}"
    assert site.post(CHAT, {**ASKED, "messages": [{**turn, field: None}]}).status_code == 200


# -- honoured -----------------------------------------------------------------------------------------


def _chosen(site: Site, path: str, body: dict[str, Any], **options: Any) -> list[Any]:
    answer = site.http.post(path, json={**body, **options}, headers={"X-Seal-Memory-Observe": "false"})
    assert answer.status_code == 200, answer.text
    choices: list[Any] = answer.json()["choices"]
    return choices


def _text(site: Site, **options: Any) -> str:
    return str(_chosen(site, CHAT, ASKED, **options)[0]["message"]["content"])


def test_sampling_without_a_seed_is_fresh_each_time(site: Site) -> None:
    """A seed that is named repeats its answer; greedy needs none."""
    hot: dict[str, Any] = {"temperature": 2.0, "max_tokens": 12}
    assert len({_text(site, **hot) for _ in range(6)}) > 1
    assert len({_text(site, **hot, seed=5) for _ in range(3)}) == 1
    assert len({_text(site, **hot, seed=0) for _ in range(3)}) == 1
    assert len({_text(site, temperature=0.0) for _ in range(3)}) == 1
    drawn = [c["message"]["content"] for c in _chosen(site, CHAT, ASKED, **hot, n=4)]
    assert len(set(drawn)) > 1


def test_top_k_is_honoured(site: Site) -> None:
    """Drawing from one token is greedy; -1 and 0 draw from all."""
    greedy = _text(site, temperature=0.0, max_tokens=12)
    assert _text(site, temperature=2.0, top_k=1, max_tokens=12) == greedy
    for every in (0, -1):
        _text(site, temperature=1.0, top_k=every)


@pytest.mark.parametrize(("path", "body"), [(CHAT, ASKED), (TEXT, PLAIN)])
def test_max_completion_tokens_is_taken_wherever_max_tokens_is(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    """It goes before; -1 is no limit, so that the context ends the answer."""
    encoder = site.server.pool.engine.encoder
    monkeypatch.setattr(encoder, "max_length", 110)

    def answered(**options: Any) -> Any:
        return site.post(path, {**body, "max_tokens": None, **options}, namespace="limits").json()

    assert answered(max_completion_tokens=3)["usage"]["completion_tokens"] <= 3
    assert answered(max_completion_tokens=2, max_tokens=6)["usage"]["completion_tokens"] <= 2
    for name in ("max_tokens", "max_completion_tokens"):
        unlimited = answered(**{name: -1})
        ended = unlimited["choices"][0]["finish_reason"] == "stop"
        assert ended or unlimited["usage"]["total_tokens"] == encoder.max_length


def test_ask_takes_max_completion_tokens_too(site: Site) -> None:
    asked = {"question": "Who built it?", "mode": "weights"}
    one = site.post("/v1/memory/ask", {**asked, "max_completion_tokens": 1}).json()["answers"][0]
    assert one["generated_tokens"] == 1
    assert _error(site.post("/v1/memory/ask", {**asked, "question": 5}))["param"] == "question"


def test_plain_text_is_continued_exactly(site: Site) -> None:
    """`prompt + text` is what the model wrote, and `text_offset` counts in `text`: no space is stripped."""
    body = {**PLAIN, "temperature": 2.0, "top_k": 0, "seed": 1, "n": 8, "logprobs": 0, "max_tokens": 4}
    choices = [c for seed in range(3) for c in _chosen(site, TEXT, body, seed=seed)]
    whole = [
        c for c in choices if c["logprobs"] and "\N{REPLACEMENT CHARACTER}" not in "".join(c["logprobs"]["tokens"])
    ]
    for choice in whole:
        text, tokens, starts = choice["text"], choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]
        assert "".join(tokens) == text
        assert all(text[at:].startswith(token) for at, token in zip(starts, tokens, strict=True))
    assert any(c["text"] != c["text"].strip() for c in whole)
    streamed = [""] * 8
    for line in site.post(TEXT, {**body, "stream": True}).text.splitlines():
        for piece in json.loads(line[6:])["choices"] if line.startswith("data: {") else []:
            streamed[piece["index"]] += piece["text"]
    assert streamed == [c["text"] for c in choices[8:16]]


# -- models -------------------------------------------------------------------------------------------


def test_a_models_name_may_have_slashes_and_dots(make_site: Callable[..., Site], tmp_path: Path) -> None:
    site = make_site(tmp_path / "memory", name="my-org/Smol2.5-135M")
    assert site.get("/v1/models/my-org/Smol2.5-135M").json()["id"] == "my-org/Smol2.5-135M"
    assert site.get("/v1/models/my-org/other").status_code == 404
    folder, file = tmp_path / "Smol2.5-135M", tmp_path / "Smol2.5-135M.gguf"
    folder.mkdir()
    file.touch()
    assert public_name(str(folder)) == public_name(f"{folder}/") == public_name(str(file)) == "Smol2.5-135M"
    assert public_name("my-org/Smol2.5") == "my-org/Smol2.5"


# -- what cannot be read ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "text/plain"])
def test_a_missing_content_type_is_named(site: Site, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    error = _error(site.http.post(CHAT, content=json.dumps(ASKED).encode(), headers=headers))
    assert error["param"] == "Content-Type"
    assert "application/json" in error["message"]


def test_a_trailing_comma_is_named(site: Site) -> None:
    error = _error(site.http.post(CHAT, content=b'{"model": "tiny", }', headers=JSON))
    assert "trailing comma" in error["message"]
    assert "character 18" in error["message"]


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"model": "t\xff"}', b"", b"[1]", b"null"], ids=len)
def test_a_body_that_is_no_object_is_an_error_that_says_so(site: Site, body: bytes) -> None:
    assert len(_error(site.http.post(CHAT, content=body, headers=JSON))["message"]) > 10


@pytest.mark.parametrize("depth", [101, 900, 3000])
@pytest.mark.parametrize("path", ["/v1/memory/observe", CHAT])
def test_deep_nesting_is_refused(site: Site, path: str, depth: int) -> None:
    """It would end in a RecursionError where it is shown again."""
    deep = b"[" * depth + b"]" * depth
    bodies = {
        "/v1/memory/observe": b'{"text": "Ada came.", "metadata": {"a": %b}}' % deep,
        CHAT: json.dumps({**ASKED, "tools": [{"x": "DEEP"}]}).encode().replace(b'"DEEP"', deep),
    }
    assert "nested" in _error(site.http.post(path, content=bodies[path], headers=JSON))["message"]


@pytest.mark.parametrize(
    ("field", "value"), [("title", 5), ("session", 5), ("source", []), ("metadata", 5), ("time", 1e30), ("text", None)]
)
def test_a_value_of_another_type_is_named(site: Site, field: str, value: Any) -> None:
    assert _error(site.post("/v1/memory/observe", {"text": "Ada came.", field: value}))["param"] == field
