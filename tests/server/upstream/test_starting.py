"""Starting a server with an upstream: `serve --upstream`, and `wrap`, which finds one on this machine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from seal_memory.cli import serving, wrapping
from seal_memory.cli.app import app
from seal_memory.cli.output import Output
from seal_memory.errors import InputError
from seal_memory.server.upstream import Upstream

Chat = Any  # conftest's FakeChat
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> list[serving.Serving]:
    """What would have been served; nothing is."""
    found: list[serving.Serving] = []

    def run(call: Any, options: serving.Serving) -> Output:
        found.append(options)
        return Output({}, lambda out: None)

    monkeypatch.setattr(serving, "run_server", run)
    monkeypatch.setattr(wrapping, "run_server", run)
    monkeypatch.setenv("SEAL_MEMORY_FOLDER", str(tmp_path / "memory"))
    return found


def _run(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return " ".join(result.output.replace("│", " ").split())


def _models(chat: Chat, *names: str, loaded: tuple[str, ...] = ()) -> None:
    """Let the chat server list these, as /v1/models and Ollama's /api/ps do."""
    listed = {"data": [{"id": name} for name in names], "models": [{"name": name} for name in loaded]}
    chat.sends([json.dumps(listed).encode()])


# -- addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8080", "http://localhost:8080/v1"),
        ("http://localhost:8080/", "http://localhost:8080/v1"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("https://example.com/openai/v2", "https://example.com/openai/v2"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
    ],
)
def test_an_address_is_taken_as_people_write_it(url: str, expected: str) -> None:
    assert Upstream.make(url, "m").url == expected


@pytest.mark.parametrize(
    "url",
    ["localhost:8080", "ftp://x/v1", "http://", "http://x:port", "http://[", "http://x/v1?key=1", "http://a:pw@x"],
)
def test_another_address_is_refused_without_telling_a_password(url: str) -> None:
    with pytest.raises(InputError, match="expected one such as") as told:
        Upstream.make(url, "m")
    assert "pw" not in str(told.value)


def test_a_key_is_not_shown() -> None:
    assert "sk-secret" not in repr(Upstream.make("http://x", "m", "sk-secret"))


# -- serve --------------------------------------------------------------------------------------------


def test_serve_takes_an_upstream_and_its_key_from_the_environment(
    started: list[serving.Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEAL_MEMORY_UPSTREAM_KEY", "sk-up")
    _run("serve", "--upstream", "https://api.example.com/v1", "--upstream-model", "big")
    (options,) = started
    assert options.upstream == Upstream("https://api.example.com/v1", "big", "sk-up")
    assert options.mode is None


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--upstream", "http://localhost:8080"], "needs --upstream-model NAME"),
        (["--upstream-model", "big"], "needs --upstream URL"),
        (["--upstream", "http://x", "--upstream-model", "m", "--mode", "retrieval"], "notes from the weights only"),
    ],
    ids=["no model", "no address", "mode"],
)
def test_options_that_do_not_go_together_are_refused(
    started: list[serving.Serving], args: list[str], problem: str
) -> None:
    assert problem in _run("serve", *args, code=2)
    assert started == []


def test_a_server_is_not_its_own_upstream() -> None:
    told = _run("serve", "--upstream", "http://localhost:8377", "--upstream-model", "m", code=2)
    assert "the upstream is this server itself" in told


# -- wrap ---------------------------------------------------------------------------------------------


def test_wrap_serves_the_one_that_runs_here(
    started: list[serving.Serving], chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    _models(chat, "qwen2.5:7b")
    monkeypatch.setattr(wrapping, "ADDRESSES", {"ollama": NOWHERE, "llamacpp": f"{chat.url}/v1"})
    assert f"llama.cpp at {chat.url}/v1 answers with qwen2.5:7b." in _run("wrap", "--port", "8500")
    assert (started[0].upstream, started[0].port) == (Upstream(f"{chat.url}/v1", "qwen2.5:7b"), 8500)


def test_wrap_takes_the_model_that_is_named_or_loaded(started: list[serving.Serving], chat: Chat) -> None:
    _models(chat, "a", "b", loaded=("b",))
    _run("wrap", "ollama", "--url", chat.url)
    _run("wrap", "ollama", "--url", chat.url, "--upstream-model", "c")
    assert [s.upstream.model for s in started if s.upstream] == ["b", "c"]


def test_wrap_says_what_to_do_where_it_cannot_choose(
    started: list[serving.Serving], chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    _models(chat, "a", "b", loaded=("a", "b"))
    assert "has 2 models: a, b; choose with --upstream-model NAME" in _run("wrap", "ollama", "--url", chat.url, code=1)
    _models(chat)
    assert "has no model; load one first" in _run("wrap", "llamacpp", "--url", chat.url, code=1)
    _models(chat, "a")
    monkeypatch.setattr(wrapping, "ADDRESSES", {"ollama": chat.url, "llamacpp": chat.url})
    assert "both run here; say which: seal-memory wrap ollama" in _run("wrap", code=1)
    chat.sends([b"<html>"], kind="text/html")
    told = _run("wrap", code=1)
    assert "No chat server answers" in told
    assert "Start one with `ollama serve`, or `llama-server -m MODEL.gguf`" in told
    assert "needs the server's kind" in _run("wrap", "--url", chat.url, code=2)
    assert started == []
