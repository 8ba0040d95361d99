"""Batched decoding in which every row may use its own adapter.

Greedy or temperature sampling with a top-k cut before the softmax (transformers' top-p sorts the whole
vocabulary for every row and token). Finished rows leave the batch. Prompts under one adapter that begin alike
have their beginning computed once (`prefixes`). Not here: chat templates, routing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from seal_memory.engines.batches import length_buckets
from seal_memory.engines.prefixes import (
    MIN_PREFIX,
    PACKED_TOKENS,
    PREFILL_TOKENS,
    Group,
    PackedRows,
    SharedPrefix,
    can_share,
    find_groups,
    packs,
)
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora


@dataclass(frozen=True, slots=True)
class Generated:
    """New token ids without the stop token; `logprobs` has one more entry, its own, when it stopped."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stopped: bool  # by a stop token, not by the limit


@dataclass(frozen=True, slots=True)
class Sampling:
    """`temperature` 0 is greedy."""

    temperature: float = 0.0
    top_k: int = 50
    seed: int = 0


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds memory, and when sharing a beginning pays; `min_prefix` 0 shares nothing."""

    token_budget: int = 8192  # padded tokens of a batch
    prefill_tokens: int = PREFILL_TOKENS
    min_prefix: int = MIN_PREFIX
    packed_tokens: int = PACKED_TOKENS


LIMITS = Limits()


@torch.inference_mode()
def generate(
    stack: StackedLora,
    prompts: Sequence[Sequence[int]],
    adapters: Sequence[LoraAdapter | None],
    *,
    max_new_tokens: int,
    stop_ids: Collection[int],
    pad_id: int,
    sampling: Sampling = GREEDY,
    limits: Limits = LIMITS,
    between: Callable[[], None] = lambda: None,
) -> list[Generated]:
    """Continue each prompt under its own adapter; results in the order of the prompts.

    `between` is called before every token; other batches may run in it, or it may raise to end all of this.
    """
    rng = torch.Generator().manual_seed(sampling.seed)
    loop = _Loop(max_new_tokens, frozenset(stop_ids), sampling, rng, between)
    results: dict[int, Generated] = {}
    if limits.min_prefix and can_share(stack.model):
        for group in find_groups(prompts, [id(a) for a in adapters], min_prefix=limits.min_prefix):
            results.update(_shared(stack, group, prompts, adapters[group.index[0]], loop, limits))
    alone = [i for i in range(len(prompts)) if i not in results]
    for places in length_buckets([len(prompts[i]) + max_new_tokens for i in alone], limits.token_budget):
        bucket = [alone[n] for n in places]
        first_seen = {id(adapters[i]): n for n, i in reversed(list(enumerate(bucket)))}
        bucket.sort(key=lambda i: (first_seen[id(adapters[i])], i))
        batch = _Batch(stack, [prompts[i] for i in bucket], [adapters[i] for i in bucket], pad_id, limits)
        results.update(zip(bucket, loop.run(batch), strict=True))
    return [results[i] for i in range(len(prompts))]


def _shared(
    stack: StackedLora,
    group: Group,
    prompts: Sequence[Sequence[int]],
    adapter: LoraAdapter | None,
    loop: _Loop,
    limits: Limits,
) -> dict[int, Generated]:
    """The results of a group, by the index of the prompt."""
    length, first = group.prefix_length, group.index[0]
    prefix = SharedPrefix(stack, prompts[first][:length], adapter, prefill_tokens=limits.prefill_tokens)
    suffixes = [prompts[i][length:] for i in group.index]
    results: dict[int, Generated] = {}
    for pack in packs([len(s) for s in suffixes], loop.max_new_tokens, limits.packed_tokens):
        done = loop.run(PackedRows(prefix, [suffixes[n] for n in pack]))
        results.update(zip([group.index[n] for n in pack], done, strict=True))
    return results


class _Rows(Protocol):
    """Rows that are decoded together; `live` are the indices of those that still run."""

    live: list[int]

    def logits(self) -> Tensor:
        """Logits (B, vocab) of the next token of every live row."""
        ...

    def advance(self, chosen: Tensor, keep: list[int]) -> None:
        """Append the chosen tokens (B,); only the rows `keep` stay."""
        ...


@dataclass(frozen=True, slots=True)
class _Loop:
    """Decodes rows to their ends; one generator of random numbers for all of a call."""

    max_new_tokens: int
    stop_ids: frozenset[int]
    sampling: Sampling
    rng: torch.Generator
    between: Callable[[], None]

    def run(self, rows: _Rows) -> list[Generated]:
        out: list[list[int]] = [[] for _ in rows.live]
        scores: list[list[float]] = [[] for _ in rows.live]
        stopped = [False] * len(rows.live)
        for _ in range(self.max_new_tokens):
            self.between()
            chosen, logprob = _choose(rows.logits(), self.sampling, self.rng)
            keep = []
            for row, (token, score) in enumerate(zip(chosen.tolist(), logprob.tolist(), strict=True)):
                i = rows.live[row]
                scores[i].append(score)
                if token in self.stop_ids:
                    stopped[i] = True
                else:
                    out[i].append(token)
                    keep.append(row)
            if not keep:
                break
            rows.advance(chosen, keep)
        return [Generated(tuple(o), tuple(s), e) for o, s, e in zip(out, scores, stopped, strict=True)]


class _Batch:
    """Rows that have nothing in common, left-padded."""

    def __init__(
        self,
        stack: StackedLora,
        prompts: Sequence[Sequence[int]],
        adapters: Sequence[LoraAdapter | None],
        pad_id: int,
        limits: Limits,
    ) -> None:
        self.stack, self.adapters, self.prefill_tokens = stack, adapters, limits.prefill_tokens
        self.backbone, self.head = stack.model.get_submodule("model"), stack.model.get_submodule("lm_head")
        device = next(stack.model.parameters()).device
        width = max(len(p) for p in prompts)
        ids = torch.full((len(prompts), width), pad_id, dtype=torch.long)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for b, p in enumerate(prompts):  # left padding: all rows' next token is the last column
            ids[b, width - len(p) :] = torch.tensor(p)
            mask[b, width - len(p) :] = 1
        self.ids, self.mask = ids.to(device), mask.to(device)
        self.positions = (self.mask.cumsum(1) - 1).clamp(min=0)
        self.cache = DynamicCache(config=stack.model.config)
        self.live = list(range(len(prompts)))

    def logits(self) -> Tensor:
        """A long prompt goes into the cache piece by piece: attention's memory grows with what runs at once."""
        width, seen = self.ids.shape[1], self.mask.shape[1] - self.ids.shape[1]
        with self.stack.rows([self.adapters[i] for i in self.live]):
            for at in range(0, width, self.prefill_tokens):
                end = min(at + self.prefill_tokens, width)
                hidden = self.backbone(
                    input_ids=self.ids[:, at:end],
                    attention_mask=self.mask[:, : seen + end],
                    position_ids=self.positions[:, at:end],
                    past_key_values=self.cache,
                    use_cache=True,
                ).last_hidden_state[:, -1]
            logits: Tensor = self.head(hidden).float()
        return logits

    def advance(self, chosen: Tensor, keep: list[int]) -> None:
        if len(keep) < len(self.live):
            index = torch.tensor(keep, device=chosen.device)
            self.cache.batch_select_indices(index)
            self.live = [self.live[row] for row in keep]
            chosen, self.mask, self.positions = chosen[index], self.mask[index], self.positions[index]
        self.ids = chosen[:, None]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(keep), 1)], dim=1)
        self.positions = self.positions[:, -1:] + 1


def _choose(logits: Tensor, sampling: Sampling, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Next tokens (B,) and their log-probabilities under the *untempered* distribution."""
    if sampling.temperature == 0:
        top, chosen = logits.max(dim=-1)
    else:
        values, indices = logits.topk(min(sampling.top_k, logits.shape[-1]), dim=-1)
        shares = (values / sampling.temperature).softmax(dim=-1)
        pick = torch.multinomial(shares.cpu(), 1, generator=rng).to(logits.device)
        chosen, top = indices.gather(1, pick)[:, 0], values.gather(1, pick)[:, 0]
    return chosen, top - logits.logsumexp(dim=-1)
