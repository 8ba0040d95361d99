"""Canned vLLM server: its HTTP API without a model, as a process that starts at once and can be killed.

It gives everyone the same answer. Usage: python tests/canned_vllm.py MODEL --port 8000
"""

from __future__ import annotations

import argparse
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

TOKENS = 12
SECONDS = 0.03  # a token


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(given.model / "tokenizer.json"))
    words = tokenizer.encode("The lighthouse at Korrin Bay was built", add_special_tokens=False).ids
    loaded: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            base = {"id": "the-base", "root": str(given.model), "max_model_len": 2048}
            models = {"data": [base, *({"id": n, "root": p, "parent": "the-base"} for n, p in loaded.items())]}
            metrics = 'vllm:lora_requests_info{max_lora="4"} 1\n'
            self._send(200, metrics if self.path == "/metrics" else models)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/tokenize":
                self._send(200, {"tokens": tokenizer.encode(body["prompt"], add_special_tokens=False).ids})
            elif self.path == "/v1/load_lora_adapter":
                loaded[body["lora_name"]] = body["lora_path"]
                self._send(200, {})
            elif self.path == "/v1/unload_lora_adapter":
                self._send(200 if loaded.pop(body["lora_name"], None) else 404, {})
            elif body["model"] in loaded:
                self._complete(body)
            else:
                self._send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})

        def _complete(self, body: dict[str, Any]) -> None:
            """As many tokens as were asked for, one by one where that is wanted."""
            ids = [words[n % len(words)] for n in range(min(TOKENS, body["max_tokens"]))]
            if not body.get("stream"):
                time.sleep(SECONDS * len(ids))
                self._send(200, {"choices": [_choice(ids, "length")]})
                return
            self.send_response(200)
            self.end_headers()
            for n, token in enumerate(ids):
                time.sleep(SECONDS)
                self._event(json.dumps({"choices": [_choice([token], "length" if n + 1 == len(ids) else None)]}))
            self._event("[DONE]")

        def _event(self, text: str) -> None:
            self.wfile.write(f"data: {text}\n\n".encode())
            self.wfile.flush()

        def _send(self, status: int, content: Any) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write((content if isinstance(content, str) else json.dumps(content)).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


def _choice(ids: list[int], finish: str | None) -> dict[str, Any]:
    logprobs = {"tokens": [f"token_id:{i}" for i in ids], "token_logprobs": [-0.1] * len(ids)}
    return {"index": 0, "text": "", "logprobs": logprobs, "finish_reason": finish}


if __name__ == "__main__":
    main()
