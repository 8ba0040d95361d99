"""Left-padded rows of any prompts and adapters that decode together; shared beginnings are computed once.

Where it saves work, a batch is filled in two steps: first the distinct *heads* (the beginning that several prompts
under one adapter share, at most all but the last token), then, with the cache repeated for every row, the rest of each
prompt. So samples of one prompt read it once. A row's columns in the cache are

    [padding, head | padding, tail | new tokens]

Finished rows leave once they are a quarter of the batch: removing one copies all the others.

Not here: choosing tokens (`sampling`), the loop (`decode`), long beginnings that are not repeated (`prefixes`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seal_memory.engines.cache import has_full_attention, new_cache
from seal_memory.engines.head import output_head
from seal_memory.engines.prefixes import Group
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora

_COMPACT_AT = 4  # compact once 1/4 of the rows are finished


class PaddedRows:
    """`live`: indices of the rows in the batch, including finished ones that have not left yet."""

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
        self.backbone, self.head = stack.model.get_submodule("model"), output_head(stack.model)
        weight = next(stack.model.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self.live = list(range(len(prompts)))
        self._prompts, self._adapters, self._max_new_tokens = prompts, list(adapters), max_new_tokens
        self._heads = _useful_heads(prompts, groups)
        self._full_attention, self._filled = False, 0
        self._visible: Tensor | None = None  # (B, capacity): columns that are not padding; None: all
        self._bias: Tensor | None = None  # the same as an additive mask (B, 1, 1, capacity)
        self._next: Tensor | None = None  # (B, 1): tokens chosen by the last step
        self._positions = torch.zeros(0, 1, dtype=torch.long)  # (B, 1) of the next tokens

    def logits(self) -> Tensor:
        """Logits (B, vocab) of the next token of every row."""
        if self._next is None:
            hidden = self._prefill()
        else:
            hidden = self._run(self._next, self._positions, self._adapters)
            self._positions = self._positions + 1
        return self.head.logits(hidden)

    def advance(self, chosen: Tensor, keep: list[int]) -> None:
        """Append the chosen tokens (B,); rows not in `keep` are finished."""
        self._next = chosen[:, None]
        if _COMPACT_AT * (len(self.live) - len(keep)) < len(self.live):
            return
        index = torch.tensor(keep, device=self.device)
        self._cache.batch_select_indices(index)
        self.live = [self.live[row] for row in keep]
        self._adapters = [self._adapters[row] for row in keep]
        self._next, self._positions = self._next[index], self._positions[index]
        if self._visible is not None:
            self._set_visible(self._visible[index])

    def _prefill(self) -> Tensor:
        """Fill the cache with the prompts; returns the last hidden states (B, D)."""
        heads, config = self._heads or [], self.stack.model.config
        if heads and not has_full_attention(config, self._columns(heads)):  # padding between head and tail counts, too
            heads = []
        starts = [self._prompts[g.index[0]][: g.prefix_length] for g in heads]
        length = {i: g.prefix_length for g in heads for i in g.index}
        tails = [p[length.get(i, 0) :] for i, p in enumerate(self._prompts)]
        capacity = self._columns(heads)
        self._full_attention = has_full_attention(config, capacity)
        self._cache = new_cache(config, capacity, full=self._full_attention)
        if starts:
            self._fill(starts, [0] * len(starts), [self._adapters[g.index[0]] for g in heads], capacity)
            place = {i: n for n, g in enumerate(heads) for i in g.index}
            index = torch.tensor([place[i] for i in self.live], device=self.device)
            self._cache.batch_select_indices(index)
            if self._visible is not None:
                self._visible = self._visible[index]
        return self._fill(tails, [length.get(i, 0) for i in self.live], self._adapters, capacity)

    def _columns(self, heads: Sequence[Group]) -> int:
        """Columns of the cache that the batch fills at most: heads, tails and new tokens, each with its padding."""
        length = {i: g.prefix_length for g in heads for i in g.index}
        tail = max(len(p) - length.get(i, 0) for i, p in enumerate(self._prompts))
        return max(length.values(), default=0) + tail + self._max_new_tokens

    def _fill(
        self, parts: Sequence[Sequence[int]], offsets: Sequence[int], adapters: Sequence[LoraAdapter | None], room: int
    ) -> Tensor:
        """Left-pad the parts and run them behind the cache's content; part i begins at position `offsets[i]`."""
        before, width = self._filled, max(len(p) for p in parts)
        ids = torch.full((len(parts), width), self.pad_id, dtype=torch.long)
        seen = torch.ones((len(parts), room), dtype=torch.bool)
        for b, part in enumerate(parts):  # left padding: the last column is every row's next token
            ids[b, width - len(part) :] = torch.tensor(part)
            seen[b, before : before + width - len(part)] = False
        seen = seen.to(self.device)
        self._set_visible(seen if self._visible is None else seen & self._visible)
        ends = torch.tensor([o + len(p) for o, p in zip(offsets, parts, strict=True)])[:, None]
        positions = (torch.arange(-width, 0)[None] + ends).clamp(min=0)  # (B, T); padding's are ignored
        self._positions = ends.to(self.device)
        return self._run(ids.to(self.device), positions.to(self.device), adapters)

    def _run(self, ids: Tensor, positions: Tensor, adapters: Sequence[LoraAdapter | None]) -> Tensor:
        """Run (B, T) tokens in pieces, as attention's memory grows with the piece. Returns (B, D)."""
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

    def _set_visible(self, seen: Tensor) -> None:
        """Store which columns are visible; no mask at all where there is no padding, the fastest case."""
        self._visible = None if bool(seen.all()) else seen
        self._bias = None
        if self._visible is not None and self._full_attention and _uses_additive_masks(self.stack):
            bias = torch.zeros(seen.shape, dtype=self.dtype, device=self.device)
            self._bias = bias.masked_fill_(~seen, torch.finfo(self.dtype).min)[:, None, None]

    def _mask(self, width: int) -> Tensor | None:
        """For one token a row, (B, 1, 1, filled), made once for all steps; else (B, filled), which transformers
        expands.
        """
        if self._visible is None:
            return None
        if width == 1 and self._bias is not None:
            return self._bias[..., : self._filled]
        return self._visible[:, : self._filled]


def _uses_additive_masks(stack: StackedLora) -> bool:
    """Whether the model's attention takes a mask that is added to its scores."""
    return getattr(stack.model.config, "_attn_implementation", None) in ("sdpa", "eager")


def _useful_heads(prompts: Sequence[Sequence[int]], groups: Sequence[Group]) -> list[Group] | None:
    """Heads that cover every row, rows without a group in one of their own; None where they save nothing."""
    grouped = {i for g in groups for i in g.index}
    alone = [Group((i,), len(p) - 1) for i, p in enumerate(prompts) if i not in grouped]
    heads = sorted([*groups, *alone], key=lambda g: min(g.index))  # rows of one adapter stay together
    if not groups or any(g.prefix_length < 1 for g in heads):
        return None
    tail = max(len(prompts[i]) - g.prefix_length for g in heads for i in g.index)
    shared = len(heads) * max(g.prefix_length for g in heads) + len(prompts) * tail
    plain = len(prompts) * max(len(p) for p in prompts)
    return heads if shared + len(prompts) < plain else None
