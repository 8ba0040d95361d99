"""Dynamic batching: the same answers as alone, in fewer batches; one bad request does not fail the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.base import ChatEngine, Completion, Decoding, Prompt
from seal_memory.engines.batching import MAX_ROWS, DynamicBatcher, batcher_of
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import AdapterError, InputError
from seal_memory.lora.adapter import LoraAdapter

QUESTIONS = ["Who built it?", "Korrin Bay?", "Which colour is the new logo? Please say it in a few words.", "When?"]
PROMPTS = [Prompt([{"role": "user", "content": q}], a) for q in QUESTIONS for a in (None, "one")]


@pytest.fixture(scope="module")
def engine(load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter]) -> TransformersEngine:
    engine = TransformersEngine(load_tiny())
    engine.put("one", random_adapter(engine.stack, 4, LLAMA_LINEAR, 1))
    return engine


@pytest.fixture
def batches(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that the engine makes."""
    sizes: list[int] = []
    talk = engine.talk

    def counted(prompts: Sequence[Prompt], *args: Any, **options: Any) -> list[Completion]:
        sizes.append(len(prompts))
        return talk(prompts, *args, **options)

    monkeypatch.setattr(engine, "talk", counted)
    return sizes


def at_once(engine: TransformersEngine, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make all calls while the model is held, and let it go when all wait; results or exceptions, in order."""
    results: list[Any] = [None] * len(calls)

    def one(n: int) -> None:
        try:
            results[n] = calls[n]()
        except Exception as error:  # noqa: BLE001 (compared by the test)
            results[n] = error

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(calls))]
    with engine.lock:
        for thread in threads:
            thread.start()
        end = time.monotonic() + 60
        while engine.lock._waiting_ahead < len(calls) and time.monotonic() < end:
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    return results


def test_an_engine_has_one_place_to_meet(engine: TransformersEngine) -> None:
    assert batcher_of(engine) is batcher_of(engine)
    assert isinstance(batcher_of(engine), ChatEngine)
    assert batcher_of(engine).talk([], Decoding(3)) == []


def test_who_waits_at_the_same_time_shares_a_batch(engine: TransformersEngine, batches: list[int]) -> None:
    """Law: each gets what it would get alone, text, numbers and pieces."""
    alone = [engine.talk([p], Decoding(8))[0] for p in PROMPTS]
    batches.clear()
    joined = DynamicBatcher(engine)
    told = [""] * len(PROMPTS)

    def call(n: int) -> Completion:
        def listen(row: int, piece: str) -> None:
            assert row == 0
            told[n] += piece

        return joined.talk([PROMPTS[n]], Decoding(8), on_text=listen if n % 2 else None)[0]

    found = at_once(engine, [lambda n=n: call(n) for n in range(len(PROMPTS))])
    assert [(c.text, c.generated_tokens, c.finish) for c in found] == [
        (c.text, c.generated_tokens, c.finish) for c in alone
    ]
    assert [c.confidence for c in found] == pytest.approx([c.confidence for c in alone], abs=1e-5)
    assert told[1::2] == [c.text for c in found[1::2]]
    assert batches == [len(PROMPTS)]


def test_what_differs_stays_apart(engine: TransformersEngine, batches: list[int]) -> None:
    """Other limits, stop strings and temperatures; and a batch does not grow over its limit."""
    joined = DynamicBatcher(engine)
    ways = [Decoding(3), Decoding(4), Decoding(3, stop=("x",)), Decoding(3, temperature=1.0), Decoding(3)]
    at_once(engine, [lambda w=w: joined.talk(PROMPTS[:1], w) for w in ways])
    assert sorted(batches) == [1, 1, 1, 2]
    batches.clear()
    large = [PROMPTS[0]] * (MAX_ROWS - 1)
    at_once(engine, [lambda: joined.talk(large, Decoding(1)), lambda: joined.talk(PROMPTS[:2], Decoding(1))])
    assert sorted(batches) == [2, MAX_ROWS - 1]


def test_who_samples_draws_as_if_alone(engine: TransformersEngine, batches: list[int]) -> None:
    """Samples of other prompts share a batch; copies of one prompt, whose draws follow from their order, do not."""
    joined, way = DynamicBatcher(engine), Decoding(6, temperature=1.2, seed=3)
    alone = [engine.talk([p, p], way) for p in PROMPTS[:4]]
    batches.clear()
    calls = [[p, p] for p in [*PROMPTS[:4], PROMPTS[0]]]
    found = at_once(engine, [lambda c=c: joined.talk(c, way) for c in calls])
    assert [[c.text for c in own] for own in found] == [[c.text for c in own] for own in [*alone, alone[0]]]
    assert sorted(batches) == [2, 8]


def test_one_listener_that_leaves_ends_its_own_answer(engine: TransformersEngine) -> None:
    """The others are answered; when all have left, the batch ends."""
    joined = DynamicBatcher(engine)
    whole = engine.talk(PROMPTS[:1], Decoding(8))

    def gone(row: int, piece: str) -> None:
        raise ConnectionError

    first, second = at_once(
        engine,
        [
            lambda: joined.talk(PROMPTS[1:2], Decoding(8), on_text=gone),
            lambda: joined.talk(PROMPTS[:1], Decoding(8), on_text=lambda row, piece: None),
        ],
    )
    assert isinstance(first, ConnectionError)
    assert [c.text for c in second] == [c.text for c in whole]
    with pytest.raises(ConnectionError):
        joined.talk(PROMPTS[:1], Decoding(8), on_text=gone)


def test_one_that_cannot_be_answered_does_not_fail_the_others(engine: TransformersEngine) -> None:
    joined = DynamicBatcher(engine)
    missing = Prompt(PROMPTS[0].messages, "gone")
    bad, good = at_once(
        engine, [lambda: joined.talk([missing], Decoding(3)), lambda: joined.talk(PROMPTS[:1], Decoding(3))]
    )
    assert isinstance(bad, AdapterError)
    assert good == engine.talk(PROMPTS[:1], Decoding(3))
    with pytest.raises(InputError):
        joined.talk(PROMPTS[:1], Decoding(100_000))
    assert joined.talk(PROMPTS[:1], Decoding(3)) == good
