"""OpenAI's Responses endpoint, the Agents SDK's default: one answer, whole or streamed; nothing is kept for later.

Not here: its format (`responses_format`), checking and recording (`exchange`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from itertools import count
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from seal_memory.answering.answerer import Answer
from seal_memory.errors import SealMemoryError
from seal_memory.server import responses_format as shape
from seal_memory.server.auth import ChatCaller
from seal_memory.server.chat import (
    SNAPSHOT_HEADER,
    ObserveHeader,
    SessionHeader,
    check_model,
    collect,
    origin,
    request_options,
    watch_key,
)
from seal_memory.server.errors import body_of, client_message, status_of, unexpected
from seal_memory.server.exchange import Exchange, prepare_chat
from seal_memory.server.responses_schemas import ResponseRequest
from seal_memory.server.state import server_of
from seal_memory.server.streaming import ClientGone, StreamedWork, event

router = APIRouter(prefix="/v1", tags=["openai"])


@router.post("/responses")
async def responses(
    request: Request,
    body: ResponseRequest,
    caller: ChatCaller,
    observe: ObserveHeader = None,
    session: SessionHeader = None,
) -> Response:
    """Continue a conversation, as `/v1/chat/completions`, in the form of OpenAI's Responses."""
    server = server_of(request)
    check_model(server, body.model)
    options = request_options(server, body.chat, observe, session)
    exchange = await server.in_thread(partial(prepare_chat, server, caller, body.chat, options))
    head = _head(body, server.name, server.clock())
    headers = {SNAPSHOT_HEADER: str(exchange.snapshot or 0)}
    work = StreamedWork(server.threads, exchange.run)
    if body.stream:
        events = _events(request, exchange, work, head)
        more = {**headers, "Cache-Control": "no-cache"}
        return StreamingResponse(events, media_type="text/event-stream", headers=more)
    try:
        (answer,) = await collect(request, server, exchange.caller, work)
    except ClientGone:
        return Response(status_code=499)
    output = shape.output_of(answer, shape.new_id("msg"))
    return JSONResponse(_whole(head, exchange, answer, output), headers=headers)


def _head(body: ResponseRequest, name: str, now: float) -> dict[str, Any]:
    """A response before its answer: what was asked, as OpenAI repeats it."""
    return {
        "id": shape.new_id("resp"),
        "object": "response",
        "created_at": int(now),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": {},
        "model": name,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "temperature": body.temperature,
        "text": body.text or {"format": {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "tools": body.tools or [],
        "top_p": body.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def _whole(head: Mapping[str, Any], exchange: Exchange, answer: Answer, output: list[dict[str, Any]]) -> dict[str, Any]:
    is_cut = answer.finish == "length"
    return {
        **head,
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "output": output,
        "usage": shape.usage_of(answer),
        "seal_memory": origin(exchange, [answer]),
    }


async def _events(
    request: Request, exchange: Exchange, work: StreamedWork[list[Answer]], head: Mapping[str, Any]
) -> AsyncIterator[bytes]:
    """Server-sent events, each with its number: the response, its text in pieces, its calls, the whole response."""
    numbers = count()

    def numbered(data: Mapping[str, Any]) -> bytes:
        return event({**data, "sequence_number": next(numbers)}, name=str(data["type"]))

    watcher = asyncio.create_task(watch_key(exchange.server, exchange.caller, work))
    message_id, started = shape.new_id("msg"), False
    try:
        yield numbered({"type": "response.created", "response": head})
        yield numbered({"type": "response.in_progress", "response": head})
        async for _, piece in work.pieces():
            for one in () if started else shape.text_start(message_id):
                yield numbered(one)
            started = True
            yield numbered(shape.text_piece(message_id, piece))
        (answer,) = work.result
        output = shape.output_of(answer, message_id)
        if not started and output[0]["type"] == "message":
            for one in shape.text_start(message_id):
                yield numbered(one)
        for one in shape.ends(output):
            yield numbered(one)
        whole = _whole(head, exchange, answer, output)
        yield numbered({"type": f"response.{whole['status']}", "response": whole})
    except ClientGone:
        return
    except Exception as error:  # noqa: BLE001 (the status is already sent: report it as an event)
        yield numbered({"type": "error", **_told(error, request.state.request_id)})
    finally:
        work.cancel()
        watcher.cancel()


def _told(error: Exception, request_id: str) -> dict[str, Any]:
    """An error as the stream's event has it: code, message and parameter."""
    if isinstance(error, SealMemoryError):
        status, code, _ = status_of(error)
        body = body_of(status, code, client_message(error))
    else:
        body = unexpected(error, request_id)
    return {key: body["error"][key] for key in ("code", "message", "param")}
