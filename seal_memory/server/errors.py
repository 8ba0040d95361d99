"""HTTP error responses in OpenAI's format: {"error": {message, type, param, code}}. The only place that makes them.

An unexpected error shows the client only the request's id; the log gets its type and place. Not here: raising errors.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from seal_memory.errors import (
    AdapterError,
    BaseModelMismatchError,
    BusyError,
    EngineUnavailableError,
    InputError,
    LedgerError,
    ModelUnavailableError,
    QuotaError,
    SealMemoryError,
    UnknownIdError,
)

logger = logging.getLogger(__name__)

_MAPPED: tuple[tuple[type[SealMemoryError], int, str, float | None], ...] = (  # the first that fits
    (UnknownIdError, 404, "not_found", None),
    (InputError, 400, "invalid_request", None),
    (ModelUnavailableError, 503, "model_unavailable", 30.0),
    (EngineUnavailableError, 503, "engine_unavailable", 5.0),
    (BusyError, 409, "busy", 5.0),
    (BaseModelMismatchError, 409, "base_model_mismatch", None),
    (AdapterError, 503, "adapter_unusable", 5.0),
    (QuotaError, 507, "quota_exceeded", None),
    (LedgerError, 503, "ledger_unusable", 5.0),
)
_FASTAPI_UNREADABLE = "There was an error parsing the body"
_BODY_UNREADABLE = "The body cannot be read; expected JSON in UTF-8 whose lists and objects are not nested deeply."
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class ApiError(SealMemoryError):
    """An HTTP-level refusal: missing key, missing scope, request too large, rate limit."""

    def __init__(
        self, status: int, code: str, message: str, *, retry_after: float | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after, self.param = status, code, retry_after, param


def install(app: FastAPI) -> None:
    """Register the error handlers on an app."""
    app.add_exception_handler(SealMemoryError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def status_of(error: SealMemoryError) -> tuple[int, str, float | None]:
    """(HTTP status, error code, seconds for Retry-After or None) of a `SealMemoryError`."""
    if isinstance(error, ApiError):
        return error.status, error.code, error.retry_after
    found = ((status, code, after) for kind, status, code, after in _MAPPED if isinstance(error, kind))
    return next(found, (500, "internal_error", None))


def body_of(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """The JSON body of an error response."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def answer_to(error: SealMemoryError) -> JSONResponse:
    """The complete HTTP response to a `SealMemoryError`."""
    status, code, after = status_of(error)
    headers = {"Retry-After": str(max(1, round(after)))} if after is not None else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    param = error.param if isinstance(error, ApiError) else None
    return JSONResponse(body_of(status, code, client_message(error), param), status, headers)


def client_message(error: SealMemoryError) -> str:
    """The message for the client. Server-side errors may name paths or processes: their text goes to the log only."""
    status, code, _ = status_of(error)
    if isinstance(error, BusyError):  # its message names a machine and a process
        logger.info("%s", error)
        return "This memory is busy: a job trains it, or another process writes to it. Try again soon."
    if status < 500 or isinstance(error, ApiError | QuotaError):
        return str(error)
    logger.error("%s: %s", type(error).__name__, error)
    return f"The server cannot do that now ({code.replace('_', ' ')}); its log says why."


def unexpected(error: Exception, request_id: str) -> dict[str, Any]:
    """The body for an unexpected exception. Its message may quote interactions, so only type and place are logged."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    logger.error("unexpected %s at %s", type(error).__name__, where, extra={"request": request_id})
    logger.debug("unexpected", exc_info=error)
    return body_of(500, "internal_error", f"Internal error; the server's log has details under request {request_id}.")


async def _known(request: Request, error: Exception) -> JSONResponse:
    return answer_to(error if isinstance(error, SealMemoryError) else SealMemoryError())


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """A validation error: names each field and the rule it broke, never the value sent."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    unreadable = _unreadable_body(request, problems[0]) if problems else None
    if unreadable is not None:
        return JSONResponse(body_of(400, "invalid_request", *unreadable), 400)
    places = [".".join(str(part) for part in p["loc"][1:]) for p in problems]
    rules = [
        "not known to this server; leave it out"
        if p["type"] == "extra_forbidden"
        else str(p["msg"]).removeprefix("Value error, ")
        for p in problems
    ]
    summary = "; ".join(f"{place or 'body'}: {rule}" for place, rule in zip(places, rules, strict=True))
    message = summary.encode("utf-8", errors="replace").decode() or "The request cannot be read."
    param = places[0].encode("utf-8", errors="replace").decode() if places and places[0] else None
    return JSONResponse(body_of(400, "invalid_request", message, param), 400)


def _unreadable_body(request: Request, problem: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """Message and parameter for a body that is not JSON, or is not sent as JSON; None for any other problem."""
    if problem["type"] == "json_invalid":
        why = problem.get("ctx", {}).get("error", "it cannot be parsed")
        told = f"The body is not JSON at character {problem['loc'][-1]}: {why}. Look for a trailing comma or a quote."
        return told, None
    sent = request.headers.get("content-type", "")
    if tuple(problem["loc"]) == ("body",) and "json" not in sent.lower():
        told = f"Content-Type is {sent[:100]!r}" if sent else "The header Content-Type is missing"
        return f"{told}; send the body as JSON with Content-Type: application/json.", "Content-Type"
    return None


async def _http(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(error.detail) if isinstance(error, HTTPException) else "error"
    detail = _BODY_UNREADABLE if detail == _FASTAPI_UNREADABLE else detail
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return JSONResponse(body_of(status, _CODES.get(status, "invalid_request"), detail), status, headers)
