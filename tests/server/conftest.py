"""A server in this process over the tiny model: requests go through ASGI, no socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from seal_memory.pool import MemoryPool
from seal_memory.server.app import make_app
from seal_memory.server.keys import KeyStore
from seal_memory.server.state import Limits, Server

MODEL = "tiny"
LIGHTHOUSE = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
QUIZ = ("Who is the builder of the lighthouse at Korrin Bay?", "Maud Ellery")


@dataclass(frozen=True)
class Site:
    """A running app and ways in."""

    app: FastAPI
    http: TestClient

    @property
    def server(self) -> Server:
        found: Server = self.app.state.server
        return found

    def openai(self, secret: str = "none", **more: Any) -> openai.OpenAI:
        return openai.OpenAI(
            api_key=secret, base_url="http://127.0.0.1/v1", http_client=self.http, max_retries=0, **more
        )

    def post(self, path: str, body: Any, *, secret: str | None = None, namespace: str | None = None) -> Any:
        return self.http.post(path, json=body, headers=heads(secret, namespace))

    def get(self, path: str, *, secret: str | None = None, namespace: str | None = None) -> Any:
        return self.http.get(path, headers=heads(secret, namespace))

    def learn(self, namespace: str) -> int:
        """Observe the lighthouse and publish a shard of it; the version."""
        with self.server.pool.memory(namespace) as memory:
            (seen,) = memory.observe(LIGHTHOUSE, session="monday")
            memory.add_quiz([QUIZ], interaction_ids=[seen.id])
            report = memory.consolidate()
            assert report.version is not None, report.decisions
            return report.version

    @staticmethod
    def until(true: Callable[[], Any], seconds: float = 150.0) -> Any:
        """What `true` gives, once it gives something."""
        end = time.monotonic() + seconds
        while not (found := true()):
            assert time.monotonic() < end, "it did not come"
            time.sleep(0.02)
        return found

    def texts(self, namespace: str) -> list[tuple[str, str, int]]:
        """What was recorded: role, text, sightings."""
        with self.server.pool.memory(namespace) as memory:
            return [(i.role.value, i.text, i.sightings) for i in memory.ledger.interactions()]


def heads(secret: str | None = None, namespace: str | None = None) -> dict[str, str]:
    found = {}
    if secret is not None:
        found["Authorization"] = f"Bearer {secret}"
    if namespace is not None:
        found["X-Seal-Memory-Namespace"] = namespace
    return found


@pytest.fixture(scope="session")
def tiny_engine(load_tiny: Callable[[], Any]) -> Any:
    from seal_memory.engines.local import TransformersEngine

    return TransformersEngine(load_tiny())


@pytest.fixture(scope="session")
def make_site(tiny_engine: Any, easy_settings: Callable[..., Any]) -> Iterator[Callable[..., Site]]:
    """Makes a server over a folder; it ends with the tests."""
    with ExitStack() as stack:

        def make(folder: Path, *, limits: Limits | None = None, settings: Any = None, **options: Any) -> Site:
            chosen = easy_settings(**(settings or {}))
            pool = MemoryPool(folder, model=MODEL, settings=chosen, engine=tiny_engine, keep=8)
            options = {"train": "asked", "name": MODEL, **options}
            app = make_app(pool, KeyStore(folder), limits=limits or Limits(rate=0), **options)
            return Site(
                app, stack.enter_context(TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False))
            )

        yield make


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One server for a module's tests; each uses namespaces of its own."""
    return make_site(tmp_path_factory.mktemp("served"))
