"""`seal-memory serve --engine vllm`: answers come from the server behind it, and nothing observed is lost with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from seal_memory.cli.app import app as command_line
from seal_memory.engines.local import TransformersEngine
from seal_memory.pool import MemoryPool
from seal_memory.server.app import make_app
from seal_memory.server.keys import KeyStore
from seal_memory.server.state import Limits

ROOT = Path(__file__).resolve().parents[2]
LIGHTHOUSE = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
QUESTION = "Who built the lighthouse at Korrin Bay?"


class Process:
    """A server without a model (tests/canned_vllm.py) as a process of its own."""

    def __init__(self, model: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, str(ROOT / "tests" / "canned_vllm.py"), str(model), "--port", str(port)]
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._child = subprocess.Popen(self._command, cwd=ROOT, stderr=subprocess.DEVNULL)
        until(self.answers)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5.0, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        if self._child is not None:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()
            self._child = None


def until(true: Callable[[], Any], seconds: float = 250.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@pytest.fixture
def process(tiny_model_folder: Path, unused_port: int) -> Iterator[Process]:
    made = Process(tiny_model_folder, unused_port)
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture
def make_client(
    tmp_path: Path, tiny_model_folder: Path, tiny: TransformersEngine, easy_settings: Callable[..., Any]
) -> Iterator[Callable[[str], TestClient]]:
    """Serves a memory that has learned the lighthouse, with the answers of a vLLM server."""
    opened: list[TestClient] = []

    def make(url: str) -> TestClient:
        settings = easy_settings(engine={"name": "vllm", "url": url, "timeout": 60, "cache_dir": tmp_path / "cache"})
        pool = MemoryPool(tmp_path / "memory", model=str(tiny_model_folder), settings=settings, engine=tiny)
        with pool.memory("default") as memory:
            (seen,) = memory.observe(LIGHTHOUSE, session="monday")
            memory.add_quiz([(QUESTION, "Maud Ellery")], interaction_ids=[seen.id])
            assert memory.consolidate().version == 1
        app = make_app(pool, KeyStore(tmp_path / "memory"), limits=Limits(rate=0), train="asked", name="tiny")
        client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
        opened.append(client)
        return client.__enter__()

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def _chat(client: TestClient, text: str, **more: Any) -> httpx.Response:
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 12, **more}
    answer: httpx.Response = client.post("/v1/chat/completions", json=body)
    return answer


def _recorded(client: TestClient) -> set[str]:
    with client.app.state.server.pool.memory("default") as memory:  # type: ignore[attr-defined]
        return {i.text for i in memory.ledger.interactions()}


def test_chats_are_answered_by_the_server_behind(make_client: Callable[[str], TestClient], fake: Any) -> None:
    """Streamed and whole, several samples, log-probabilities; the model is ready when the server answers."""
    client = make_client(fake.url)
    until(lambda: client.get("/readyz").status_code == 200)
    options = {"seal_memory": {"mode": "weights"}, "n": 2, "logprobs": True, "top_logprobs": 2}
    whole = _chat(client, QUESTION, **options).json()
    assert whole["seal_memory"]["choices"][0]["shards"]
    assert len(whole["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2
    told = ["", ""]
    for line in _chat(client, QUESTION, **options, stream=True).text.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                told[choice["index"]] += choice["delta"].get("content") or ""
    assert told == [c["message"]["content"] for c in whole["choices"]]


def test_without_it_503_comes_at_once_and_what_was_said_is_kept(
    make_client: Callable[[str], TestClient], fake: Any
) -> None:
    """With a time to come back; observing works as ever; it is not ready; a chat too long is a 400 as ever."""
    client = make_client(fake.url)
    assert _chat(client, QUESTION).status_code == 200
    fake.stop()
    start = time.monotonic()
    answers = [_chat(client, f"The code of door {n} is K-{n}741.") for n in range(5)]
    assert time.monotonic() - start < 20
    assert {(a.status_code, a.headers["Retry-After"]) for a in answers} == {(503, "5")}
    assert {a.json()["error"]["code"] for a in answers} == {"engine_unavailable"}
    assert "127.0.0.1" not in answers[0].text
    assert _chat(client, QUESTION, max_tokens=5000).status_code == 400
    assert client.post("/v1/memory/observe", json={"text": "The kettle is in drawer 7."}).status_code == 200
    assert client.get("/readyz").status_code == 503
    kept = _recorded(client)
    assert {f"The code of door {n} is K-{n}741." for n in range(5)} | {"The kettle is in drawer 7."} <= kept


def test_killed_in_the_middle_it_loses_nothing(make_client: Callable[[str], TestClient], process: Process) -> None:
    """kill -9 while it answers many, three times: each is answered or sent away, all is recorded."""
    client = make_client(process.url)
    said: list[str] = []
    statuses: Counter[int] = Counter()
    stop = threading.Event()

    def talk(who: int) -> None:
        for n in range(10_000):
            if stop.is_set():
                return
            text = QUESTION + f" I am visitor {who}, and this is visit {n}."
            said.append(text)
            statuses[_chat(client, text, seal_memory={"mode": "weights"}).status_code] += 1
            time.sleep(0.02)

    threads = [threading.Thread(target=talk, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            good = statuses[200]
            until(lambda good=good: statuses[200] >= good + 4)
            refused = statuses[503]
            process.kill()
            until(lambda refused=refused: statuses[503] >= refused + 4)
            process.start()
        good = statuses[200]
        until(lambda: statuses[200] >= good + 4)
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)
    assert set(statuses) == {200, 503}
    assert set(said) <= _recorded(client)
    assert _chat(client, QUESTION, seal_memory={"mode": "weights"}).json()["seal_memory"]["choices"][0]["shards"]


def test_the_command_line_knows_the_engine(tmp_path: Path, fake: Any, tiny_model_folder: Path) -> None:
    """An address without the engine is a mistake, an engine without an address too; doctor tells what it finds."""
    run = CliRunner().invoke
    folder, model = ["--folder", str(tmp_path / "memory")], ["--model", str(tiny_model_folder)]
    assert "needs --engine vllm" in run(command_line, ["serve", *folder, "--engine-url", fake.url]).output
    assert "needed with engine.name=vllm" in run(command_line, ["serve", *folder, "--engine", "vllm"]).output
    chosen = [
        "--set",
        "engine.name=vllm",
        "--set",
        f"engine.url={fake.url}",
        "--set",
        f"engine.cache_dir={tmp_path / 'cache'}",
    ]
    found = json.loads(run(command_line, ["doctor", *folder, *model, *chosen, "--json"]).stdout.splitlines()[-1])
    assert found["engine"]["ok"], found
    assert (found["engine"]["model"], found["engine"]["most_adapters"]) == ("the-base", fake.max_loras - 1)
    fake.stop()
    found = json.loads(run(command_line, ["doctor", *folder, *model, *chosen, "--json"]).stdout.splitlines()[-1])
    assert not found["engine"]["ok"]
    assert any("start it, or check the setting engine.url" in p for p in found["problems"])
