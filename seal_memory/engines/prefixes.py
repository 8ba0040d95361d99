"""Shared prefix decoding: computes a common beginning once and decodes the rows packed behind it.

Many questions about one long text share nearly all their tokens. The prefix goes through the model once; the rest of
each prompt lies behind it, one after another, in the *same* cache, and a mask lets each row see the prefix and itself.
So the prefix's keys and values exist once for any number of rows (repeated for a batch, 8,000 tokens of a 135M model
are 380 MB a row), and each step reads them once.

Not here: rows few or short enough to lie side by side (`padded`), choosing tokens (`sampling`), prefixes kept between
calls, and models with special attention or a sliding window that the rows outgrow, which decode without sharing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

import torch
from torch import Tensor, nn

from seal_memory.engines.cache import has_full_attention, new_cache
from seal_memory.engines.head import output_head
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora

MIN_PREFIX = 256  # tokens; a shorter prefix is cheaper to recompute
MIN_HEAD = 16  # tokens, for heads that are repeated for every row (`padded`)
PACKED_TOKENS = 4096  # tokens behind the prefix, of all rows that decode together
PREFILL_TOKENS = 1024  # tokens per forward pass: attention's memory grows with them
_EVERY_ROW = -1  # owner of the prefix's positions


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts (by index) that share an adapter and their first `prefix_length` tokens."""

    index: tuple[int, ...]
    prefix_length: int


def can_share(model: nn.Module, length: int) -> bool:
    """Whether every layer attends to all of a row of `length` that the mask allows, and takes an additive mask."""
    if getattr(model.config, "_attn_implementation", None) not in ("sdpa", "eager"):
        return False
    return has_full_attention(model.config, length)


def find_groups(
    prompts: Sequence[Sequence[int]], owners: Sequence[Hashable], *, min_prefix: int = MIN_PREFIX
) -> list[Group]:
    """Groups of two or more prompts whose shared beginning is at least `min_prefix` tokens and half of each.

    One greedy walk over the sorted prompts: a prompt joins the current group, or splits off its last member into a new
    group, where that leaves fewer tokens to compute.
    """
    first_seen = {owner: n for n, owner in reversed(list(enumerate(owners)))}
    order = sorted(range(len(prompts)), key=lambda i: (first_seen[owners[i]], tuple(prompts[i]), i))
    common = [0] + [_common_length(prompts[a], prompts[b]) if owners[a] == owners[b] else 0 for a, b in pairwise(order)]
    found: list[_GroupBuilder] = []
    for n, i in enumerate(order):
        if found and found[-1].should_split_last(common[n:]):
            found.append(_GroupBuilder([found[-1].index.pop()]))
        if not (found and found[-1].try_add(i, common[n], prompts, max(min_prefix, 1))):
            found.append(_GroupBuilder([i]))
    # each prompt keeps at least its last token, which predicts the first new one
    lengths = [min([m.shared, *(len(prompts[i]) - 1 for i in m.index)]) for m in found]
    pairs = zip(found, lengths, strict=True)
    return [Group(tuple(m.index), length) for m, length in pairs if len(m.index) > 1 and length > 0]


@dataclass(slots=True)
class _GroupBuilder:
    """A group being built; `shared`: tokens that its members have in common, once there are two."""

    index: list[int]
    shared: int = 0

    def should_split_last(self, common: Sequence[int]) -> bool:
        """Whether the next prompts save more grouped with the last member alone.

        `common`: each next prompt's number of tokens in common with its predecessor.
        """
        if len(self.index) < 2 or common[0] <= self.shared:
            return False
        more = sum(1 for _ in takewhile(lambda c: c >= common[0], common))
        return common[0] * more > self.shared * (more + 1)

    def try_add(self, i: int, common: int, prompts: Sequence[Sequence[int]], min_prefix: int) -> bool:
        """Add a prompt unless it costs the others more of their prefix than it saves; False if not added."""
        others = len(self.index)
        shared = min(common, self.shared) if others > 1 else common
        longest = max(len(prompts[j]) for j in (*self.index, i))
        if shared < min_prefix or 2 * shared < longest or shared * others < self.shared * (others - 1):
            return False
        self.index.append(i)
        self.shared = shared
        return True


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    for n, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return n
    return min(len(a), len(b))


def pack_rows(suffix_lengths: Sequence[int], max_new_tokens: int, packed_tokens: int) -> Iterator[list[int]]:
    """Rows, in order, that decode together: suffixes and new tokens within `packed_tokens`, or one row alone."""
    pack: list[int] = []
    size = 0
    for i, length in enumerate(suffix_lengths):
        if pack and size + length + max_new_tokens > packed_tokens:
            yield pack
            pack, size = [], 0
        pack.append(i)
        size += length + max_new_tokens
    if pack:
        yield pack


class SharedPrefix:
    """A prefix in the cache, under one adapter; successive `PackedRows` reuse the cache.

    Every row behind it sees all of it: the caller asks `can_share`.
    """

    def __init__(
        self,
        stack: StackedLora,
        ids: Sequence[int],
        adapter: LoraAdapter | None,
        *,
        prefill_tokens: int = PREFILL_TOKENS,
        room_behind: int = 0,
    ) -> None:
        self.stack, self.adapter, self.prefill_tokens = stack, adapter, prefill_tokens
        self.backbone, self.head = stack.model.get_submodule("model"), output_head(stack.model)
        weight = next(stack.model.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self.length = len(ids)
        self.cache = new_cache(stack.model.config, self.length + room_behind, full=True)
        tokens = torch.tensor([ids], device=self.device)
        positions = torch.arange(self.length, device=self.device)[None]
        for at in range(0, self.length, prefill_tokens):
            self.extend(tokens[:, at : at + prefill_tokens], positions[:, at : at + prefill_tokens], None)

    def extend(self, ids: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Run tokens (1, T) behind the cache's content; returns their last hidden states (T, D)."""
        with self.stack.rows([self.adapter]):
            hidden: Tensor = self.backbone(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
            ).last_hidden_state[0]
        return hidden

    def rewind(self) -> None:
        """Remove everything behind the prefix from the cache."""
        self.cache.crop(self.length - self.cache.get_seq_length())


class PackedRows:
    """Rows behind a shared prefix; `live` are the indices of the unfinished ones."""

    def __init__(self, prefix: SharedPrefix, suffixes: Sequence[Sequence[int]]) -> None:
        prefix.rewind()
        self.prefix = prefix
        self.live = list(range(len(suffixes)))
        lengths = torch.tensor([len(s) for s in suffixes])
        rows = torch.arange(len(suffixes)).repeat_interleave(lengths)
        starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        device = prefix.device
        self._ids = torch.tensor([token for s in suffixes for token in s], device=device)
        self._positions = (torch.arange(len(rows)) - starts).to(device) + prefix.length
        self._new_owners = rows.to(device)  # which row each of `_ids` belongs to
        self._owners = torch.full((prefix.length,), _EVERY_ROW, device=device)  # of the cache's columns
        self._last = (lengths.cumsum(0) - 1).to(device)  # position that predicts each live row's next token

    def logits(self) -> Tensor:
        """Logits (B, vocab) of the next token of every live row."""
        parts = []
        step = self.prefix.prefill_tokens
        for at in range(0, len(self._ids), step):
            ids, positions = self._ids[at : at + step], self._positions[at : at + step]
            mask = self._mask(self._new_owners[at : at + step])
            parts.append(self.prefix.extend(ids[None], positions[None], mask))
        return self.prefix.head.logits(torch.cat(parts)[self._last])

    def advance(self, chosen: Tensor, keep: list[int]) -> None:
        """Append the chosen tokens (B,); rows not in `keep` end, their cached tokens are masked."""
        index = torch.tensor(keep, device=chosen.device)
        ends, owners = self._positions[self._last], self._new_owners[self._last]
        self.live = [self.live[row] for row in keep]
        self._ids, self._positions, self._new_owners = chosen[index], ends[index] + 1, owners[index]
        self._last = torch.arange(len(keep), device=chosen.device)

    def _mask(self, owners: Tensor) -> Tensor:
        """Additive mask (1, 1, T, cache + T) of the new tokens: 0 where visible, else the minimum."""
        before = len(self._owners)
        self._owners = torch.cat([self._owners, owners])
        seen = (self._owners[None] == owners[:, None]) | (self._owners[None] == _EVERY_ROW)
        seen[:, before:] &= torch.ones(len(owners), len(owners), dtype=torch.bool, device=owners.device).tril()
        mask = torch.zeros(seen.shape, dtype=self.prefix.dtype, device=owners.device)
        return mask.masked_fill_(~seen, torch.finfo(mask.dtype).min)[None, None]
