"""The application: routes, error answers and bounds around one pool of memories.

Not here: sockets and signals (`running`), the routes themselves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI

from seal_memory import __version__
from seal_memory.answering.answerer import parse_mode
from seal_memory.errors import BaseModelMismatchError, EngineUnavailableError, ModelUnavailableError
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
)
from seal_memory.server.keys import KeyStore
from seal_memory.server.metrics import Metrics
from seal_memory.server.middleware import RequestMiddleware
from seal_memory.server.pool_trainer import PoolTrainer
from seal_memory.server.state import Limits, RateLimiter, RequestSlots, Server

logger = logging.getLogger(__name__)

Train = Literal["auto", "asked", "never"]
_THREADS_BESIDE = 16  # for what does not use the model, so that a full queue of chats does not shut it out
_ERRORS = {
    400: "the request cannot be used",
    401: "no key, or an unknown one",
    403: "the key may not do that",
    404: "there is no such thing",
    409: "something else is being done with this memory",
    413: "too large",
    429: "too many requests",
    503: "not now",
}
_ERROR_SHAPE = {
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
    mode: str = "hybrid",
    namespace: str = "default",
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The app over a pool, which it closes when it ends. `name`: of the model, for clients (default: its own).

    `train`: "auto" learns what is pending and audits what is due, "asked" does what /consolidate asks for, "never"
    leaves all jobs to a `seal-memory worker`. `namespace`: where requests without a key go that name none. Raises
    `InputError` for an unknown mode.
    """
    shown = name or public_name(pool.model)
    server = _server(pool, keys, limits or Limits(), train, shown, parse_mode(mode), check_name(namespace), clock)
    app = _bare()
    app.state.server = server
    errors.install(app)
    for room in (page_files, health, chat, memory_api, browse_api, learned_api, quarantine_api, jobs_api, export_api):
        app.include_router(room.router)
    app.add_middleware(RequestMiddleware, limits=server.limits, metrics=server.metrics)
    return app


def _bare() -> FastAPI:
    """The app without routes: what its OpenAPI says about all of them."""
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"description": told, "content": {"application/json": {"schema": _ERROR_SHAPE}}}
        for status, told in _ERRORS.items()
    }
    return FastAPI(
        title="seal-memory",
        version=__version__,
        description="An OpenAI-compatible server whose model remembers, and the memory's own API.",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        lifespan=_life,
        responses=refusals,
    )


def public_name(model: str) -> str:
    """A model's name without the folder it lies in."""
    return Path(model).stem if Path(model).exists() else model


def _server(
    pool: MemoryPool,
    keys: KeyStore,
    limits: Limits,
    train: Train,
    name: str,
    mode: str,
    namespace: str,
    clock: Callable[[], float],
) -> Server:
    metrics = Metrics()
    threads = ThreadPoolExecutor(limits.waiting + _THREADS_BESIDE, thread_name_prefix="seal-memory-serve")
    places, rates = RequestSlots(limits.waiting, metrics), RateLimiter(limits)
    server = Server(pool, keys, limits, metrics, rates, places, threads, None, name, mode, namespace, clock)
    if train != "never":
        server.trainer = PoolTrainer(pool, asked_only=train == "asked", clock=clock, on_job=server.job_ended)

    def doing(namespace: str, phase: str, done: int, total: int) -> None:
        server.doing[namespace] = (phase, done, total)

    pool.on_progress = doing
    return server


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """Load the model and train beside the requests; at the end hand back what is not finished, and close."""
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
        server.threads.shutdown(wait=True, cancel_futures=True)
        server.pool.close()
        server.keys.close()


def _load(server: Server) -> None:
    """So that the first answer need not wait; what goes wrong is told by every request that needs the model."""
    try:
        server.pool.get_ready()
    except (ModelUnavailableError, EngineUnavailableError, BaseModelMismatchError) as error:
        logger.error("the model cannot be used: %s", error)
