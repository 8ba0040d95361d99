"""OpenAI-compatible endpoints: chat completions, completions, models.

The model's name stays the same while its memory changes; the header X-Seal-Memory-Snapshot and the field `seal_memory`
name the version that answered. Not here: checking and recording (`exchange`), response bodies (`openai_format`).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from seal_memory.answering.answerer import Answer
from seal_memory.server import openai_format as shape
from seal_memory.server.auth import Caller, ChatCaller, revoked
from seal_memory.server.errors import ApiError
from seal_memory.server.exchange import Exchange, RequestOptions, prepare_chat, prepare_completion
from seal_memory.server.headers import DECODED
from seal_memory.server.schemas import ChatRequest, CompletionRequest, Generation
from seal_memory.server.state import Server, server_of
from seal_memory.server.streaming import DONE, ClientGone, StreamedWork, error_event, event

SNAPSHOT_HEADER = "X-Seal-Memory-Snapshot"
POLL_SECONDS = 0.5  # between two checks for a disconnected client

router = APIRouter(prefix="/v1", tags=["openai"])
models_router = APIRouter(prefix="/v1", tags=["openai"])

ObserveHeader = Annotated[
    bool | None, Header(alias="X-Seal-Memory-Observe", description="Whether to record this conversation.")
]
SessionHeader = Annotated[
    str | None,
    DECODED,
    Header(alias="X-Seal-Memory-Session", max_length=200, description="The conversation's session."),
]


@dataclass(frozen=True, slots=True)
class _Formats:
    """Response formats of one endpoint: object names, id prefix, and the makers of choices and chunks."""

    whole: str
    chunk: str
    prefix: str
    choice: Callable[[int, Answer], dict[str, Any]]
    piece: Callable[[int, str], dict[str, Any]]
    end: Callable[[int, Answer], dict[str, Any]]


_CHAT = _Formats(shape.CHAT, f"{shape.CHAT}.chunk", "chatcmpl", shape.chat_choice, shape.chat_piece, shape.chat_end)
_TEXT = _Formats(shape.TEXT, shape.TEXT, "cmpl", shape.text_choice, shape.text_piece, shape.text_end)


@router.post("/chat/completions")
async def chat_completions(
    request: Request,
    body: ChatRequest,
    caller: ChatCaller,
    observe: ObserveHeader = None,
    session: SessionHeader = None,
) -> Response:
    """Continue a conversation, using the memory. It is recorded unless the request or the key says otherwise."""
    server = server_of(request)
    check_model(server, body.model)
    exchange = await server.in_thread(
        partial(prepare_chat, server, caller, body, request_options(server, body, observe, session))
    )
    return await _answer(request, server, exchange, body, _CHAT)


@router.post("/completions")
async def completions(
    request: Request,
    body: CompletionRequest,
    caller: ChatCaller,
    observe: ObserveHeader = None,
    session: SessionHeader = None,
) -> Response:
    """Continue plain text, without a chat template. It is recorded only on request."""
    server = server_of(request)
    check_model(server, body.model)
    exchange = await server.in_thread(
        partial(prepare_completion, server, caller, body, request_options(server, body, observe, session))
    )
    return await _answer(request, server, exchange, body, _TEXT)


@models_router.get("/models")
async def models(request: Request, caller: ChatCaller) -> dict[str, Any]:
    """List the server's one model."""
    return {"object": "list", "data": [_model(server_of(request))]}


@models_router.get("/models/{model:path}")
async def model(request: Request, model: str, caller: ChatCaller) -> dict[str, Any]:
    """Get the model by name."""
    check_model(server_of(request), model)
    return _model(server_of(request))


def _model(server: Server) -> dict[str, Any]:
    return {"id": server.name, "object": "model", "created": 0, "owned_by": "seal-memory"}


def check_model(server: Server, wanted: str) -> None:
    if wanted != server.name:
        raise ApiError(404, "model_not_found", f"Unknown model {wanted!r}; this server has only {server.name!r}.")


def request_options(server: Server, body: Generation, observe: bool | None, session: str | None) -> RequestOptions:
    options = body.seal_memory
    wanted = observe if options.observe is None else options.observe
    return RequestOptions(wanted, options.session or session or None, options.mode or server.mode)


async def _answer(
    request: Request, server: Server, exchange: Exchange, body: Generation, formats: _Formats
) -> Response:
    head = shape.envelope(
        formats.chunk if body.stream else formats.whole,
        f"{formats.prefix}-{uuid.uuid4().hex}",
        server.clock(),
        server.name,
        exchange.fingerprint,
    )
    headers = {SNAPSHOT_HEADER: str(exchange.snapshot or 0)}
    work = StreamedWork(server.threads, exchange.run)
    if body.stream:
        events = _events(request, exchange, work, body, formats, head)
        return StreamingResponse(
            events, media_type="text/event-stream", headers={**headers, "Cache-Control": "no-cache"}
        )
    try:
        answers = await collect(request, server, exchange.caller, work)
    except ClientGone:
        return Response(status_code=499)
    whole = {
        **head,
        "choices": [formats.choice(n, a) for n, a in enumerate(answers)],
        "usage": shape.usage_of(answers, len(exchange.ready)),
        "seal_memory": origin(exchange, answers),
    }
    return JSONResponse(whole, headers=headers)


async def collect(request: Request, server: Server, caller: Caller, work: StreamedWork[list[Answer]]) -> list[Answer]:
    """All answers. The work is cancelled when the client disconnects or its key is revoked."""

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(POLL_SECONDS)
        work.cancel()

    watchers = [asyncio.create_task(watch()), asyncio.create_task(watch_key(server, caller, work))]
    try:
        async for _ in work.pieces():
            pass
        return work.result
    finally:
        work.cancel()
        for watcher in watchers:
            watcher.cancel()


async def watch_key(server: Server, caller: Caller, work: StreamedWork[list[Answer]]) -> None:
    """Cancel the work once the caller's key is revoked."""
    while caller.key is not None:
        await asyncio.sleep(POLL_SECONDS)
        if not await server.in_thread(partial(caller.is_valid, server.keys)):
            work.cancel(revoked())
            return


async def _events(
    request: Request,
    exchange: Exchange,
    work: StreamedWork[list[Answer]],
    body: Generation,
    formats: _Formats,
    head: Mapping[str, Any],
) -> AsyncIterator[bytes]:
    """Server-sent events of a streamed answer: text pieces, last chunk of each choice, optional usage, [DONE]."""
    start = {**head, "usage": None} if body.include_usage_chunk else dict(head)
    watcher = asyncio.create_task(watch_key(exchange.server, exchange.caller, work))
    try:
        if formats is _CHAT:
            for n in range(exchange.choices):
                yield event({**start, "choices": [shape.chat_start(n)]})
        async for n, piece in work.pieces():
            yield event({**start, "choices": [formats.piece(n, piece)]})
        for last in _ends(exchange, work.result, formats, start):
            yield event(last)
        if body.include_usage_chunk:
            yield event({**head, "choices": [], "usage": shape.usage_of(work.result, len(exchange.ready))})
    except ClientGone:
        return
    except Exception as error:  # noqa: BLE001 (the status is already sent: report it as an event)
        yield error_event(error, request.state.request_id)
    finally:
        work.cancel()
        watcher.cancel()
    yield DONE


def _ends(
    exchange: Exchange, answers: Sequence[Answer], formats: _Formats, start: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The last chunk of every choice; the final one carries the field `seal_memory`."""
    for n, answer in enumerate(answers):
        yield from ({**start, "choices": [delta]} for delta in shape.chat_calls(n, answer))
        chunk = {**start, "choices": [formats.end(n, answer)]}
        if n + 1 == len(answers):
            chunk["seal_memory"] = origin(exchange, answers)
        yield chunk


def origin(exchange: Exchange, answers: Sequence[Answer]) -> dict[str, Any]:
    """The field `seal_memory` of a finished exchange."""
    return shape.origin_of(
        answers,
        exchange.snapshot,
        observed=bool(exchange.messages),
        session=exchange.session,
        recorded=exchange.recorded,
    )
