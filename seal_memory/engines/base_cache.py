"""The untouched base's own scores and greedy answers, computed once: its weights never change.

`score` and `complete` do what the engine's verbs do. Requests without an adapter are looked up by content, and what
is not known goes to the engine in one batch, each question once. Requests with an adapter are a batch of their own:
what they are computed with, and with it their rounding, does not depend on what is known already. Kept in memory, as
long as the engine lives. Not here: sampled answers, adapters (a candidate is asked once and dropped).
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
    """`engine.score(requests)`, with the base's scores remembered."""
    keys = [_key(prompt, target) for prompt, target in requests]
    return _through(_known(engine).scores, keys, lambda places: engine.score([requests[n] for n in places]))


def complete(engine: Engine, prompts: Sequence[Prompt], *, max_tokens: int) -> list[Completion]:
    """`engine.complete(prompts, max_tokens=max_tokens)`, greedy, with the base's answers remembered."""
    keys = [_key(prompt, max_tokens) for prompt in prompts]

    def compute(places: Sequence[int]) -> list[Completion]:
        return engine.complete([prompts[n] for n in places], max_tokens=max_tokens)

    return _through(_known(engine).completions, keys, compute)


class Recent(Generic[V]):
    """At most `size` values by key; the least recently used leave."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[bytes, V] = OrderedDict()

    def find(self, keys: Iterable[bytes]) -> dict[bytes, V]:
        """Those of the keys that are known, which are now the most recently used."""
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


class _Known:
    """What one engine's base has said so far."""

    def __init__(self) -> None:
        self.scores: Recent[Score] = Recent(MAX_SCORES)
        self.completions: Recent[Completion] = Recent(MAX_COMPLETIONS)


# By the engine itself, not by its model's fingerprint: the same files in another precision answer otherwise.
_engines: WeakKeyDictionary[Engine, _Known] = WeakKeyDictionary()
_engines_lock = threading.Lock()


def _known(engine: Engine) -> _Known:
    with _engines_lock:
        return _engines.setdefault(engine, _Known())


def _key(prompt: Prompt, asked: str | int) -> bytes | None:
    """A digest, so that no question is kept that somebody may forget; None for what is not remembered."""
    if prompt.adapter is not None:
        return None
    content = json.dumps([[dict(m) for m in prompt.messages], prompt.raw, list(prompt.tools), asked], sort_keys=True)
    return hashlib.sha256(content.encode()).digest()


def _through(recent: Recent[V], keys: Sequence[bytes | None], compute: Callable[[Sequence[int]], list[V]]) -> list[V]:
    """The value of every place: without a key computed, with one remembered, or computed and remembered."""
    alone = [n for n, key in enumerate(keys) if key is None]
    first: dict[bytes, int] = {}
    for n, key in enumerate(keys):
        if key is not None:
            first.setdefault(key, n)
    known = recent.find(first)
    missing = {key: n for key, n in first.items() if key not in known}
    values = dict(zip(alone, compute(alone), strict=True)) if alone else {}
    if missing:
        fresh = dict(zip(missing, compute(list(missing.values())), strict=True))
        recent.add(fresh)
        known |= fresh
    return [values[n] if key is None else known[key] for n, key in enumerate(keys)]
