"""HTTP client of a vLLM server; maps its errors to this library's.

Requests that are safe to repeat are retried after a broken connection (a completion changes nothing on the server;
loading a loaded adapter, or unloading an absent one, counts as done). After a failed connection every request fails at
once for `PAUSE` seconds. Not here: which adapters are loaded (`slots`), the meaning of requests and answers (`engine`),
starting a server (`launcher`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from seal_memory.errors import AdapterError, EngineUnavailableError, InputError

CONNECT_SECONDS = 2.0
HEALTH_SECONDS = 5.0
PAUSE = 2.0  # seconds without another attempt after a failed connection
ATTEMPTS = 3  # of a request that broke off
MAX_CONNECTIONS = 64
_MAX_LORAS = re.compile(r'^vllm:lora_requests_info\{[^}]*max_lora="(\d+)"', re.MULTILINE)


class UnknownModelError(EngineUnavailableError):
    """The server does not know a model's name: it was restarted, or another client unloaded the adapter."""


class _TransientError(EngineUnavailableError):
    """The server broke off, or failed internally: the same request may succeed."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A server's base model (name, folder, context in tokens) and the names of its adapters."""

    base: str
    root: str
    max_length: int | None
    adapters: tuple[str, ...]


class VllmServer:
    """One server by its address, such as http://localhost:8000; threads may share it."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
        pause: float = PAUSE,
    ) -> None:
        """`timeout`: seconds without any byte until a request fails. Raises `InputError` for a bad address."""
        self.url = base_url(url)
        self._clock, self._pause, self._paused_until = clock, pause, -1.0
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
            trust_env=False,
        )
        self._retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=1.0),
            retry=retry_if_exception_type(_TransientError),
            reraise=True,
        )

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    # -- verbs ------------------------------------------------------------------------------------

    def served(self) -> ServedModel:
        """The server's models now. Raises `EngineUnavailableError`, also where it is no vLLM server."""
        data = self._json("GET", "/v1/models").get("data")
        models = [m for m in data if isinstance(m, dict) and m.get("id")] if isinstance(data, list) else []
        bases = [m for m in models if not m.get("parent")]
        if not bases:
            raise EngineUnavailableError(f"{self.url}/v1/models names no base model; is a vLLM server there?")
        length = bases[0].get("max_model_len")
        adapters = tuple(str(m["id"]) for m in models if m.get("parent"))
        root = str(bases[0].get("root") or "")
        return ServedModel(str(bases[0]["id"]), root, int(length) if length else None, adapters)

    def healthy(self) -> bool:
        """Whether the server answers and its engine is alive."""
        try:
            return self._retrying(self._send, "GET", "/health", timeout=HEALTH_SECONDS).is_success
        except EngineUnavailableError:
            return False

    def max_loras(self) -> int | None:
        """The server's --max-loras, from its metrics; None before it has computed anything, or where they lack it."""
        found = _MAX_LORAS.search(self._retrying(self._send, "GET", "/metrics").text)
        return int(found[1]) if found else None

    def load(self, name: str, path: str) -> None:
        """Load the adapter in a folder that the server sees; no error if already loaded. Raises `AdapterError`."""
        answer = self._retrying(self._send, "POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
        message = _message(answer)
        if answer.is_success or "already been loaded" in message:
            return
        if answer.status_code == 404 and "does not exist" not in message and name not in message:
            raise AdapterError(
                f"{self.url} has no /v1/load_lora_adapter: start vLLM with --enable-lora and the environment variable "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
            )
        if answer.status_code >= 500 and not self.healthy():
            raise EngineUnavailableError(f"{self.url} could not load {name} and is not healthy: {message}")
        raise AdapterError(
            f"{self.url} refuses the adapter {name} in {path}: {message}. It must see that folder "
            "(setting engine.folder), be allowed to read it, and allow its rank (--max-lora-rank)."
        )

    def unload(self, name: str) -> None:
        """Unload an adapter; no error if absent."""
        answer = self._retrying(self._send, "POST", "/v1/unload_lora_adapter", {"lora_name": name})
        if not answer.is_success and answer.status_code not in (400, 404):
            raise EngineUnavailableError(f"{self.url} could not unload {name}: {_message(answer)}")

    def tokenize(self, model: str, text: str) -> list[int]:
        """The server's own tokens of a text, without special tokens."""
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        return [int(i) for i in self._json("POST", "/tokenize", body).get("tokens") or []]

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The one choice of a completion. Raises `UnknownModelError`, `InputError` for a refused request."""
        return _choice(self._json("POST", "/v1/completions", body))

    def stream(self, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """As `complete`, piece by piece; retried only before the first piece. Close it to end the request."""
        started = False

        def begun() -> tuple[Iterator[dict[str, Any]], dict[str, Any] | None]:
            pieces = self._pieces({**body, "stream": True})
            return pieces, next(pieces, None)

        pieces, first = self._retrying(begun)
        with closing(pieces):  # type: ignore[type-var]  # it is a generator
            while first is not None:
                started = True
                yield first
                first = next(pieces, None)
        if not started:
            raise EngineUnavailableError(f"{self.url} ended a stream before it began.")

    def _pieces(self, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        self._check_pause()
        ended = False
        try:
            with self._http.stream("POST", "/v1/completions", json=body) as answer:
                if not answer.is_success:
                    answer.read()
                self._check(answer)
                for line in answer.iter_lines():
                    if line == "data: [DONE]":
                        ended = True
                    elif line.startswith("data:"):
                        yield _choice(_object(line[5:]))
        except httpx.TransportError as error:
            raise self._connection_error(error) from error
        if not ended:
            raise _TransientError(f"{self.url} ended a stream in the middle.")

    # -- underneath -------------------------------------------------------------------------------

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        def once() -> dict[str, Any]:
            answer = self._send(method, path, body)
            self._check(answer)
            return _object(answer.text)

        return self._retrying(once)

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> httpx.Response:
        """The response, whatever its status. Raises `EngineUnavailableError` where there is none."""
        self._check_pause()
        wait = httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout, connect=CONNECT_SECONDS)
        try:
            answer = self._http.request(method, path, json=body, timeout=wait)
        except httpx.TransportError as error:
            raise self._connection_error(error) from error
        self._paused_until = -1.0
        return answer

    def _check_pause(self) -> None:
        left = self._paused_until - self._clock()
        if left > 0:
            raise EngineUnavailableError(
                f"The vLLM server at {self.url} did not answer a moment ago; next attempt in {left:.1f} s."
            )

    def _connection_error(self, error: httpx.TransportError) -> EngineUnavailableError:
        """The error to raise; a failed connection also pauses all requests, a broken one does not."""
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            self._paused_until = self._clock() + self._pause
            return EngineUnavailableError(
                f"The vLLM server at {self.url} does not answer ({error}): start it, or check the setting engine.url."
            )
        if isinstance(error, httpx.TimeoutException):
            return EngineUnavailableError(f"The vLLM server at {self.url} took too long ({type(error).__name__}).")
        return _TransientError(f"The vLLM server at {self.url} broke off: {type(error).__name__}.")

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        message = _message(answer)
        if answer.status_code == 404:
            raise UnknownModelError(f"{self.url}: {message}")
        if answer.status_code in (401, 403):
            raise EngineUnavailableError(f"{self.url} wants another key: set SEAL_MEMORY_ENGINE_KEY.")
        if answer.status_code < 500:
            raise InputError(f"The vLLM server refuses the request: {message}")
        raise _TransientError(f"{self.url} failed internally ({answer.status_code}): {message}")


def base_url(url: str) -> str:
    """The address without a trailing /v1. Raises `InputError` for an invalid one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"The vLLM server's address is {url!r}; expected one such as http://localhost:8000")
    return url.rstrip("/").removesuffix("/v1")


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise EngineUnavailableError("The server's answer is no JSON; is it a vLLM server?") from error
    if not isinstance(found, dict):
        raise EngineUnavailableError("The server's answer is no JSON object; is it a vLLM server?")
    return found


def _choice(found: Mapping[str, Any]) -> dict[str, Any]:
    """The one choice of an answer. Inside a stream, an error may come instead."""
    if found.get("error"):
        raise _TransientError("The vLLM server ended an answer with an error.")
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise EngineUnavailableError("The server's answer has no choices; is it a vLLM server?")
    return choices[0]


def _message(answer: httpx.Response) -> str:
    """A refusal's message; vLLM does not repeat token-id prompts in it."""
    try:
        found = answer.json()
    except ValueError:
        return f"status {answer.status_code}"
    error = found.get("error", found) if isinstance(found, dict) else found
    message = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    return " ".join(str(message).split())[:500]
