"""A running vLLM server over HTTP: OpenAI's completions with token ids as prompts, greedy, to the last token.

Adapters are models of their own there, by the names they were loaded under. The server's prefix cache may know a prompt
from the warm-up: so it does in use. Not here: starting a server or loading adapters into it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from seal_memory.errors import InputError

TIMEOUT = 600.0  # seconds; a CPU server takes its time


class Server:
    """One server by its address, such as http://localhost:8000."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"--vllm-url is {url!r}; expected an address such as http://localhost:8000")
        self.url = url.rstrip("/").removesuffix("/v1")

    def base_model(self) -> str:
        """The name of what the server serves without an adapter."""
        models = self._json("/v1/models", None).get("data") or []
        bases = [m for m in models if not m.get("parent")]
        if not bases:
            raise InputError(f"{self.url} names no base model under /v1/models; is it a vLLM server?")
        return str(bases[0]["id"])

    def complete(self, prompts: Sequence[Sequence[int]], models: Sequence[str], *, max_tokens: int) -> int:
        """Continue every prompt under its model, all at once; returns how many tokens came."""
        groups: dict[str, list[list[int]]] = {}
        for prompt, model in zip(prompts, models, strict=True):
            groups.setdefault(model, []).append(list(prompt))
        with ThreadPoolExecutor(len(groups)) as pool:
            return sum(pool.map(lambda g: self._completed(g[0], g[1], max_tokens), groups.items()))

    def _completed(self, model: str, prompts: list[list[int]], max_tokens: int) -> int:
        asked = {
            "model": model,
            "prompt": prompts,
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "ignore_eos": True,
        }
        usage = self._json("/v1/completions", asked).get("usage") or {}
        if not isinstance(usage.get("completion_tokens"), int):
            raise InputError(f"{self.url}: the completion has no usage.completion_tokens; is it a vLLM server?")
        return int(usage["completion_tokens"])

    def _json(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                found = json.load(response)
        except (OSError, urllib.error.URLError, ValueError) as error:
            raise InputError(f"{self.url}{path} does not answer as a vLLM server would: {error}") from error
        if not isinstance(found, dict):
            raise InputError(f"{self.url}{path}: expected a JSON object in the answer")
        return found
