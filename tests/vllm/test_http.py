"""The HTTP client: every trouble becomes one of our errors, quickly, and only what is safe is repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from seal_memory.engines.vllm.http import UnknownModelError, VllmServer, base_url
from seal_memory.errors import AdapterError, EngineUnavailableError, InputError

BODY = {"model": "the-base", "prompt": [5, 6], "max_tokens": 2, "temperature": 0.0, "logprobs": 0}


@pytest.fixture
def server(fake: Any) -> Iterator[VllmServer]:
    with closing(VllmServer(fake.url, timeout=30.0)) as made:
        yield made


def _failing(fake: Any, path: str, times: int, trouble: Callable[[], None]) -> list[int]:
    """Make the next requests to a path fail; the list counts them."""
    seen: list[int] = []

    def before(asked: str, body: dict[str, Any]) -> None:
        if asked == path:
            seen.append(1)
            if len(seen) <= times:
                trouble()

    fake.before = before
    return seen


def test_an_address_is_an_address() -> None:
    assert base_url("http://here:8000/v1/") == base_url("http://here:8000") == "http://here:8000"
    for bad in ("", "here:8000", "ftp://here", "http://"):
        with pytest.raises(InputError, match="expected one such as"):
            base_url(bad)


def test_what_is_served(server: VllmServer, fake: Any) -> None:
    served = server.served()
    assert (served.base, served.max_length, served.adapters) == ("the-base", 2048, ())
    assert server.max_loras() is None
    server.complete(BODY)
    assert server.max_loras() == fake.max_loras
    assert server.healthy()


def test_a_server_that_is_gone_is_told_at_once_and_not_asked_again_for_a_while() -> None:
    """The second caller does not wait; after the pause the server is tried again."""
    now = [0.0]
    start = time.monotonic()
    with closing(VllmServer("http://127.0.0.1:9", clock=lambda: now[0], pause=2.0)) as server:
        with pytest.raises(EngineUnavailableError, match=r"start it, or check the setting engine\.url"):
            server.complete(BODY)
        with pytest.raises(EngineUnavailableError, match=r"next attempt in 2\.0 s"):
            list(server.stream(BODY))
        assert time.monotonic() - start < 5
        now[0] = 2.1
        with pytest.raises(EngineUnavailableError, match="does not answer"):
            server.complete(BODY)
        assert not server.healthy()


@pytest.mark.parametrize("streamed", [False, True])
def test_what_broke_off_is_repeated(server: VllmServer, fake: Any, fake_module: Any, streamed: bool) -> None:
    """Three times at most: a completion changes nothing."""

    def trouble() -> None:
        raise fake_module.Refusal(500, "EngineCore encountered an issue")

    def ask() -> Any:
        return list(server.stream(BODY)) if streamed else server.complete(BODY)

    seen = _failing(fake, "/v1/completions", 2, trouble)
    assert ask()
    assert len(seen) == 3
    seen = _failing(fake, "/v1/completions", 9, trouble)
    with pytest.raises(EngineUnavailableError, match="failed internally"):
        ask()
    assert len(seen) == 3


def test_a_dropped_connection_is_repeated(server: VllmServer, fake: Any) -> None:
    """A server that closes instead of answering, as a killed one does."""

    def trouble() -> None:
        raise ConnectionResetError

    seen = _failing(fake, "/v1/completions", 1, trouble)
    assert server.complete(BODY)
    assert len(seen) == 2


def test_a_stream_that_ends_in_the_middle_is_an_error(server: VllmServer, fake: Any) -> None:
    """What was told cannot be taken back, so it is not repeated."""
    fake.tokens_seconds = 0.2
    pieces = server.stream({**BODY, "max_tokens": 50})
    next(pieces)
    fake.stop()
    with pytest.raises(EngineUnavailableError):
        list(pieces)


def test_a_name_that_is_not_there_is_its_own_error(server: VllmServer) -> None:
    """For a completion and a stream; nothing is repeated."""
    with pytest.raises(UnknownModelError, match="does not exist"):
        server.complete({**BODY, "model": "a-none"})
    with pytest.raises(UnknownModelError):
        list(server.stream({**BODY, "model": "a-none"}))


def test_what_the_server_refuses_is_input(server: VllmServer) -> None:
    with pytest.raises(InputError, match="maximum context"):
        server.complete({**BODY, "max_tokens": 5000})


def test_loading_is_done_when_it_is_loaded(server: VllmServer, fake: Any, fake_module: Any) -> None:
    """Loaded already is fine, and so is unloading what is not there; what it refuses is an adapter's error."""
    fake.loaded["a-1"] = "somewhere"
    server.load("a-1", "somewhere")
    server.unload("a-1")
    server.unload("a-1")
    with pytest.raises(AdapterError, match=r"engine\.folder"):
        server.load("a-2", "/no/such/folder")

    def missing() -> None:
        raise fake_module.Refusal(404, "Not Found")

    _failing(fake, "/v1/load_lora_adapter", 1, missing)
    with pytest.raises(AdapterError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        server.load("a-3", "somewhere")


def test_a_key_is_sent_and_a_wrong_one_told(fake: Any) -> None:
    fake.key = "secret"
    with closing(VllmServer(fake.url, key="secret")) as server:
        assert server.served().base == "the-base"
    with (
        closing(VllmServer(fake.url)) as server,
        pytest.raises(EngineUnavailableError, match="SEAL_MEMORY_ENGINE_KEY"),
    ):
        server.served()


def test_what_is_no_vllm_server_is_told(server: VllmServer, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in ("<html>", "[]", '{"data": []}'):
        monkeypatch.setattr(fake, "models", lambda answer=answer: answer)
        with pytest.raises(EngineUnavailableError, match="vLLM server"):
            server.served()
