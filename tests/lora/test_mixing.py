"""Mixes: one adapter alone is itself bit for bit, several are the sum of their updates, each row its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.base import Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.mixes import mix_id, parts_of
from seal_memory.errors import AdapterError, InputError
from seal_memory.lora.adapter import Applied, LoraAdapter, MixedAdapter, mean_adapter

TOLERANCE = 1e-5  # float32: only the order of summation differs
IDS = torch.randint(3, 300, (4, 13), generator=torch.Generator().manual_seed(11))
QUESTION = [{"role": "user", "content": "Who built the lighthouse?"}]


@pytest.fixture(scope="module")
def engine(load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter]) -> TransformersEngine:
    engine = TransformersEngine(load_tiny(), keep=2)
    engine.add_source(
        lambda adapter_id: {
            "a-one": random_adapter(engine.stack, 4, LLAMA_LINEAR, 1),
            "a-two": random_adapter(engine.stack, 2, ("q_proj", "v_proj"), 2),
            "a-three": random_adapter(engine.stack, 7, ("down_proj",), 3),
        }[adapter_id]
    )
    return engine


def _adapters(engine: TransformersEngine) -> list[LoraAdapter]:
    found = [engine.adapter(a) for a in ("a-one", "a-two", "a-three")]
    return [a for a in found if a is not None]


@torch.inference_mode()
def _logits(engine: TransformersEngine, rows: list[Applied | None]) -> Tensor:
    with engine.stack.rows(rows):
        logits: Tensor = engine.model(input_ids=IDS[: len(rows)]).logits
    return logits


@settings(max_examples=20)
@given(weights=st.lists(st.floats(0.01, 2.0), min_size=3, max_size=3))
def test_a_mix_is_the_sum_of_its_updates(engine: TransformersEngine, weights: list[float]) -> None:
    """The same as one adapter that has all their ranks, whatever the weights, ranks and layers."""
    parts = _adapters(engine)
    mixed = MixedAdapter(tuple(zip(parts, weights, strict=True)))
    expected = _logits(engine, [mean_adapter(parts, weights)] * 2)
    torch.testing.assert_close(_logits(engine, [mixed] * 2), expected, atol=1e-4, rtol=1e-4)


def test_a_mix_of_one_with_weight_1_is_the_adapter_bit_for_bit(engine: TransformersEngine) -> None:
    one = _adapters(engine)[0]
    assert torch.equal(_logits(engine, [MixedAdapter(((one, 1.0),))] * 2), _logits(engine, [one] * 2))


def test_each_row_has_its_own_mix(engine: TransformersEngine) -> None:
    """Beside rows of one adapter and of the base, as if it were alone."""
    one, two, three = _adapters(engine)
    rows = [MixedAdapter(((one, 0.5), (two, 0.5))), None, MixedAdapter(((one, 0.9), (three, 0.1))), two]
    together = _logits(engine, rows)
    for n, row in enumerate(rows):
        with torch.inference_mode(), engine.stack.rows([row]):
            alone = engine.model(input_ids=IDS[n : n + 1]).logits[0]
        torch.testing.assert_close(together[n], alone, atol=TOLERANCE, rtol=0)


def test_parts_that_train_beside_others_get_their_own_gradients(engine: TransformersEngine) -> None:
    """The gradient of a mix is, for each part, that of the concatenated adapter's rows."""
    one, two, _ = _adapters(engine)
    grads = [a.begin_training() for a in (one, two)]
    with engine.stack.rows([MixedAdapter(((one, 0.7), (two, 0.3)))]):
        engine.model(input_ids=IDS[:1]).logits.square().mean().backward()
    name = next(n for n in one.pairs if n.endswith("q_proj"))
    joined = mean_adapter([one, two], [0.7, 0.3])
    flat = joined.begin_training()
    with engine.stack.rows([joined]):
        engine.model(input_ids=IDS[:1]).logits.square().mean().backward()
    assert all(float(g.norm()) > 0 for g in (*grads, flat))
    of_a = joined.pairs[name][0].grad
    assert of_a is not None
    got = torch.cat([a.pairs[name][0].grad for a in (one, two)])  # type: ignore[misc]
    torch.testing.assert_close(got, of_a, atol=1e-6, rtol=1e-3)
    for adapter in (one, two, joined):
        adapter.end_training()


# -- by id ------------------------------------------------------------------------------------------


def test_the_engine_makes_a_mix_from_its_id(engine: TransformersEngine) -> None:
    """Also where its parts have left memory meanwhile; nothing is kept under the mix's own id."""
    mix = mix_id([("a-one", 0.75), ("a-two", 0.25)])
    for other in ("a-three", "a-two"):
        engine.adapter(other)  # keep=2: the first has to go
    got = engine.score([(Prompt(QUESTION, mix), "Maud Ellery"), (Prompt(QUESTION, "a-one"), "Maud Ellery")])
    one, two, _ = _adapters(engine)
    engine.put("candidate:joined", mean_adapter([one, two], [0.75, 0.25]))
    (expected,) = engine.score([(Prompt(QUESTION, "candidate:joined"), "Maud Ellery")])
    assert got[0].logprob == pytest.approx(expected.logprob, abs=1e-4)
    assert got[1].logprob != pytest.approx(got[0].logprob, abs=1e-4)
    assert mix not in engine._adapters
    (alone,) = engine.complete([Prompt(QUESTION, "candidate:joined")], max_tokens=4)
    (whole,) = engine.complete([Prompt(QUESTION, mix)], max_tokens=4)
    assert whole.text == alone.text


@given(st.lists(st.tuples(st.from_regex(r"a-[0-9a-f]{4}", fullmatch=True), st.floats(0.001, 9.0)), min_size=1))
def test_an_id_tells_its_parts(parts: list[tuple[str, float]]) -> None:
    """To four decimals; one adapter with weight 1 keeps its own id."""
    found = parts_of(mix_id(parts))
    assert [a for a, _ in found] == [a for a, _ in parts]
    assert [w for _, w in found] == pytest.approx([w for _, w in parts], abs=5.1e-5)
    assert mix_id([("a-1", 1.0)]) == "a-1"
    assert parts_of("a-1") == (("a-1", 1.0),)


def test_what_is_no_mix_is_refused() -> None:
    """By name, with what was expected."""
    for bad in ([], [("a-1", 0.0)], [("a-1", float("nan"))], [("mix:1.0*a", 0.5)]):
        with pytest.raises(InputError, match="expected"):
            mix_id(bad)
    for bad_id in ("mix:", "mix:a-1", "mix:x*a-1", "mix:0.5*", "mix:0.5*a-1+"):
        with pytest.raises(AdapterError, match="no mix"):
            parts_of(bad_id)
