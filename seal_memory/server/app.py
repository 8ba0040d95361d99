"""The FastAPI application over one pool of memories: routes, error responses, limits, start and shutdown.

Not here: sockets and signals (`running`), the route handlers (their own modules).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from seal_memory import __version__
from seal_memory.answering.answerer import parse_mode
from seal_memory.errors import BaseModelMismatchError, EngineUnavailableError, InputError, ModelUnavailableError
from seal_memory.intake.recording import Recorder
from seal_memory.pool import MemoryPool, check_name
from seal_memory.server import (
    browse_api,
    chat,
    errors,
    export_api,
    health,
    jobs_api,
    learned_api,
    memory_api,
    page_files,
    quarantine_api,
    relay,
    responses,
)
from seal_memory.server.keys import KeyStore
from seal_memory.server.metrics import Metrics
from seal_memory.server.middleware import RequestMiddleware
from seal_memory.server.notes import NoteTaker
from seal_memory.server.pool_trainer import PoolTrainer
from seal_memory.server.state import Limits, RateLimiter, RequestSlots, Server
from seal_memory.server.upstream import Upstream, UpstreamServer

logger = logging.getLogger(__name__)

Train = Literal["auto", "asked", "never"]
_EXTRA_THREADS = 16  # for requests that do not use the model, so that a full chat queue does not block them
_ORIGIN = re.compile(r"https?://[^/\s?#]+")
_ROOT = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_ERRORS = {
    400: "invalid request",
    401: "missing or unknown API key",
    403: "not allowed for this key",
    404: "not found",
    409: "the memory is busy, or belongs to another base model",
    413: "request or export too large",
    429: "too many requests",
    503: "temporarily unavailable",
}
_ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}


def make_app(
    pool: MemoryPool,
    keys: KeyStore,
    *,
    limits: Limits | None = None,
    train: Train = "auto",
    name: str | None = None,
    mode: str | None = None,
    namespace: str = "default",
    origins: Sequence[str] = (),
    root_path: str = "",
    upstream: Upstream | None = None,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """Build the app over a pool; the app closes the pool at shutdown.

    `name`: model name shown to clients (default: that of the model that answers). `train`: "auto" learns pending
    interactions and runs due audits, "asked" runs only jobs queued by /consolidate, "never" leaves all jobs to a
    `seal-memory worker`. `upstream`: another chat server, which answers in the memory's place. `mode`: of requests that
    name none; None: as each needs it (`SealMemory.converse`). `namespace`: default for requests without a key.
    `origins`: other sites whose pages may use the API, such as "https://chat.example"; "*" is every site, for requests
    with a key. `root_path`: the path under which a proxy serves the app. Raises `InputError` for an unknown mode, an
    origin that is none, or such a path.
    """
    shown = name or (public_name(pool.model) if upstream is None else upstream.model)
    checked = None if mode is None else parse_mode(mode)
    server = _server(pool, keys, limits or Limits(), train, shown, checked, check_name(namespace), clock)
    server.origins, server.root_path = checked_origins(origins), checked_root(root_path)
    if upstream is not None:
        server.upstream = UpstreamServer(upstream, NoteTaker(pool, server.metrics))
    app = _app_without_routes()
    app.state.server = server
    errors.install(app)
    answering = (chat, responses) if upstream is None else (relay,)
    memory_routes = (memory_api, browse_api, learned_api, quarantine_api, jobs_api)
    for module in (page_files, health, *answering, *memory_routes):
        app.include_router(module.router)
    app.include_router(chat.models_router)
    app.include_router(export_api.router)
    app.add_middleware(RequestMiddleware, limits=server.limits, metrics=server.metrics, root_path=server.root_path)
    if server.origins:
        _allow_origins(app, server.origins)
    return app


def checked_origins(origins: Sequence[str]) -> tuple[str, ...]:
    """The origins. Raises `InputError` for one with a path, or without a scheme."""
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise InputError(f"{origin!r} is no origin; expected scheme, host and port, such as https://chat.example.")
    return tuple(origins)


def checked_root(path: str) -> str:
    """The path without a slash at its end. Raises `InputError` for one that is no path."""
    found = path.rstrip("/")
    if found and not _ROOT.fullmatch(found):
        raise InputError(f"{path!r} is no root path; expected a path such as /memory.")
    return found


def _allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let the pages of other sites use the API with a key of their own; cookies are never sent."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=["*"],
        expose_headers=[chat.SNAPSHOT_HEADER, "X-Request-Id", "Retry-After"],
    )


def _app_without_routes() -> FastAPI:
    """The app without routes, with the OpenAPI text that all routes share."""
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": description, "content": {"application/json": {"schema": _ERROR_SCHEMA}}}
        for status, description in _ERRORS.items()
    }
    return FastAPI(
        title="seal-memory",
        version=__version__,
        description="An OpenAI-compatible server whose model remembers, and the memory's own API.",
        docs_url=None,  # the Swagger page would load scripts from another site
        redoc_url=None,
        lifespan=_lifespan,
        responses=responses,
    )


def public_name(model: str) -> str:
    """The model's name: a folder's own, a file's without its ending, else as given."""
    path = Path(model)
    if not path.exists():
        return model
    return path.stem if path.is_file() else path.resolve().name


def _server(
    pool: MemoryPool,
    keys: KeyStore,
    limits: Limits,
    train: Train,
    name: str,
    mode: str | None,
    namespace: str,
    clock: Callable[[], float],
) -> Server:
    metrics = Metrics()
    threads = ThreadPoolExecutor(limits.waiting + _EXTRA_THREADS, thread_name_prefix="seal-memory-serve")
    slots, rates = RequestSlots(limits.waiting, metrics), RateLimiter(limits)
    recorder = Recorder(lambda outcome, number: metrics.recording.labels(outcome).inc(number))
    server = Server(pool, keys, limits, metrics, rates, slots, recorder, threads, None, name, mode, namespace, clock)
    if train != "never":
        server.trainer = PoolTrainer(pool, asked_only=train == "asked", clock=clock, on_job=server.job_ended)

    def on_progress(namespace: str, phase: str, done: int, total: int) -> None:
        server.progress[namespace] = (phase, done, total)

    pool.on_progress = on_progress
    return server


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start loading the model and training in the background; at shutdown hand unfinished jobs back and close."""
    server: Server = app.state.server
    server.threads.submit(_load, server)
    if server.trainer is not None:
        server.trainer.start()
    try:
        yield
    finally:
        server.stop_soon()
        if server.trainer is not None:
            await server.in_thread(server.trainer.stop)
        if server.upstream is not None:
            await server.upstream.close()
        server.threads.shutdown(wait=True, cancel_futures=True)
        server.recorder.close()
        server.pool.close()
        server.keys.close()


def _load(server: Server) -> None:
    """Load the model before the first request. On failure, each request that needs the model reports the error."""
    try:
        server.pool.get_ready()
    except (ModelUnavailableError, EngineUnavailableError, BaseModelMismatchError) as error:
        logger.error("the model cannot be used: %s", error)
