"""The upstream: another OpenAI-compatible chat server that answers in this memory's place.

Its address and model, and requests to it over one pool of connections. Nothing is sent twice. Headers pass both ways
but for credentials, cookies and those of one connection; the upstream gets its own key, never a client's. Not here:
what is asked and remembered (`relay`), finding an upstream that runs on this machine (`cli.wrapping`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx

from seal_memory.errors import InputError
from seal_memory.server.errors import ApiError
from seal_memory.server.notes import NoteTaker

logger = logging.getLogger(__name__)

KEY_VARIABLE = "SEAL_MEMORY_UPSTREAM_KEY"
CONNECT_SECONDS = 5.0
SILENT_SECONDS = 600.0  # without a byte: a large model on a CPU reads a long prompt for minutes before its first
IDLE_SECONDS = 3.0  # a kept connection's; llama.cpp and uvicorn close theirs after 5

_OF_ONE_CONNECTION = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "content-length",
}  # fmt: skip
_KEPT_FROM_UPSTREAM = _OF_ONE_CONNECTION | {
    "accept-encoding", "api-key", "authorization", "cookie", "expect", "forwarded", "host", "origin", "referer",
    "x-api-key", "x-real-ip",
}  # fmt: skip
_KEPT_FROM_CLIENT = _OF_ONE_CONNECTION | {
    "alt-svc", "content-encoding", "date", "server", "set-cookie", "strict-transport-security", "x-request-id",
}  # fmt: skip
_PREFIXES_KEPT_FROM_UPSTREAM = ("x-seal-memory-", "x-forwarded-", "sec-")
UPSTREAM_ID_HEADER = b"x-upstream-request-id"  # its x-request-id; that name is this server's own


@dataclass(frozen=True, slots=True)
class Upstream:
    """An upstream's address, such as http://localhost:11434/v1, its model's name there, and its key."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)

    @classmethod
    def make(cls, url: str, model: str, key: str | None = None) -> Upstream:
        """An upstream by what a person writes: an address without a path gets /v1.

        Raises `InputError` for an address that is none, or an empty name.
        """
        parts = _parts(url)
        if parts is None:
            shown = url.rpartition("@")[2]  # without a password that stands in it
            raise InputError(
                f"The upstream's address is {shown!r}; expected one such as http://localhost:11434/v1, its key in the "
                f"environment variable {KEY_VARIABLE}."
            )
        if not model.strip():
            raise InputError("The upstream's model has no name; expected one that its /v1/models lists.")
        path = parts.path.rstrip("/")
        return cls(f"{parts.scheme}://{parts.netloc}{path or '/v1'}", model, key or None)

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine by its address: requests to it go through no proxy."""
        return (urlsplit(self.url).hostname or "") in ("localhost", "127.0.0.1", "::1")

    def is_at(self, port: int) -> bool:
        """Whether it is that port of this machine."""
        return self.is_here and urlsplit(self.url).port == port


class UpstreamServer:
    """One upstream, the connections to it, the memory's notes for it, and what goes on after a response has ended."""

    def __init__(self, upstream: Upstream, notes: NoteTaker) -> None:
        self.upstream, self.notes = upstream, notes
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=IDLE_SECONDS),  # bounded by the request slots
            follow_redirects=False,
            trust_env=not upstream.is_here,
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, path: str, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> httpx.Response:
        """Post the body; returns once the head of the response is there. Raises `httpx.HTTPError`."""
        kept = [pair for pair in headers if _goes_up(pair[0].decode("latin-1").lower())]
        kept.append((b"accept-encoding", b"identity"))
        if self.upstream.key is not None:
            kept.append((b"authorization", f"Bearer {self.upstream.key}".encode()))
        request = self._http.build_request("POST", f"{self.upstream.url}{path}", content=body, headers=kept)
        return await self._http.send(request, stream=True)

    def refusal(self, error: httpx.HTTPError) -> ApiError:
        """The error that a client gets when the upstream cannot be asked or breaks off. The log names the address."""
        kind = type(error).__name__
        logger.error("the upstream %s cannot be used: %s", self.upstream.url, kind)
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            told = (
                f"The chat server behind this memory said nothing for {SILENT_SECONDS:g} s ({kind}); try again later."
            )
            return ApiError(504, "upstream_timeout", told)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            told = "The chat server behind this memory cannot be reached"
        else:
            told = "The chat server behind this memory broke off the answer"
        return ApiError(502, "upstream_unavailable", f"{told} ({kind}); see that it runs where --upstream says.")

    def go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work that outlives its response, to its end also when the server stops."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Finish what goes on, then close all connections."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()
        await asyncio.to_thread(self.notes.close)


def _parts(url: str) -> SplitResult | None:
    """The parts of an address that can be an upstream's; None for another, also one with a user's name in it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises where it is none)
    except ValueError:
        return None
    odd = parts.query or parts.fragment or parts.username is not None
    return parts if parts.scheme in ("http", "https") and parts.hostname and not odd else None


def relayed_headers(response: httpx.Response) -> list[tuple[bytes, bytes]]:
    """The upstream's headers for the client."""
    found = []
    for name, value in response.headers.raw:
        lower = name.decode("latin-1").lower()
        if lower == "x-request-id":
            found.append((UPSTREAM_ID_HEADER, value))
        elif lower not in _KEPT_FROM_CLIENT and not lower.startswith("access-control-"):
            found.append((name.lower(), value))
    return found


def _goes_up(name: str) -> bool:
    return name not in _KEPT_FROM_UPSTREAM and not name.startswith(_PREFIXES_KEPT_FROM_UPSTREAM)
