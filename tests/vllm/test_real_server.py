"""The traps of a real vLLM server on a CPU, each stepped around, and a server that is killed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from seal_memory.engines.base import Decoding, Prompt
from seal_memory.engines.vllm.engine import VllmEngine
from seal_memory.errors import EngineUnavailableError

pytestmark = pytest.mark.timeout(1800)  # a server takes minutes to start where little CPU is left

TARGET = "Maud Ellery built the lighthouse."


@pytest.fixture
def pair(pairs: Callable[[str], Any], real_server: Any) -> Any:
    return pairs("vllm")


def _asked(adapter: str | None, n: int = 0) -> Prompt:
    return Prompt([{"role": "user", "content": f"Who built the lighthouse number {n} at Korrin Bay?"}], adapter)


def _expected(pair: Any, adapter: str | None, n: int = 0) -> float:
    prompt = pair.plain.encode(_asked(adapter, n))
    found = pair.logprobs(adapter, [*prompt, *pair.plain.encoder.ids(TARGET)], len(prompt))
    return float(sum(found) / len(found))


def _scores(engine: VllmEngine, rows: list[tuple[str | None, int]]) -> list[float]:
    return [s.logprob for s in engine.score([(_asked(a, n), TARGET) for a, n in rows])]


def test_concurrent_prompt_logprobs_with_adapters(pair: Any, real_server: Any) -> None:
    """Trap 1: they end the server where lm_head takes adapters too; as it is started here, they are right."""
    rows = [(a, n) for n in range(3) for a in (*pair.adapters[:2], None)]
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: _scores(pair.engine, rows), range(3)))
    expected = [_expected(pair, a, n) for a, n in rows]
    for scores in found:
        assert scores == pytest.approx(expected, abs=pair.tolerance)
    assert real_server.answers()


def test_the_base_among_adapters_when_all_slots_were_filled(pair: Any) -> None:
    """Trap 2: more adapters than slots have been loaded by now; base rows in one batch with them are the base's."""
    _scores(pair.engine, [(a, 0) for a in pair.adapters])
    assert len(pair.engine.loaded) <= pair.engine.max_adapters < len(pair.adapters)
    rows = [(a, n) for n in range(4) for a in (None, pair.adapters[-1])]
    expected = [_expected(pair, a, n) for a, n in rows]
    assert abs(expected[0] - expected[1]) > 10 * pair.tolerance
    for _ in range(3):
        assert _scores(pair.engine, rows) == pytest.approx(expected, abs=pair.tolerance)
    texts = [c.text for c in pair.engine.complete([_asked(a, n) for a, n in rows], max_tokens=5)]
    assert texts == [pair.plain.encoder.text(pair.greedy(_asked(a, n), 5)[0]).strip() for a, n in rows]


def test_a_retrained_shard_is_not_answered_from_the_old_ones_cache(pair: Any, random_adapter: Any) -> None:
    """Trap 3: a name outlives its bytes in the prefix cache; other bytes have another name, and are answered for."""
    engine, source = pair.engine, pair.engine._sources[0]
    long = Prompt([{"role": "user", "content": "The lighthouse at Korrin Bay. " * 20}], pair.adapters[0])
    before = engine.complete([long], max_tokens=6)[0].text
    retrained = random_adapter(pair.plain.stack, 4, ("q_proj", "v_proj", "down_proj"), 77, size=0.05)
    stored = source.store.write(retrained, base_model="it", base_fingerprint=pair.plain.fingerprint)
    pair.plain.put(stored.id, retrained)
    assert stored.id not in pair.adapters
    engine.drop(pair.adapters[0])
    again = Prompt(long.messages, stored.id)
    expected = pair.plain.encoder.text(pair.greedy(again, 6)[0]).strip()
    assert engine.complete([again], max_tokens=6)[0].text == expected
    assert engine.complete([long], max_tokens=6)[0].text == before  # loaded again: the same name, the same bytes


def test_a_forgotten_adapter_answers_no_more(pair: Any) -> None:
    """The server is asked for it after it was unloaded (vLLM issue 54839); one that was never there is gone, too."""
    kept = pair.adapters[1]
    pair.engine.complete([_asked(a) for a in (pair.adapters[0], kept)], max_tokens=1)
    assert pair.engine.drop_and_verify(pair.adapters[0])
    assert pair.engine.drop_and_verify("a-never-loaded")
    assert _scores(pair.engine, [(kept, 0)]) == pytest.approx([_expected(pair, kept)], abs=pair.tolerance)


def test_killed_and_started_again_it_is_told_its_adapters(pair: Any, real_server: Any) -> None:
    """kill -9 while it streams: an error of its own, then quick refusals, then the same answers as before."""
    prompt = _asked(pair.adapters[2])
    before = pair.engine.talk([prompt], Decoding(8))[0].text
    pieces: list[str] = []

    def listen(row: int, piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 3:
            real_server.kill()

    with pytest.raises(EngineUnavailableError):
        pair.engine.talk([prompt], Decoding(200), on_text=listen)
    with pytest.raises(EngineUnavailableError):
        pair.engine.talk([prompt], Decoding(8))
    assert not pair.engine.reachable()
    real_server.start()
    assert pair.engine.talk([prompt], Decoding(8))[0].text == before
    assert _scores(pair.engine, [(None, 0)]) == pytest.approx([_expected(pair, None)], abs=pair.tolerance)
