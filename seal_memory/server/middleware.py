"""ASGI middleware of every request: request id, body limit, security headers, log line, metrics, unexpected errors.

Not here: known errors (`errors`), authentication (`auth`). Request text is never logged.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seal_memory.server.errors import body_of, unexpected
from seal_memory.server.metrics import Metrics
from seal_memory.server.state import Limits

logger = logging.getLogger("seal_memory.server.requests")

_DEFAULT_HEADERS = {  # unless the response sets its own: no sniffing, no referrer, no sharing, no cache
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
_TOO_LARGE = "The request body is larger than {} bytes; send less at once."


class RequestMiddleware:
    """The outermost layer of the app."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics, root_path: str = "") -> None:
        self._app, self._limits, self._metrics, self._root_path = app, limits, metrics, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        if self._root_path:  # routing then takes paths with it, and without, as a proxy that strips it sends them
            scope["root_path"] = self._root_path
        response = _ResponseSender(scope, send, uuid.uuid4().hex)
        try:
            if _content_length(scope) > self._limits.body_bytes:
                await response.refuse(413, "too_large", _TOO_LARGE.format(self._limits.body_bytes))
            else:
                await self._app(scope, self._bounded(receive), response.send)
        except Exception as error:  # noqa: BLE001 (last resort: every client gets a response)
            body = unexpected(error, response.id)
            if response.status is None:
                await response.answer(500, body)
        finally:
            self._count(scope, response)

    def _bounded(self, receive: Receive) -> Receive:
        """Wrap `receive`; raises `HTTPException` (413) once the body exceeds the limit."""
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limits.body_bytes:
                raise HTTPException(413, _TOO_LARGE.format(self._limits.body_bytes))
            return message

        return bounded

    def _count(self, scope: Scope, response: _ResponseSender) -> None:
        path = getattr(scope.get("route"), "path", "unknown")
        seconds, status = time.perf_counter() - response.began, response.status or 0
        self._metrics.requests.labels(path, scope["method"], str(status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        fields = {"request": response.id, "method": scope["method"], "route": path, "status": status}
        caller = scope["state"].get("caller")
        logger.info("answered", extra={**fields, "key": caller, "seconds": round(seconds, 4)})


class _ResponseSender:
    """Sends one request's response: adds headers and the request id, keeps the status and the start time."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._send, self.id = send, request_id
        self.status: int | None = None
        self.began = time.perf_counter()
        scope["state"]["request_id"] = request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = list(message.get("headers", []))
            named = {name.lower() for name, _ in own}
            added = [pair for pair in _DEFAULT_HEADERS.items() if pair[0] not in named]
            message["headers"] = [*own, *added, (b"x-request-id", self.id.encode())]
        await self._send(message)

    async def refuse(self, status: int, code: str, message: str) -> None:
        await self.answer(status, body_of(status, code, message))

    async def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})


def _content_length(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0
