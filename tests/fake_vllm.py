"""Fake vLLM server: its HTTP API over the tiny model, with its traps, in threads of this process.

Like the real one (0.32, on a CPU) it keeps adapters in its slots after they are unloaded, answers for the base with the
adapter in the last slot once all slots were ever filled, keeps results computed under a name although the name was
loaded anew, takes sampling options from the model's folder where the request names none, and shows --max-loras in its
metrics only after its first computation.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from seal_memory.engines.decode import generate
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.sampling import Sampling
from seal_memory.errors import SealMemoryError
from seal_memory.lora import peft_files
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.peft_files import CONFIG_FILE

BASE = "the-base"


class Refusal(Exception):
    """An answer that is an error: status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class FakeVllm:
    """A server in threads of this process; `url` is where. `stop` lets go of the port, as a killed server does."""

    def __init__(self, engine: TransformersEngine, folder: Path, *, port: int = 0, max_loras: int = 4) -> None:
        self.engine, self.folder, self.max_loras = engine, folder, max_loras
        self.loaded: OrderedDict[str, str] = OrderedDict()  # name -> folder
        self.most_loaded = 0
        self.asked: list[tuple[str, dict[str, Any]]] = []  # (path, body)
        self.before: Callable[[str, dict[str, Any]], None] = lambda path, body: None  # a test's own trouble
        self.tokens_seconds = 0.0  # how long a streamed token takes
        self.key: str | None = None
        self._computed = False
        self._first: dict[str, LoraAdapter] = {}  # by name: what its prefix cache was made with
        self._slots: OrderedDict[str, LoraAdapter] = OrderedDict()
        self._places: dict[str, int] = {}
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", port), _handler(self))
        self.port = int(self._http.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._http.cut()
        self._thread.join()

    def again(self) -> FakeVllm:
        """A new server at the same address, which knows no adapter."""
        return FakeVllm(self.engine, self.folder, port=self.port, max_loras=self.max_loras)

    # -- verbs ------------------------------------------------------------------------------------

    def models(self) -> dict[str, Any]:
        base = {"id": BASE, "object": "model", "root": str(self.folder), "parent": None, "max_model_len": 2048}
        loras = [{"id": n, "object": "model", "root": p, "parent": BASE} for n, p in list(self.loaded.items())]
        return {"object": "list", "data": [base, *loras]}

    def metrics(self) -> str:
        told = f'vllm:lora_requests_info{{max_lora="{self.max_loras}",running_lora_adapters="",waiting=""}} 1.7e+09\n'
        return "# HELP vllm:lora_requests_info Running stats on lora requests.\n" + (told if self._computed else "")

    def load(self, body: dict[str, Any]) -> str:
        name, folder = body["lora_name"], Path(body["lora_path"])
        with self._lock:
            if name in self.loaded:
                raise Refusal(400, f"The lora adapter '{name}' has already been loaded. If you want to load ...")
            if not (folder / CONFIG_FILE).is_file():
                raise Refusal(404, f"Loading lora {name} failed: No adapter found for {folder}")
            adapter = self._read(folder)
            if adapter.config.rank > 32:
                raise Refusal(500, f"LoRA rank {adapter.config.rank} is greater than max_lora_rank 32.")
            self._first.setdefault(name, adapter)
            self._activate(name)
            self.loaded[name] = str(folder)
            self.most_loaded = max(self.most_loaded, len(self.loaded))
        return f"Success: LoRA adapter '{name}' added successfully."

    def _read(self, folder: Path) -> LoraAdapter:
        """Any PEFT adapter, also one of a single layer."""
        files = peft_files.read_bytes(folder)
        length = int.from_bytes(files.tensors[:8], "little")
        header = json.loads(files.tensors[8 : 8 + length])
        names = {k.removeprefix("base_model.model.").rsplit(".lora_", 1)[0] for k in header if k != "__metadata__"}

        def shapes(targets: Any) -> dict[str, tuple[int, int]]:
            return {n: s for n, s in self.engine.stack.shapes(targets).items() if n in names}

        return peft_files.decode(files, where=str(folder), shapes=shapes)

    def _activate(self, name: str) -> None:
        """Least recently used out, into the first free slot: as `LRUCacheLoRAModelManager` does it."""
        if name not in self._slots:
            if len(self._slots) >= self.max_loras:
                gone, _ = self._slots.popitem(last=False)
                del self._places[gone]
            self._slots[name] = self._first[name]
            self._places[name] = min(set(range(self.max_loras)) - set(self._places.values()))
        self._slots.move_to_end(name)

    def unload(self, body: dict[str, Any]) -> str:
        with self._lock:
            if body["lora_name"] not in self.loaded:
                raise Refusal(404, f"The lora adapter '{body['lora_name']}' cannot be found.")
            del self.loaded[body["lora_name"]]
        return "Success"

    def adapter(self, model: str) -> LoraAdapter | None:
        """What really answers for a name."""
        with self._lock:
            if model == BASE:
                last = next((n for n, place in self._places.items() if place == self.max_loras - 1), None)
                return self._slots[last] if last is not None else None
            if model not in self.loaded:
                raise Refusal(404, f"The model `{model}` does not exist.")
            self._activate(model)
            return self._slots[model]

    def prompt_logprobs(self, adapter: LoraAdapter | None, ids: list[int]) -> list[dict[str, Any] | None]:
        with self.engine.lock, torch.inference_mode(), self.engine.stack.rows([adapter]):
            logprobs = self.engine.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        found = [{str(i): {"logprob": float(logprobs[t, i]), "rank": 1}} for t, i in enumerate(ids[1:])]
        return [None, *found]

    def tokens(self, body: dict[str, Any]) -> Iterator[tuple[int, float, dict[int, float], str | None]]:
        """(token, log-probability, likeliest, how it ended) of a completion."""
        adapter, stops = self.adapter(body["model"]), frozenset(body.get("stop_token_ids") or ())
        made: list[int] = []

        def on_token(_: int, token: int) -> bool:
            made.append(token)
            text = self.engine.tokenizer.decode(made, skip_special_tokens=True)
            return any(s in text for s in body.get("stop") or ())

        form = (body.get("structured_outputs") or {}).get("json")
        sampling = Sampling(
            temperature=body.get("temperature", 1.0),
            top_k=body.get("top_k") or 10_000,
            seed=(body.get("seed") or 0) % 2**63,
            top_p=body.get("top_p", 1.0),
        )
        with self.engine.lock:
            (done,) = generate(
                self.engine.stack, [body["prompt"]], [adapter], max_new_tokens=body["max_tokens"], stop_ids=stops,
                pad_id=self.engine.pad_id, sampling=sampling, on_token=on_token, top=max(1, body.get("logprobs") or 0),
                matchers=[None if form is None else self.engine.schemas.matcher(form)],
            )  # fmt: skip
        self._computed = True
        ended = len(done.logprobs) > len(done.ids)
        ids = [*done.ids, min(stops)] if ended else list(done.ids)
        for n, token in enumerate(ids):
            last = n + 1 == len(ids)
            finish = None if not last else "stop" if done.stopped else "length"
            top = dict(done.top[n][: body.get("logprobs") or 0]) | {token: done.logprobs[n]}
            yield token, done.logprobs[n], top, finish


def _choice(tokens: list[tuple[int, float, dict[int, float], str | None]]) -> dict[str, Any]:
    logprobs = {
        "tokens": [f"token_id:{t}" for t, *_ in tokens],
        "token_logprobs": [x for _, x, *_ in tokens],
        "top_logprobs": [{f"token_id:{i}": v for i, v in top.items()} for *_, top, _ in tokens],
    }
    return {"index": 0, "text": "", "logprobs": logprobs, "finish_reason": tokens[-1][3] if tokens else "length"}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open: set[Any] = set()

    def cut(self) -> None:
        """Break off what is being answered."""
        for connection in list(self.open):
            try:
                connection.shutdown(2)
            except OSError:  # gone already
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def _handler(fake: FakeVllm) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.server.open.add(self.connection)  # type: ignore[attr-defined]

        def finish(self) -> None:
            self.server.open.discard(self.connection)  # type: ignore[attr-defined]
            super().finish()

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            fake.asked.append((self.path, body))
            try:
                if fake.key is not None and self.headers.get("Authorization") != f"Bearer {fake.key}":
                    raise Refusal(401, "Unauthorized")
                fake.before(self.path, body)
                self._route(body)
            except Refusal as refusal:
                self._send(refusal.status, {"error": {"message": refusal.message, "code": refusal.status}})
            except SealMemoryError as error:
                self._send(500, {"error": {"message": str(error), "code": 500}})

        def _route(self, body: dict[str, Any]) -> None:
            if self.path == "/v1/completions":
                self._complete(body)
            elif self.path == "/tokenize":
                ids = fake.engine.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
                self._send(200, {"tokens": list(ids), "count": len(ids), "max_model_len": 2048})
            else:
                verbs: dict[str, Callable[[], Any]] = {
                    "/health": lambda: "",
                    "/metrics": fake.metrics,
                    "/v1/models": fake.models,
                    "/v1/load_lora_adapter": lambda: fake.load(body),
                    "/v1/unload_lora_adapter": lambda: fake.unload(body),
                }
                if self.path not in verbs:
                    raise Refusal(404, "Not Found")
                self._send(200, verbs[self.path]())

        def _complete(self, body: dict[str, Any]) -> None:
            if len(body["prompt"]) + body["max_tokens"] > 2048:
                raise Refusal(400, "This model's maximum context length is 2048 tokens.")
            if "prompt_logprobs" in body:
                found = fake.prompt_logprobs(fake.adapter(body["model"]), body["prompt"])
                self._send(200, {"choices": [{"index": 0, "text": "", "prompt_logprobs": found}]})
                return
            tokens = list(fake.tokens(body))
            if not body.get("stream"):
                self._send(200, {"choices": [_choice(tokens)], "usage": {"completion_tokens": len(tokens)}})
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for token in tokens:
                self._event(json.dumps({"choices": [_choice([token])]}))
                time.sleep(fake.tokens_seconds)
            self._event("[DONE]")
            self.close_connection = True

        def _event(self, text: str) -> None:
            self.wfile.write(f"data: {text}\n\n".encode())
            self.wfile.flush()

        def _send(self, status: int, content: Any) -> None:
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler
