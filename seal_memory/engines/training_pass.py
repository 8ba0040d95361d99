"""Forward and backward pass of a training micro-batch: choice of attention, activation checkpointing.

Attention, measured forward and backward on SmolLM2's shape (9 query heads, 3 of keys, 512 tokens; float32, Zen 3, one
thread): SDPA takes .72 of eager's time at 32 tokens a row, .95 at 48, .88 at 64, .86 at 128, .80 at 256 and .83 at 512,
so it stays. In bfloat16 on a processor with AVX512-BF16, eager was faster on short rows.

Not here: the batches and their token budget (`batches`), the logits (chunked, `learning.inner_loop`), memory for
adapters and their optimizer, passes without gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["ACTIVATION_BUDGET", "activation_bytes", "attention_for", "training_pass"]

ACTIVATION_BUDGET = 2 << 30  # bytes; about 1,600 tokens of a 135M model in float32
EAGER_WIDTH = 128  # bfloat16 on a CPU only; measured at ~48 tokens, the exact crossing point was not


@contextmanager
def training_pass(
    model: nn.Module, rows: int, width: int, *, activation_budget: int = ACTIVATION_BUDGET
) -> Iterator[None]:
    """Run a forward *and* its backward pass of (rows, width) tokens inside this block.

    Layers are recomputed in the backward pass where their activations would exceed the budget.
    """
    config: Any = model.config
    weight = next(model.parameters())
    attention = attention_for(config._attn_implementation, width, weight.dtype, weight.device)
    needed = activation_bytes(config, rows, width, element_size=weight.element_size(), attention=attention)
    with ExitStack() as stack:
        if attention != config._attn_implementation:
            stack.enter_context(_using_attention(model, attention))
        if needed > activation_budget:
            stack.enter_context(_checkpointed(model.get_submodule("model.layers")))
        yield


def attention_for(loaded: str, width: int, dtype: torch.dtype, device: torch.device) -> str:
    """The faster attention for rows of `width` tokens; a model not loaded with SDPA keeps its own."""
    short = device.type == "cpu" and dtype == torch.bfloat16 and width <= EAGER_WIDTH
    return "eager" if short and loaded == "sdpa" else loaded


def activation_bytes(config: Any, rows: int, width: int, *, element_size: int, attention: str) -> int:
    """Bytes that autograd keeps of the decoder layers of a dense model such as Llama, without the adapters' few per
    cent.
    """
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    queries = config.num_attention_heads * head
    keys = (getattr(config, "num_key_value_heads", None) or config.num_attention_heads) * head
    residuals = 2 * config.hidden_size * 4  # the norms compute in float32
    kept = 2 * config.hidden_size + 4 * config.intermediate_size + 2 * queries + (queries + 2 * keys)
    per_row = width * (residuals + kept * element_size)
    if attention == "eager":  # float32 probabilities, their copy in the base's type, keys repeated for every query
        copies = 4 if element_size == 4 else 4 + element_size
        per_row += config.num_attention_heads * width * width * copies + 2 * (queries - keys) * width * element_size
    return int(config.num_hidden_layers * rows * per_row)


@contextmanager
def _using_attention(model: Any, wanted: str) -> Iterator[None]:
    before = model.config._attn_implementation
    model.set_attn_implementation(wanted)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _checkpointed(layers: nn.Module) -> Iterator[None]:
    """Keep only each layer's input. transformers' own switch needs train mode, which turns on dropout."""
    for layer in layers.children():
        recomputed = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
        layer.forward = recomputed
    try:
        yield
    finally:
        for layer in layers.children():
            del layer.forward  # uncovers the class's own method
