"""The preallocated cache: everything transformers' growing cache does, without copying what is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from seal_memory.engines.cache import PreallocatedLayer, has_full_attention, new_cache

steps = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.integers(1, 5)),
        st.tuples(st.just("crop"), st.integers(0, 3)),
        st.tuples(st.just("select"), st.integers(0, 2**6 - 1)),
        st.tuples(st.just("repeat"), st.integers(1, 2)),
        st.tuples(st.just("reset"), st.just(0)),
    ),
    max_size=12,
)


def _apply(layers: list[Any], kind: str, n: int, rng: torch.Generator) -> None:
    """The same to both layers; what changes rows only once there are some."""
    rows = layers[1].keys.shape[0] if layers[1].get_seq_length() else 0
    if kind == "update":
        shape = (rows or 2, 2, n, 4)
        keys, values = torch.rand(shape, generator=rng), torch.rand(shape, generator=rng)
        for ours, theirs in zip(*(layer.update(keys, values) for layer in layers), strict=True):
            assert torch.equal(ours, theirs)
    elif kind == "crop" and n < layers[1].get_seq_length():
        for layer in layers:
            layer.crop(-n)
    elif kind == "select" and rows:
        index = torch.tensor([i % rows for i in range(6) if n >> i & 1] or [0])
        for layer in layers:
            layer.batch_select_indices(index)
    elif kind == "repeat" and 0 < rows < 8:
        for layer in layers:
            layer.batch_repeat_interleave(n)
    elif kind == "reset":
        for layer in layers:
            layer.reset()


@settings(max_examples=60)
@given(todo=steps, capacity=st.integers(0, 12), seed=st.integers(0, 9))
def test_it_holds_what_transformers_cache_holds(todo: list[tuple[str, int]], capacity: int, seed: int) -> None:
    """After any updates, crops and selections of rows, also when there is too little room at first."""
    layers = [PreallocatedLayer(capacity), DynamicLayer()]
    rng = torch.Generator().manual_seed(seed)
    for kind, n in todo:
        _apply(layers, kind, n, rng)
        assert layers[0].get_seq_length() == layers[1].get_seq_length()
        assert layers[0].get_mask_sizes(3) == layers[1].get_mask_sizes(3)
        if layers[1].get_seq_length():
            assert torch.equal(layers[0].keys, layers[1].keys)
            assert torch.equal(layers[0].values, layers[1].values)


def test_nothing_that_is_there_is_copied() -> None:
    """Within the room that was asked for, new tokens and fewer rows stay in the same memory."""
    layer = PreallocatedLayer(10)
    layer.update(torch.rand(4, 2, 3, 8), torch.rand(4, 2, 3, 8))
    at = layer.keys.data_ptr(), layer.values.data_ptr()
    for _ in range(7):
        layer.update(torch.rand(4, 2, 1, 8), torch.rand(4, 2, 1, 8))
    layer.batch_select_indices(torch.tensor([1, 3]))
    assert (layer.keys.data_ptr(), layer.values.data_ptr()) == at
    assert layer.keys.shape == (2, 2, 10, 8)


def test_a_positive_crop_is_refused() -> None:
    with pytest.raises(ValueError, match=r"crop\(3\): expected 0 or the negative number"):
        PreallocatedLayer(4).crop(3)


def test_special_attention_keeps_its_own_cache(load_tiny: Callable[[], Any]) -> None:
    """A sliding window forgets: where one layer's is too short, the model gets transformers' cache."""
    config = load_tiny().model.config
    assert has_full_attention(config, 10_000)
    assert all(type(layer) is PreallocatedLayer for layer in new_cache(config, 8, full=True).layers)
    config.sliding_window = 16
    config.layer_types = ["sliding_attention"] + ["full_attention"] * (config.num_hidden_layers - 1)
    assert has_full_attention(config, 16)
    assert not has_full_attention(config, 17)
    kinds = [type(layer) for layer in DynamicCache(config=config).layers]
    assert [type(layer) for layer in new_cache(config, 8, full=False).layers] == kinds
