"""Load clients: send chats to a running server and measure latency.

Not here: starting the server and filling its memory (`bench`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2

TIMEOUT = 600.0  # seconds; a request that waits longer is a failure


@dataclass(frozen=True, slots=True)
class Load:
    """The result of `clients` clients asking without pause; seconds of whole requests."""

    clients: int
    requests: int
    failed: int
    per_second: float
    mean_seconds: float
    p50_seconds: float
    p95_seconds: float
    longest_seconds: float


def measure(address: str, model: str, questions: Sequence[str], *, clients: int, requests: int, tokens: int) -> Load:
    """Send `requests` chats, at most `clients` of them at a time."""
    seconds: list[float] = []
    failed = 0
    lock = threading.Lock()
    limits = httpx2.Limits(max_connections=clients)
    with httpx2.Client(base_url=address, timeout=TIMEOUT, limits=limits) as http:

        def one(n: int) -> None:
            nonlocal failed
            body = chat(model, questions[n % len(questions)], tokens)
            began = time.perf_counter()
            status = http.post("/v1/chat/completions", json=body).status_code
            took = time.perf_counter() - began
            with lock:
                seconds.append(took)
                failed += status != 200

        began = time.perf_counter()
        with ThreadPoolExecutor(clients) as threads:
            list(threads.map(one, range(requests)))
        whole = time.perf_counter() - began
    return _figures(clients, sorted(seconds), failed, whole)


def _figures(clients: int, ordered: Sequence[float], failed: int, whole: float) -> Load:
    return Load(
        clients,
        len(ordered),
        failed,
        len(ordered) / whole,
        sum(ordered) / len(ordered),
        percentile(ordered, 0.5),
        percentile(ordered, 0.95),
        ordered[-1],
    )


def chat(model: str, question: str, tokens: int) -> dict[str, object]:
    """A chat request that records nothing, so that the memory stays the same."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": tokens,
        "seal_memory": {"observe": False, "mode": "weights"},
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
