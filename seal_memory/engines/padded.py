"""Rows of any prompts and adapters that decode together, left-padded; what they begin with in common, computed once.

A batch is filled in two steps where that saves work: first the distinct *heads* (what several prompts under one
adapter begin with, at the utmost all but the last token), then, after the cache has been repeated for every row,
what follows in each. Samples of one prompt so read it once. A row's columns in the cache are

    [padding, head | padding, tail | new tokens]

and finished rows leave once they are a quarter of the batch: taking one out copies all the others.

Not here: choosing tokens (`sampling`), the loop (`decode`), long beginnings that are not repeated (`prefixes`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seal_memory.engines.cache import is_plain, new_cache
from seal_memory.engines.prefixes import Group
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora

_LEAVE_AT = 4  # the inverse of the share of finished rows at which the others are moved together


class PaddedRows:
    """`live` are the indices of the rows in the batch, finished ones that have not left yet among them."""

    def __init__(
        self,
        stack: StackedLora,
        prompts: Sequence[Sequence[int]],
        adapters: Sequence[LoraAdapter | None],
        *,
        pad_id: int,
        max_new_tokens: int,
        prefill_tokens: int,
        groups: Sequence[Group] = (),
    ) -> None:
        self.stack, self.pad_id, self.prefill_tokens = stack, pad_id, prefill_tokens
        self.backbone, self.head = stack.model.get_submodule("model"), stack.model.get_submodule("lm_head")
        weight = next(stack.model.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self.live = list(range(len(prompts)))
        self._prompts, self._adapters, self._max_new_tokens = prompts, list(adapters), max_new_tokens
        self._heads = _heads_that_pay(prompts, groups)
        self._plain, self._filled = is_plain(stack.model.config), 0
        self._seen: Tensor | None = None  # (B, capacity): which columns are no padding; None: all
        self._bias: Tensor | None = None  # the same, (B, 1, 1, capacity), as it is added to attention's scores
        self._next: Tensor | None = None  # (B, 1): what the last step chose, once there is one
        self._positions = torch.zeros(0, 1, dtype=torch.long)  # (B, 1) of the next tokens

    def logits(self) -> Tensor:
        """Logits (B, vocab) of the next token of every row."""
        if self._next is None:
            hidden = self._prefill()
        else:
            hidden = self._run(self._next, self._positions, self._adapters)
            self._positions = self._positions + 1
        logits: Tensor = self.head(hidden).float()
        return logits

    def advance(self, chosen: Tensor, keep: list[int]) -> None:
        """Append the chosen tokens (B,); only the rows `keep` are still asked for."""
        self._next = chosen[:, None]
        if _LEAVE_AT * (len(self.live) - len(keep)) < len(self.live):
            return
        index = torch.tensor(keep, device=self.device)
        self._cache.batch_select_indices(index)
        self.live = [self.live[row] for row in keep]
        self._adapters = [self._adapters[row] for row in keep]
        self._next, self._positions = self._next[index], self._positions[index]
        if self._seen is not None:
            self._see(self._seen[index])

    def _prefill(self) -> Tensor:
        """Fill the cache with the prompts; the last hidden states (B, D)."""
        heads = [] if self._heads is None else self._heads
        starts = [self._prompts[g.index[0]][: g.prefix_length] for g in heads]
        length = {i: g.prefix_length for g in heads for i in g.index}
        tails = [p[length.get(i, 0) :] for i, p in enumerate(self._prompts)]
        width = max((len(s) for s in starts), default=0)
        capacity = width + max(len(t) for t in tails) + self._max_new_tokens
        self._cache = new_cache(self.stack.model.config, capacity)
        if starts:
            self._fill(starts, [0] * len(starts), [self._adapters[g.index[0]] for g in heads], capacity)
            place = {i: n for n, g in enumerate(heads) for i in g.index}
            index = torch.tensor([place[i] for i in self.live], device=self.device)
            self._cache.batch_select_indices(index)
            if self._seen is not None:
                self._seen = self._seen[index]
        return self._fill(tails, [length.get(i, 0) for i in self.live], self._adapters, capacity)

    def _fill(
        self, parts: Sequence[Sequence[int]], offsets: Sequence[int], adapters: Sequence[LoraAdapter | None], room: int
    ) -> Tensor:
        """Left-pad the parts and run them behind what is in the cache; part i begins at position `offsets[i]`."""
        before, width = self._filled, max(len(p) for p in parts)
        ids = torch.full((len(parts), width), self.pad_id, dtype=torch.long)
        seen = torch.ones((len(parts), room), dtype=torch.bool)
        for b, part in enumerate(parts):  # left padding: all rows' next token is the last column
            ids[b, width - len(part) :] = torch.tensor(part)
            seen[b, before : before + width - len(part)] = False
        seen = seen.to(self.device)
        self._see(seen if self._seen is None else seen & self._seen)
        ends = torch.tensor([o + len(p) for o, p in zip(offsets, parts, strict=True)])[:, None]
        positions = (torch.arange(-width, 0)[None] + ends).clamp(min=0)  # (B, T); padding's do not matter
        self._positions = ends.to(self.device)
        return self._run(ids.to(self.device), positions.to(self.device), adapters)

    def _run(self, ids: Tensor, positions: Tensor, adapters: Sequence[LoraAdapter | None]) -> Tensor:
        """Run (B, T) tokens piece by piece: attention's memory grows with what runs at once. Returns (B, D)."""
        with self.stack.rows(adapters):
            for at in range(0, ids.shape[1], self.prefill_tokens):
                piece = ids[:, at : at + self.prefill_tokens]
                self._filled += piece.shape[1]
                hidden: Tensor = self.backbone(
                    input_ids=piece,
                    attention_mask=self._mask(piece.shape[1]),
                    position_ids=positions[:, at : at + self.prefill_tokens],
                    past_key_values=self._cache,
                    use_cache=True,
                ).last_hidden_state[:, -1]
        return hidden

    def _see(self, seen: Tensor) -> None:
        """Where there is no padding, no mask at all is the quickest way."""
        self._seen = None if bool(seen.all()) else seen
        self._bias = None
        if self._seen is not None and self._plain and _adds_masks(self.stack):
            bias = torch.zeros(seen.shape, dtype=self.dtype, device=self.device)
            self._bias = bias.masked_fill_(~seen, torch.finfo(self.dtype).min)[:, None, None]

    def _mask(self, width: int) -> Tensor | None:
        """For one token a row, (B, 1, 1, filled) made once for all steps; else transformers makes it of (B, filled)."""
        if self._seen is None:
            return None
        if width == 1 and self._bias is not None:
            return self._bias[..., : self._filled]
        return self._seen[:, : self._filled]


def _adds_masks(stack: StackedLora) -> bool:
    """Whether the model's attention takes a mask that is added to its scores."""
    return getattr(stack.model.config, "_attn_implementation", None) in ("sdpa", "eager")


def _heads_that_pay(prompts: Sequence[Sequence[int]], groups: Sequence[Group]) -> list[Group] | None:
    """Every row in one head, rows without a group in one of their own; None where nothing is gained by it."""
    grouped = {i for g in groups for i in g.index}
    alone = [Group((i,), len(p) - 1) for i, p in enumerate(prompts) if i not in grouped]
    heads = sorted([*groups, *alone], key=lambda g: min(g.index))  # rows of one adapter stay together
    if not groups or any(g.prefix_length < 1 for g in heads):
        return None
    tail = max(len(prompts[i]) - g.prefix_length for g in heads for i in g.index)
    shared = len(heads) * max(g.prefix_length for g in heads) + len(prompts) * tail
    plain = len(prompts) * max(len(p) for p in prompts)
    return heads if shared + len(prompts) < plain else None
