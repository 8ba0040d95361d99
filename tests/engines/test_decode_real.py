"""The default model itself: its greedy tokens are transformers' own, base and adapters in one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.decode import generate
from seal_memory.engines.hardware import Hardware
from seal_memory.engines.models import DEFAULT_MODEL, load, resolve
from seal_memory.errors import ModelUnavailableError
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora

TEXTS = [
    "The capital of France is",
    "The capital of France is",  # twice: read once
    "Once upon a time, in a small village by the sea, there lived an old fisherman who",
    "2 + 2 =",
]
TOKENS = 12


@pytest.mark.real_model
def test_greedy_equals_transformers_on_the_default_model(random_adapter: Callable[..., LoraAdapter]) -> None:
    """Float32, four prompts at once, the base and an adapter, against one prompt at a time."""
    try:
        loaded: Any = load(resolve(DEFAULT_MODEL), Hardware("cpu", "float32", 1, "for the test"))
    except ModelUnavailableError as error:
        pytest.skip(f"the default model cannot be had: {error}")
    stack = StackedLora(loaded.model)
    adapter = random_adapter(stack, 8, LLAMA_LINEAR, 1, size=0.02)
    prompts = [loaded.tokenizer(text)["input_ids"] for text in TEXTS]
    owners = [None, None, adapter, None]
    stop = frozenset({loaded.tokenizer.eos_token_id})
    found = generate(stack, prompts, owners, max_new_tokens=TOKENS, stop_ids=stop, pad_id=0)
    for prompt, owner, g in zip(prompts, owners, found, strict=True):
        ids = torch.tensor([prompt])
        with torch.inference_mode(), stack.rows([owner]):
            out = loaded.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=TOKENS,
                do_sample=False,
                eos_token_id=list(stop),
                pad_token_id=0,
            )
        assert [*g.ids, *(stop if g.stopped else ())] == out[0, len(prompt) :].tolist()
