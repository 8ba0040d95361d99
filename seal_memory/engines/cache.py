"""Preallocated key/value cache.

transformers' `DynamicCache` concatenates, so every new token copies all earlier ones. Here each layer writes into a
buffer allocated once and returns views of its filled part. Not here: masks and positions (`padded`, `prefixes`), and
layers with special attention, or with a sliding window that the tokens outgrow, which keep transformers' own cache.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not type-checked here
    """Keys and values (B, H, T, D) as views of buffers (B, H, capacity, D); the buffers grow when full."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity
        self._length = 0
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append new states (B, H, t, D); returns all keys and values."""
        end = self._length + key_states.shape[-2]
        if self._buffers is None:
            self.lazy_initialization(key_states, value_states)
            self._capacity = max(self._capacity, end)
            self._buffers = (self._empty_like(key_states), self._empty_like(value_states))
        elif end > self._capacity:
            self._capacity = max(end, 2 * self._capacity)
            self._buffers = (self._grown(self._buffers[0]), self._grown(self._buffers[1]))
        self._buffers[0][:, :, self._length : end] = key_states
        self._buffers[1][:, :, self._length : end] = value_states
        self._set_length(end)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self._length

    def crop(self, tokens_to_remove: int) -> None:
        """Drop the last tokens; as in transformers, the number is negative."""
        if tokens_to_remove > 0:
            raise ValueError(f"crop({tokens_to_remove}): expected 0 or the negative number of tokens to remove")
        if tokens_to_remove:
            self._set_length(max(0, self._length + tokens_to_remove))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Row i becomes the former row `indices[i]`: drops rows (no new memory) or repeats them."""
        if self._buffers is None:
            return
        self._buffers = (self._selected(self._buffers[0], indices), self._selected(self._buffers[1], indices))
        self._set_length(self._length)

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self._buffers is not None:
            rows = torch.arange(len(self._buffers[0]), device=self._buffers[0].device)
            self.batch_select_indices(rows.repeat_interleave(repeats))

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self.batch_select_indices(beam_idx)

    def reset(self) -> None:
        super().reset()
        self._length, self._buffers = 0, None

    def _set_length(self, length: int) -> None:
        self._length = length
        if self._buffers is not None:
            self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)

    def _empty_like(self, states: Tensor, rows: int | None = None) -> Tensor:
        batch, heads, _, size = states.shape
        return states.new_empty(batch if rows is None else rows, heads, self._capacity, size)

    def _grown(self, buffer: Tensor) -> Tensor:
        bigger = self._empty_like(buffer)
        bigger[:, :, : self._length] = buffer[:, :, : self._length]
        return bigger

    def _selected(self, buffer: Tensor, indices: Tensor) -> Tensor:
        if len(indices) <= len(buffer):
            kept = buffer[: len(indices)]
            kept[:, :, : self._length] = buffer[:, :, : self._length].index_select(0, indices.to(buffer.device))
            return kept
        repeated, at = self._empty_like(buffer, len(indices)), 0
        for row, same in groupby(indices.tolist()):  # one slice per run: avoids a large intermediate copy
            end = at + len(list(same))
            repeated[at:end, :, : self._length] = buffer[row : row + 1, :, : self._length]
            at = end
        return repeated


def has_full_attention(config: Any, length: int) -> bool:
    """Whether every layer attends to all earlier tokens of a row of `length`: a sliding window may be as long."""
    return all(_sees_all(layer, length) for layer in DynamicCache(config=config).layers)


def new_cache(config: Any, capacity: int, *, full: bool) -> DynamicCache:
    """An empty cache; preallocated for `capacity` tokens a row where attention is full."""
    cache = DynamicCache(config=config)
    if full:
        cache.layers = [PreallocatedLayer(capacity) for _ in cache.layers]
    return cache


def _sees_all(layer: Any, length: int) -> bool:
    return type(layer) is DynamicLayer or (type(layer) is DynamicSlidingWindowLayer and length <= layer.sliding_window)
