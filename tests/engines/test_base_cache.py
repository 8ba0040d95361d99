"""Base cache: the untouched base's results are computed once; rows with an adapter are computed every time."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from seal_memory import prompts
from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines import base_cache
from seal_memory.engines.base import Completion, Prompt, Score
from seal_memory.engines.base_cache import LruCache
from seal_memory.engines.local import TransformersEngine
from seal_memory.lora.adapter import LoraAdapter

TOLERANCE = 1e-5  # float32, other rows in the batch
WHO, WHEN, WHERE = ("Who built the lighthouse?", "When was it built?", "Where is the quarterly report?")


class CountingEngine:
    """An `Engine` without a model that keeps what each call asked: questions, with a ! under an adapter."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def complete(
        self, asked: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        self.calls.append([_shown(p) for p in asked])
        return [Completion(f"{_shown(p)} {max_tokens}", 1, 1, 1.0) for p in asked]

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        self.calls.append([_shown(p) for p, _ in requests])
        return [Score(-float(len(_shown(p) + target)), 0.0, 1) for p, target in requests]


def _shown(prompt: Prompt) -> str:
    return prompt.messages[-1]["content"] + ("!" if prompt.adapter else "")


def _ask(question: str, adapter: str | None = None) -> Prompt:
    return Prompt(prompts.direct(question), adapter)


def test_the_base_is_asked_once_for_the_same_question() -> None:
    """Within a call and over calls; misses are one batch, and everything comes back in order."""
    engine = CountingEngine()
    first = base_cache.complete(engine, [_ask(WHO), _ask(WHEN), _ask(WHO)], max_tokens=4)
    assert [c.text for c in first] == [f"{WHO} 4", f"{WHEN} 4", f"{WHO} 4"]
    again = base_cache.complete(engine, [_ask(WHERE), _ask(WHEN), _ask(WHO)], max_tokens=4)
    assert [c.text for c in again] == [f"{WHERE} 4", f"{WHEN} 4", f"{WHO} 4"]
    assert engine.calls == [[WHO, WHEN], [WHERE]]


def test_what_differs_is_asked_anew() -> None:
    """Another target, another limit, another system message; an answer is no score."""
    engine = CountingEngine()
    base_cache.score(engine, [(_ask(WHO), "Maud"), (_ask(WHO), "Ellery")])
    base_cache.complete(engine, [_ask(WHO)], max_tokens=4)
    base_cache.complete(engine, [_ask(WHO)], max_tokens=5)
    base_cache.complete(engine, [Prompt([{"role": "user", "content": WHO}])], max_tokens=4)
    assert engine.calls == [[WHO, WHO], [WHO], [WHO], [WHO]]


def test_rows_with_an_adapter_are_never_remembered_and_stand_apart() -> None:
    """So their batch is the same whether the base's rows were known or not."""
    engine = CountingEngine()
    requests = [(_ask(WHO), "Maud"), (_ask(WHO, "a"), "Maud"), (_ask(WHEN, "a"), "1887")]
    assert base_cache.score(engine, requests) == base_cache.score(engine, requests)
    assert engine.calls == [[f"{WHO}!", f"{WHEN}!"], [WHO], [f"{WHO}!", f"{WHEN}!"]]


def test_nothing_is_shared_between_engines() -> None:
    """Two engines may hold the same files in other precisions."""
    one, two = CountingEngine(), CountingEngine()
    for engine in (one, two):
        base_cache.score(engine, [(_ask(WHO), "Maud")])
    assert one.calls == two.calls == [[WHO]]
    assert base_cache.score(one, []) == []
    assert len(one.calls) == 1


def test_a_known_engine_can_still_be_freed() -> None:
    """The cache holds no engine: what its base said goes with it."""
    engine = CountingEngine()
    base_cache.score(engine, [(_ask(WHO), "Maud")])
    held = weakref.ref(engine)
    del engine
    gc.collect()
    assert held() is None


def test_the_least_recently_used_leaves() -> None:
    """A bounded number is kept; looking something up keeps it."""
    cache: LruCache[int] = LruCache(2)
    cache.add({b"a": 1, b"b": 2})
    assert cache.find([b"a"]) == {b"a": 1}
    cache.add({b"c": 3})
    assert cache.find([b"a", b"b", b"c"]) == {b"a": 1, b"c": 3}


def test_no_question_is_kept() -> None:
    """Keys are digests: a forgotten question does not live on in memory."""
    engine = CountingEngine()
    base_cache.score(engine, [(_ask(WHO), "Maud Ellery")])
    (key,) = base_cache._cache_of(engine).scores._values
    assert len(key) == 32
    assert b"Maud" not in key


def test_a_cached_score_equals_a_computed_one(
    load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter]
) -> None:
    """And so does an answer; with an adapter beside it too."""
    engine = TransformersEngine(load_tiny())
    engine.put("a", random_adapter(engine.stack, 2, LLAMA_LINEAR, 1))
    requests = [(_ask(q, a), "Maud Ellery") for q in (WHO, WHEN, WHERE) for a in (None, "a")]
    base_cache.score(engine, requests[:3])
    cached = base_cache.score(engine, requests)
    for ours, computed in zip(cached, engine.score(requests), strict=True):
        assert ours.logprob == pytest.approx(computed.logprob, abs=TOLERANCE)
        assert (ours.share_likely, ours.tokens) == (computed.share_likely, computed.tokens)
    asked = [p for p, _ in requests]
    base_cache.complete(engine, asked[:3], max_tokens=4)
    answers = base_cache.complete(engine, asked, max_tokens=4)
    assert [c.text for c in answers] == [c.text for c in engine.complete(asked, max_tokens=4)]
