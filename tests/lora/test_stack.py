"""Stacked adapters: every row answers as if it were alone with its adapter, and the base stays the base."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seal_memory.config import LLAMA_LINEAR
from seal_memory.errors import SettingsError
from seal_memory.lora.adapter import LoraAdapter, LoraConfig
from seal_memory.lora.stack import StackedLora

TOLERANCE = 1e-5  # float32: only the order of summation differs

IDS = torch.randint(3, 300, (6, 17), generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def stack(load_tiny: Callable[[], Any]) -> StackedLora:
    return StackedLora(load_tiny().model)


@pytest.fixture(scope="module")
def adapters(stack: StackedLora, random_adapter: Callable[..., LoraAdapter]) -> list[LoraAdapter | None]:
    """The base, and adapters that differ in rank and in the layers they have."""
    return [
        None,
        random_adapter(stack, 4, LLAMA_LINEAR, 1),
        random_adapter(stack, 2, ("q_proj", "v_proj"), 2),
        random_adapter(stack, 7, ("down_proj",), 3),
    ]


@pytest.fixture(scope="module")
def alone(stack: StackedLora, adapters: list[LoraAdapter | None]) -> list[list[Tensor]]:
    """`alone[a][r]`: logits (T, vocab) of row r when it runs by itself with adapter a."""
    return [[_logits(stack, IDS[r : r + 1], [a])[0] for r in range(len(IDS))] for a in adapters]


@torch.inference_mode()
def _logits(stack: StackedLora, ids: Tensor, rows: list[LoraAdapter | None]) -> Tensor:
    with stack.rows(rows):
        logits: Tensor = stack.model(input_ids=ids).logits
    return logits


@torch.inference_mode()
def test_outside_rows_the_model_is_the_base_bit_for_bit(
    load_tiny: Callable[[], Any], stack: StackedLora, adapters: list[LoraAdapter | None]
) -> None:
    """Before, after and with rows that all want the base, not one bit differs from a model without layers."""
    expected = load_tiny().model(input_ids=IDS).logits
    assert torch.equal(stack.model(input_ids=IDS).logits, expected)
    assert not torch.allclose(_logits(stack, IDS, [adapters[1]] * len(IDS)), expected, atol=0.01)
    assert torch.equal(stack.model(input_ids=IDS).logits, expected)
    assert torch.equal(_logits(stack, IDS, [None] * len(IDS)), expected)


def test_a_fresh_adapter_is_the_base_bit_for_bit(stack: StackedLora) -> None:
    """B begins at zero."""
    fresh = stack.create(LoraConfig(4, 8.0, LLAMA_LINEAR), seed=0)
    assert torch.equal(_logits(stack, IDS, [fresh] * len(IDS)), _logits(stack, IDS, [None] * len(IDS)))


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=8))
def test_each_row_equals_itself_alone(
    stack: StackedLora,
    adapters: list[LoraAdapter | None],
    alone: list[list[Tensor]],
    order: list[tuple[int, int]],
) -> None:
    """Any rows in any order, of adapters of several ranks and layers, or of none."""
    logits = _logits(stack, IDS[[r for _, r in order]], [adapters[a] for a, _ in order])
    for row, (a, r) in zip(logits, order, strict=True):
        torch.testing.assert_close(row, alone[a][r], atol=TOLERANCE, rtol=0)


def test_an_error_inside_rows_leaves_the_base(
    stack: StackedLora, adapters: list[LoraAdapter | None], alone: list[list[Tensor]]
) -> None:
    """The adapters leave with the block, however it ends; nested blocks restore the outer one."""
    with pytest.raises(KeyError), stack.rows([adapters[1]]):
        raise KeyError("anything")
    with stack.rows([adapters[1]]):
        with stack.rows([adapters[2]]):
            pass
        with torch.inference_mode():
            logits = stack.model(input_ids=IDS[:1]).logits[0]
    torch.testing.assert_close(logits, alone[1][0], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(_logits(stack, IDS[:1], [None])[0], alone[0][0], atol=0, rtol=0)


def test_a_second_stack_on_the_same_model_uses_the_layers_that_are_there(
    stack: StackedLora, adapters: list[LoraAdapter | None], alone: list[list[Tensor]]
) -> None:
    """Two engines may share one loaded model: same layer names, same answers."""
    second = StackedLora(stack.model)
    assert second.shapes(LLAMA_LINEAR) == stack.shapes(LLAMA_LINEAR)
    logits = _logits(second, IDS[:1], [adapters[1]])[0]
    torch.testing.assert_close(logits, alone[1][0], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("targets", [("q_proj", "lm_head"), ("nothing",), ()])
def test_a_target_that_is_no_linear_layer_is_refused(stack: StackedLora, targets: tuple[str, ...]) -> None:
    """The message offers the names that are there."""
    with pytest.raises(SettingsError, match="down_proj"):
        stack.shapes(targets)


def test_creation_repeats_itself(stack: StackedLora) -> None:
    """The same seed gives the same weights, another seed others."""
    config = LoraConfig(4, 8.0, ("q_proj",))
    first, again, other = (stack.create(config, seed=s).flat for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_state_dict_has_every_pair(adapters: list[LoraAdapter | None]) -> None:
    """Two detached tensors for each adapted layer."""
    adapter = adapters[2]
    assert adapter is not None
    state = adapter.state_dict()
    assert sorted({key.rpartition(".")[2] for key in state}) == ["lora_A", "lora_B"]
    assert len(state) == 2 * len(adapter.shapes)
    assert sum(tensor.numel() for tensor in state.values()) == adapter.flat.numel()
