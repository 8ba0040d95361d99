"""Cache of the untouched base's scores and greedy answers: its weights never change.

`score` and `complete` take what the engine's methods take. Requests without an adapter are looked up by content; misses
go to the engine in one batch, each question once. Requests with an adapter form a batch of their own, so that their
rounding does not depend on the cache's content. The cache lives in memory as long as the engine. Not here: sampled
answers, and answers under adapters (a candidate is asked once and dropped).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from seal_memory.engines.base import Completion, Engine, Prompt, Score

MAX_SCORES = 20_000
MAX_COMPLETIONS = 4_096

V = TypeVar("V")


def score(engine: Engine, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
    """`engine.score(requests)`, the base's scores cached."""
    keys = [_key(prompt, target) for prompt, target in requests]
    return _through_cache(_cache_of(engine).scores, keys, lambda places: engine.score([requests[n] for n in places]))


def complete(engine: Engine, prompts: Sequence[Prompt], *, max_tokens: int) -> list[Completion]:
    """`engine.complete(prompts, max_tokens=max_tokens)`, greedy, the base's answers cached."""
    keys = [_key(prompt, max_tokens) for prompt in prompts]

    def compute(places: Sequence[int]) -> list[Completion]:
        return engine.complete([prompts[n] for n in places], max_tokens=max_tokens)

    return _through_cache(_cache_of(engine).completions, keys, compute)


class LruCache(Generic[V]):
    """Thread-safe cache of at most `size` values; evicts the least recently used."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[bytes, V] = OrderedDict()

    def find(self, keys: Iterable[bytes]) -> dict[bytes, V]:
        """The cached values of these keys, which become the most recently used."""
        with self._lock:
            found = {key: self._values[key] for key in keys if key in self._values}
            for key in found:
                self._values.move_to_end(key)
            return found

    def add(self, values: Mapping[bytes, V]) -> None:
        with self._lock:
            self._values.update(values)
            while len(self._values) > self.size:
                self._values.popitem(last=False)


class _BaseCache:
    """One engine's cached scores and completions."""

    def __init__(self) -> None:
        self.scores: LruCache[Score] = LruCache(MAX_SCORES)
        self.completions: LruCache[Completion] = LruCache(MAX_COMPLETIONS)


# Keyed by engine, not by model fingerprint: the same files in another precision give other values.
_engines: WeakKeyDictionary[Engine, _BaseCache] = WeakKeyDictionary()
_engines_lock = threading.Lock()


def _cache_of(engine: Engine) -> _BaseCache:
    with _engines_lock:
        return _engines.setdefault(engine, _BaseCache())


def _key(prompt: Prompt, argument: str | int) -> bytes | None:
    """SHA-256 of a request, so that no forgotten question stays in memory; None for a request that is not cached."""
    if prompt.adapter is not None:
        return None
    content = json.dumps([[dict(m) for m in prompt.messages], prompt.raw, list(prompt.tools), argument], sort_keys=True)
    return hashlib.sha256(content.encode()).digest()


def _through_cache(
    cache: LruCache[V], keys: Sequence[bytes | None], compute: Callable[[Sequence[int]], list[V]]
) -> list[V]:
    """Values in the order of `keys`: cached, or computed and cached; those without a key are always computed."""
    uncached = [n for n, key in enumerate(keys) if key is None]
    first: dict[bytes, int] = {}
    for n, key in enumerate(keys):
        if key is not None:
            first.setdefault(key, n)
    known = cache.find(first)
    missing = {key: n for key, n in first.items() if key not in known}
    values = dict(zip(uncached, compute(uncached), strict=True)) if uncached else {}
    if missing:
        fresh = dict(zip(missing, compute(list(missing.values())), strict=True))
        cache.add(fresh)
        known |= fresh
    return [values[n] if key is None else known[key] for n, key in enumerate(keys)]
