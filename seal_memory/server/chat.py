"""OpenAI's own endpoints: chat completions, completions, models. The model's name stays the same while its memory
changes; the version that answered is in the header X-Seal-Memory-Snapshot and in the field `seal_memory`.

Not here: checking and recording (`exchange`), the shapes (`openai_format`).
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
from seal_memory.server.auth import Chatting
from seal_memory.server.errors import ApiError
from seal_memory.server.exchange import Exchange, RequestOptions, of_chat, of_texts
from seal_memory.server.schemas import ChatRequest, CompletionRequest, Generation
from seal_memory.server.state import Server, server_of
from seal_memory.server.streaming import DONE, ClientGone, StreamedWork, event, failed

SNAPSHOT_HEADER = "X-Seal-Memory-Snapshot"
LOOK = 0.5  # seconds between two looks at whether the client is still there

router = APIRouter(prefix="/v1", tags=["openai"])

ObserveHeader = Annotated[
    bool | None, Header(alias="X-Seal-Memory-Observe", description="Whether to record what is said here.")
]
SessionHeader = Annotated[
    str | None,
    Header(alias="X-Seal-Memory-Session", max_length=200, description="What the conversation belongs to."),
]


@dataclass(frozen=True, slots=True)
class _Shapes:
    """How one endpoint's answers look."""

    whole: str
    chunk: str
    prefix: str
    choice: Callable[[int, Answer], dict[str, Any]]
    piece: Callable[[int, str], dict[str, Any]]
    end: Callable[[int, Answer], dict[str, Any]]


_CHAT = _Shapes(shape.CHAT, f"{shape.CHAT}.chunk", "chatcmpl", shape.chat_choice, shape.chat_piece, shape.chat_end)
_TEXT = _Shapes(shape.TEXT, shape.TEXT, "cmpl", shape.text_choice, shape.text_piece, shape.text_end)


@router.post("/chat/completions")
async def chat_completions(
    request: Request, body: ChatRequest, caller: Chatting, observe: ObserveHeader = None, session: SessionHeader = None
) -> Response:
    """Continue a conversation with what the memory holds. It is recorded unless the request or the key says no."""
    server = server_of(request)
    _check_model(server, body.model)
    exchange = await server.in_thread(partial(of_chat, server, caller, body, _wishes(server, body, observe, session)))
    return await _answer(request, server, exchange, body, _CHAT)


@router.post("/completions")
async def completions(
    request: Request,
    body: CompletionRequest,
    caller: Chatting,
    observe: ObserveHeader = None,
    session: SessionHeader = None,
) -> Response:
    """Continue plain text, without a chat template. It is recorded only when the request asks for it."""
    server = server_of(request)
    _check_model(server, body.model)
    exchange = await server.in_thread(partial(of_texts, server, caller, body, _wishes(server, body, observe, session)))
    return await _answer(request, server, exchange, body, _TEXT)


@router.get("/models")
async def models(request: Request, caller: Chatting) -> dict[str, Any]:
    """The one model that this server has."""
    return {"object": "list", "data": [_model(server_of(request))]}


@router.get("/models/{model}")
async def model(request: Request, model: str, caller: Chatting) -> dict[str, Any]:
    """The model by its name."""
    _check_model(server_of(request), model)
    return _model(server_of(request))


def _model(server: Server) -> dict[str, Any]:
    return {"id": server.name, "object": "model", "created": 0, "owned_by": "seal-memory"}


def _check_model(server: Server, wanted: str) -> None:
    if wanted != server.name:
        raise ApiError(404, "model_not_found", f"This server has one model, {server.name!r}; ask for that.")


def _wishes(server: Server, body: Generation, observe: bool | None, session: str | None) -> RequestOptions:
    options = body.seal_memory
    wanted = observe if options.observe is None else options.observe
    return RequestOptions(wanted, options.session or session or None, options.mode or server.mode)


async def _answer(request: Request, server: Server, exchange: Exchange, body: Generation, shapes: _Shapes) -> Response:
    head = shape.envelope(
        shapes.chunk if body.stream else shapes.whole,
        f"{shapes.prefix}-{uuid.uuid4().hex}",
        server.clock(),
        server.name,
        exchange.fingerprint,
    )
    headers = {SNAPSHOT_HEADER: str(exchange.snapshot or 0)}
    spoken = StreamedWork(server.threads, exchange.run)
    if body.stream:
        events = _events(request, exchange, spoken, body, shapes, head)
        return StreamingResponse(
            events, media_type="text/event-stream", headers={**headers, "Cache-Control": "no-cache"}
        )
    try:
        answers = await _heard(request, spoken)
    except ClientGone:
        return Response(status_code=499)
    whole = {
        **head,
        "choices": [shapes.choice(n, a) for n, a in enumerate(answers)],
        "usage": shape.usage_of(answers, len(exchange.ready)),
        "seal_memory": shape.origin_of(answers, exchange.snapshot, observed=bool(exchange.said)),
    }
    return JSONResponse(whole, headers=headers)


async def _heard(request: Request, spoken: StreamedWork[list[Answer]]) -> list[Answer]:
    """All of it; a client that goes away meanwhile, or a server that stops, ends it."""

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(LOOK)
        spoken.leave()

    watcher = asyncio.create_task(watch())
    try:
        async for _ in spoken.pieces():
            pass
        return spoken.result
    finally:
        spoken.leave()
        watcher.cancel()


async def _events(
    request: Request,
    exchange: Exchange,
    spoken: StreamedWork[list[Answer]],
    body: Generation,
    shapes: _Shapes,
    head: Mapping[str, Any],
) -> AsyncIterator[bytes]:
    """The pieces as they come, the ends of the choices, usage where it is wanted, [DONE]."""
    start = {**head, "usage": None} if body.usage_wanted else dict(head)
    try:
        if shapes is _CHAT:
            for n in range(exchange.choices):
                yield event({**start, "choices": [shape.chat_start(n)]})
        async for n, piece in spoken.pieces():
            yield event({**start, "choices": [shapes.piece(n, piece)]})
        for last in _ends(exchange, spoken.result, shapes, start):
            yield event(last)
        if body.usage_wanted:
            yield event({**head, "choices": [], "usage": shape.usage_of(spoken.result, len(exchange.ready))})
    except ClientGone:
        return
    except Exception as error:  # noqa: BLE001 (the answer has begun: only an event can tell of it)
        yield failed(error, request.state.request_id)
    finally:
        spoken.leave()
    yield DONE


def _ends(
    exchange: Exchange, answers: Sequence[Answer], shapes: _Shapes, start: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The last chunk of every choice; the very last says where the answers came from."""
    for n, answer in enumerate(answers):
        chunk = {**start, "choices": [shapes.end(n, answer)]}
        if n + 1 == len(answers):
            chunk["seal_memory"] = shape.origin_of(answers, exchange.snapshot, observed=bool(exchange.said))
        yield chunk
