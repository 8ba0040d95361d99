"""Both engines over the same model and adapters; a stand-in for a vLLM server, and a real one where it is installed."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.base import Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.vllm.blank import Blank
from seal_memory.engines.vllm.engine import VllmEngine
from seal_memory.lora.store import AdapterStore

ROOT = Path(__file__).resolve().parents[2]
VLLM = Path(os.environ.get("SEAL_MEMORY_TEST_VLLM") or "none set")  # read before it is cleared
STARTING = 600.0  # seconds that a real server may take
SLOTS = 4


class FolderSource:
    """An `AdapterSource` over one adapter store; `found` are the ids that were asked for."""

    def __init__(self, store: AdapterStore) -> None:
        self.store = store
        self.found: list[str] = []

    def find(self, adapter_id: str) -> str:
        from seal_memory.errors import UnknownIdError

        self.found.append(adapter_id)
        if adapter_id not in self.store.ids():
            raise UnknownIdError(adapter_id)
        return str(self.store.folder(adapter_id).resolve())

    def store_blank(self, blank: Blank) -> str:
        folder = self.store.root / "blank"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_config.json").write_bytes(blank.config)
        (folder / "adapter_model.safetensors").write_bytes(blank.tensors)
        return str(folder.resolve())


@pytest.fixture(scope="session")
def make_source() -> Callable[[AdapterStore], FolderSource]:
    return FolderSource


@dataclass(frozen=True)
class Pair:
    """An engine, and the same model to compare it with in the plainest way; `adapters` are ids of both."""

    engine: Any
    plain: TransformersEngine
    adapters: tuple[str, ...]
    tolerance: float

    def logprobs(self, adapter: str | None, ids: list[int], start: int) -> list[float]:
        """One row, the whole model, log-softmax over everything."""
        with torch.inference_mode(), self.plain.stack.rows([self.plain.adapter(adapter)]):
            logprobs = self.plain.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
        return [float(logprobs[t - 1, ids[t]]) for t in range(start, len(ids))]

    def greedy(self, prompt: Prompt, tokens: int) -> tuple[list[int], list[float]]:
        """The likeliest token, again and again, and their log-probabilities; ends with a stop token."""
        ids, made, logprobs = self.plain.encode(prompt), [], []
        with torch.inference_mode(), self.plain.stack.rows([self.plain.adapter(prompt.adapter)]):
            for _ in range(tokens):
                row = self.plain.model(input_ids=torch.tensor([[*ids, *made]])).logits[0, -1].float().log_softmax(-1)
                token = int(row.argmax())
                logprobs.append(float(row[token]))
                if token in self.plain.stop_ids:
                    break
                made.append(token)
        return made, logprobs


@pytest.fixture(scope="session")
def fake_module() -> Any:
    """tests/fake_vllm.py, which is no test."""
    spec = importlib.util.spec_from_file_location("fake_vllm", ROOT / "tests" / "fake_vllm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_vllm"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny(load_tiny: Callable[[], Any]) -> TransformersEngine:
    """The tiny model behind the stand-in."""
    return TransformersEngine(load_tiny())


@pytest.fixture
def fake(fake_module: Any, tiny: TransformersEngine, tiny_model_folder: Path) -> Iterator[Any]:
    """A stand-in with four slots."""
    made = fake_module.FakeVllm(tiny, tiny_model_folder, max_loras=SLOTS)
    yield made
    made.stop()


@pytest.fixture
def vllm_engine(fake: Any, tiny_model_folder: Path, tmp_path: Path) -> Iterator[VllmEngine]:
    """An engine over the stand-in; no adapters yet."""
    engine = VllmEngine(fake.url, str(tiny_model_folder), cache_dir=tmp_path / "cache", timeout=60.0)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def store_adapters(random_adapter: Callable[..., Any]) -> Callable[..., tuple[str, ...]]:
    """Writes random adapters for an engine into a store, and puts them into the engine; their ids."""

    def make(engine: TransformersEngine, store: AdapterStore, count: int, *, size: float = 0.3) -> tuple[str, ...]:
        ids = []
        for n in range(count):
            targets = LLAMA_LINEAR if n % 2 == 0 else ("q_proj", "down_proj")
            adapter = random_adapter(engine.stack, 4 + 4 * (n % 2), targets, 11 + n, size=size)
            stored = store.write(adapter, base_model="it", base_fingerprint=engine.fingerprint)
            engine.put(stored.id, adapter)
            ids.append(stored.id)
        return tuple(ids)

    return make


@dataclass
class RealServer:
    """A vLLM server of its own processes."""

    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "seal_memory.engines.vllm.launcher", "--python", str(VLLM)]
        command += ["--port", str(self.port), "--max-loras", str(SLOTS), "--max-rank", "8"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SEAL_MEMORY_TEST")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        end = time.monotonic() + STARTING
        while not self.answers():
            assert self.process.poll() is None, f"vLLM ended: {self.log.read_text(errors='replace')[-3000:]}"
            assert time.monotonic() < end, "vLLM did not start"
            time.sleep(0.5)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5.0, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL to the server and the processes it made."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def unused_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A real vLLM server with the default model. Slower than all other tests together: only by `make test-vllm`."""
    if not VLLM.is_file():
        pytest.skip("against a real server: make test-vllm (SEAL_MEMORY_TEST_VLLM names a Python that has vLLM)")
    server = RealServer(free_port(), tmp_path_factory.mktemp("vllm") / "log.txt")
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def real_plain() -> TransformersEngine:
    """The default model in this process, in float32 as on the server."""
    from seal_memory.engines.hardware import Hardware
    from seal_memory.engines.models import DEFAULT_MODEL, load, resolve

    return TransformersEngine(load(resolve(DEFAULT_MODEL), Hardware("cpu", "float32", 1, "for the test")))


@pytest.fixture(scope="session")
def pairs(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    store_adapters: Callable[..., tuple[str, ...]],
) -> Iterator[Callable[[str], Pair]]:
    """Makes the engine to test by its name: local, stand-in or vllm."""
    made: dict[str, Pair] = {}
    with ExitStack() as stack:

        def over(url: str, model: str, plain: TransformersEngine, *, size: float, tolerance: float) -> Pair:
            folder = tmp_path_factory.mktemp("adapters")
            store = AdapterStore(folder / "default")
            ids = store_adapters(plain, store, 5, size=size)
            engine = VllmEngine(url, model, timeout=600.0)
            stack.callback(engine.close)
            engine.add_source(FolderSource(store))
            return Pair(engine, plain, ids, tolerance)

        def make(name: str) -> Pair:
            if name in made:
                return made[name]
            if name == "vllm":
                server = request.getfixturevalue("real_server")
                plain = request.getfixturevalue("real_plain")
                made[name] = over(server.url, "smollm2-135m", plain, size=0.1, tolerance=5e-4)
            elif name == "stand-in":
                plain, folder = request.getfixturevalue("tiny"), request.getfixturevalue("tiny_model_folder")
                fake = request.getfixturevalue("fake_module").FakeVllm(plain, folder, max_loras=SLOTS)
                stack.callback(fake.stop)
                made[name] = over(fake.url, str(folder), plain, size=0.3, tolerance=1e-4)
            else:
                plain = TransformersEngine(request.getfixturevalue("load_tiny")())
                store = AdapterStore(tmp_path_factory.mktemp("adapters") / "default")
                made[name] = Pair(plain, plain, store_adapters(plain, store, 5), 1e-4)
            return made[name]

        yield make
