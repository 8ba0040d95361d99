"""The tiny model with adapters, for the tests of decoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seal_memory.config import LLAMA_LINEAR
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora


@pytest.fixture(scope="module")
def stack(load_tiny: Callable[[], Any]) -> StackedLora:
    """The tiny model, ready for adapters."""
    return StackedLora(load_tiny().model)


@pytest.fixture(scope="module")
def adapters(stack: StackedLora, random_adapter: Callable[..., LoraAdapter]) -> list[LoraAdapter | None]:
    """None (the base) and two adapters of different ranks and layers."""
    return [None, random_adapter(stack, 4, LLAMA_LINEAR, 1), random_adapter(stack, 2, ("q_proj", "down_proj"), 2)]
