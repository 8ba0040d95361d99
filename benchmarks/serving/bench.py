"""Server benchmark on a loopback socket: load while idle, load while consolidating, many namespaces.

Clients run in threads of the same process, so the figures include their work, which is small beside the model's. Not
here: the command (`command`).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from benchmarks.serving import load, namespaces
from seal_memory.config import Settings
from seal_memory.pool import MemoryPool
from seal_memory.records import JobState
from seal_memory.server.app import make_app
from seal_memory.server.keys import KeyStore
from seal_memory.server.state import Limits

MODEL = "running_server"
FACTS = 12  # learned before the first load
QUESTIONS = [f"Who keeps the key of boathouse number {n}?" for n in range(FACTS)]


def measure(
    folder: Path,
    model: str,
    settings: Settings,
    *,
    clients: Sequence[int],
    requests: int,
    tokens: int,
    count: int,
    trained: int,
    on_figure: Callable[[str], None] = lambda words: None,
) -> dict[str, Any]:
    """All figures. `folder` gets one memory for the load, another for `count` namespaces; `trained` facts are learned
    beside each load. `on_figure` gets each figure as it is measured: all of it takes a while.
    """
    pool = MemoryPool(folder / "load", model=model, settings=settings)
    engine = pool.engine
    with running_server(pool) as address:
        _learn(pool, 0, FACTS)
        loads = {"clients": clients, "requests": requests, "tokens": tokens}
        idle: list[dict[str, Any]] = []
        for c in clients:
            idle.append(asdict(_load(address, c, requests, tokens)))
            on_figure(f"idle: {idle[-1]}")
        busy: list[dict[str, Any]] = []
        for turn, c in enumerate(clients):
            with _consolidating(address, pool, FACTS + turn * trained, trained) as told:
                figures = asdict(_load(address, c, requests, tokens))
            busy.append({**figures, **told})
            on_figure(f"consolidating: {busy[-1]}")

    many = MemoryPool(folder / "many", model=model, settings=settings, engine=engine)
    with many:
        found = namespaces.measure(many, count, tokens=tokens)
    return {"load": loads, "idle": idle, "consolidating": busy, "namespaces": asdict(found)}


@contextmanager
def running_server(pool: MemoryPool) -> Iterator[str]:
    """The address of a server over the pool, which it closes at the end."""
    app = make_app(pool, KeyStore(pool.folder), limits=Limits(rate=0, waiting=256), train="asked", name=MODEL)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        _until_ready(address)
        try:
            yield address
        finally:
            app.state.server.stop_soon()
            server.should_exit = True
            thread.join()


def _until_ready(address: str) -> None:
    while True:
        try:
            if httpx2.get(f"{address}/readyz", timeout=30).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.05)


def _learn(pool: MemoryPool, first: int, count: int) -> None:
    with pool.memory("default") as memory:
        _observe(memory, first, count)
        memory.consolidate()


def _observe(memory: Any, first: int, count: int) -> None:
    for n in range(first, first + count):
        memory.observe(f"Keeper {n} Oskvold keeps the key of boathouse number {n} in drawer {n + 3}.", session=f"s{n}")


def _load(address: str, clients: int, requests: int, tokens: int) -> load.Load:
    return load.measure(address, MODEL, QUESTIONS, clients=clients, requests=requests, tokens=tokens)


@contextmanager
def _consolidating(address: str, pool: MemoryPool, first: int, count: int) -> Iterator[dict[str, Any]]:
    """A consolidation of `count` facts that runs when the block begins; after it, what became of it.

    `trained_throughout`: whether it lasted as long as the block.
    """
    told: dict[str, Any] = {}
    with pool.memory("default") as memory:
        _observe(memory, first, count)
        job_id = httpx2.post(f"{address}/v1/memory/consolidate", json={}, timeout=60).json()["job"]["id"]
        queue = memory.ledger.queue
        while queue.job(job_id).state is JobState.QUEUED:
            time.sleep(0.02)
        yield told
        told["trained_throughout"] = queue.job(job_id).state is JobState.RUNNING
        while queue.job(job_id).state in (JobState.RUNNING, JobState.QUEUED):
            time.sleep(0.1)
        told["job"] = queue.job(job_id).state.value
