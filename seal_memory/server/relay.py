"""OpenAI's chat and plain completions where an upstream answers: noted, relayed as they are, and recorded.

The memory adds its notes to a chat's system message; the answer, its stream, tool calls and errors come back byte for
byte. What the user said is recorded whatever becomes of the answer, and of an answer what was there when it ended.
Not here: connections and headers (`upstream`), notes (`notes`), what is read of an answer (`overheard`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from seal_memory.errors import SealMemoryError
from seal_memory.intake.blocks import flatten_blocks
from seal_memory.ledger.encoding import sortable_id
from seal_memory.server.auth import Caller, ChatCaller, revoked
from seal_memory.server.chat import POLL_SECONDS, ObserveHeader, SessionHeader, check_model
from seal_memory.server.errors import ApiError
from seal_memory.server.exchange import may_record, replayed_in
from seal_memory.server.overheard import StreamedAnswer, texts_of
from seal_memory.server.recording import Record
from seal_memory.server.sessions import derived_session, keys_after
from seal_memory.server.state import Server, server_of
from seal_memory.server.streaming import ClientGone, error_event
from seal_memory.server.upstream import UpstreamServer, relayed_headers
from seal_memory.server.upstream_request import UpstreamRequest, parse_request

NOTES_HEADER = b"x-seal-memory-notes"  # how many notes the upstream was given
SESSION_HEADER = b"x-seal-memory-session"

T = TypeVar("T")

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/v1", tags=["openai"])
_ANY_OBJECT = {"schema": {"type": "object", "description": "What the upstream takes; `seal_memory` is taken out."}}
_BODY = {"requestBody": {"required": True, "content": {"application/json": _ANY_OBJECT}}}


@router.post("/chat/completions", openapi_extra=_BODY)
async def chat_completions(
    request: Request, caller: ChatCaller, observe: ObserveHeader = None, session: SessionHeader = None
) -> Response:
    """Relay a chat to the upstream, with this memory's notes. It is recorded unless the request or the key says no."""
    server, asked = server_of(request), parse_request(await request.body())
    wanted = observe if asked.options.observe is None else asked.options.observe
    messages = flatten_blocks(asked.messages) if may_record(caller, wanted, caller.observes) else []
    with ExitStack() as held:
        upstream = _enter(server, caller, asked, held)
        session = asked.options.session or session or None
        if messages and session is None:
            session = await server.in_thread(partial(_session, server, caller, messages))
        notes = await upstream.notes.take(caller.namespace, asked.messages)
        said = _Said(server, caller, messages, session, held.pop_all())
    body = asked.body(upstream.upstream.model, notes)
    return await _relay(request, upstream, "/chat/completions", body, said, notes)


@router.post("/completions", openapi_extra=_BODY)
async def completions(
    request: Request, caller: ChatCaller, observe: ObserveHeader = None, session: SessionHeader = None
) -> Response:
    """Relay a text to continue, without notes. It is recorded only on request."""
    server, asked = server_of(request), parse_request(await request.body())
    wanted = observe if asked.options.observe is None else asked.options.observe
    recorded = may_record(caller, wanted, False)
    messages = [{"role": "user", "content": text} for text in asked.prompts] if recorded else []
    with ExitStack() as held:
        upstream = _enter(server, caller, asked, held)
        said = _Said(server, caller, messages, asked.options.session or session or None, held.pop_all())
    return await _relay(request, upstream, "/completions", asked.body(upstream.upstream.model), said)


def _enter(server: Server, caller: Caller, asked: UpstreamRequest, held: ExitStack) -> UpstreamServer:
    """The upstream, with a slot for the request. Raises `ApiError` for another model, another mode, or no free slot."""
    if server.upstream is None:
        raise RuntimeError("these routes are only for a server with an upstream")
    if asked.model is not None:
        check_model(server, asked.model)
    if asked.options.mode in ("retrieval", "hybrid"):
        told = f"seal_memory.mode: {asked.options.mode!r}; an upstream gets notes from the weights, leave the mode out."
        raise ApiError(400, "invalid_request", told, param="seal_memory.mode")
    held.enter_context(server.slots.slot(caller.id))
    return server.upstream


def _session(server: Server, caller: Caller, messages: Sequence[Mapping[str, Any]]) -> str:
    """The session that the messages continue; a new one also where the ledger cannot be read now."""
    try:
        if not server.recorder.counts.waiting:
            server.waiting_sessions.clear()
        with server.pool.memory(caller.namespace) as memory:
            return derived_session(memory.ledger, caller.id, messages, server.waiting_sessions)
    except SealMemoryError as error:
        logger.warning("the session of a chat is a new one: the memory cannot be read (%s)", type(error).__name__)
        return f"chat-{sortable_id()}"


@dataclass(slots=True)
class _Said:
    """What was said and is to be recorded once: the client's messages (none: nothing), then the answer's texts."""

    server: Server
    caller: Caller
    messages: Sequence[Mapping[str, Any]]
    session: str | None
    held: ExitStack
    _ended: bool = False

    async def end(self, texts: Sequence[str] = ()) -> None:
        """Record, and free the slot. A second call does nothing."""
        if self._ended:
            return
        self._ended = True
        with self.held:
            if self.messages:
                await asyncio.shield(self.server.in_thread(partial(self._record, texts)))

    def _record(self, texts: Sequence[str]) -> None:
        caller, server = self.caller, self.server
        answer = (texts[0], {"model": server.name}) if len(texts) == 1 else None  # of several, the next turn tells it
        source = "chat" if caller.key is None else f"chat/{caller.key.id}"
        keys = keys_after(caller.id, self.messages, texts) if self.session is not None else []
        replayed = replayed_in(self.messages)
        record = Record(self.messages, replayed, answer, source, self.session, keys, server.clock())
        done = server.recorder.record(record.parts(partial(server.pool.memory, caller.namespace)))
        if done.deferred and self.session is not None:
            server.waiting_sessions.note(caller.namespace, self.session, keys)


async def _relay(
    request: Request, upstream: UpstreamServer, path: str, body: bytes, said: _Said, notes: Sequence[str] = ()
) -> Response:
    """Send the request up, and the answer back. Raises `ApiError` where none came; what was said is recorded then."""
    leaving = _Leaving(request, said.server, said.caller)
    texts: list[str] = []
    streams = False
    try:
        response = await leaving.unless(upstream.send(path, body, request.headers.raw))
        streams = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        if not streams:
            content = await leaving.unless(_whole(response))
            texts = texts_of(content)
    except ClientGone:
        return Response(status_code=499)
    except httpx.HTTPError as error:
        raise upstream.refusal(error) from None
    finally:
        if not streams:
            leaving.stop()
            await said.end(texts)
    if streams:
        relayed = _streamed(response, upstream, said, leaving, request.state.request_id)
    else:
        relayed = Response(content, response.status_code)
    length = [pair for pair in relayed.raw_headers if pair[0] == b"content-length"]
    relayed.raw_headers = [*relayed_headers(response), *length, *_own_headers(said, notes)]
    return relayed


async def _whole(response: httpx.Response) -> bytes:
    try:
        return await response.aread()
    finally:
        await response.aclose()


def _own_headers(said: _Said, notes: Sequence[str]) -> list[tuple[bytes, bytes]]:
    found, session = [(NOTES_HEADER, str(len(notes)).encode())], said.session
    if said.messages and session is not None and session.isprintable() and session == session.strip():
        found.append((SESSION_HEADER, session.encode()))
    return found


def _streamed(
    response: httpx.Response, upstream: UpstreamServer, said: _Said, leaving: _Leaving, request_id: str
) -> Response:
    """The stream as it comes. What was said is recorded before its last event goes out, or when the client leaves."""
    heard = StreamedAnswer()
    leaving.watches_client = False  # the response does

    async def events() -> AsyncIterator[bytes]:
        pieces = response.aiter_bytes()
        try:
            while (piece := await leaving.unless(_next(pieces))) is not None:
                heard.feed(piece)
                if heard.is_done:
                    await said.end(heard.texts)
                yield piece
            await said.end(heard.texts)
        except httpx.HTTPError as error:
            yield b"\n\n" + error_event(upstream.refusal(error), request_id)
        except ApiError as error:  # its key was revoked
            yield b"\n\n" + error_event(error, request_id)

    async def end() -> None:
        """Close the connection, upon which the upstream stops answering, and record what was said so far."""
        try:
            await response.aclose()
        finally:
            await said.end(heard.texts)

    def ended() -> None:
        leaving.stop()
        upstream.go_on(end())

    return _Stream(events(), response.status_code, ended)


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


class _Stream(StreamingResponse):
    """A streamed response that tells its end, however it ends, also before its first piece."""

    def __init__(self, pieces: AsyncIterator[bytes], status: int, ended: Callable[[], None]) -> None:
        super().__init__(pieces, status)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


class _Leaving:
    """Watches, while an answer is awaited, whether the client leaves or its key is revoked."""

    def __init__(self, request: Request, server: Server, caller: Caller) -> None:
        self._request, self._server, self._caller = request, server, caller
        self._watching: asyncio.Task[Exception] | None = None
        self.watches_client = True

    async def unless(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work. Ends it and raises `ClientGone`, or `ApiError` (a revoked key), once that happens."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task, self._watching}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self._watching.result()
            return task.result()
        finally:
            task.cancel()  # nothing where it is done

    def stop(self) -> None:
        """Stop watching."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> Exception:
        while True:
            if self.watches_client and await self._request.is_disconnected():
                return ClientGone()
            is_valid = partial(self._caller.is_valid, self._server.keys)
            if self._caller.key is not None and not await self._server.in_thread(is_valid):
                return revoked()
            await asyncio.sleep(POLL_SECONDS)
