"""Batched decoding in which every row may use its own adapter.

Greedy or temperature sampling with a top-k cut before the softmax (transformers' top-p sorts the whole
vocabulary for every row and token). Finished rows leave the batch. Not here: chat templates, routing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from seal_memory.engines.batches import length_buckets
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
    token_budget: int = 8192,
) -> list[Generated]:
    """Continue each prompt under its own adapter; results in the order of the prompts."""
    rng = torch.Generator().manual_seed(sampling.seed)
    results: dict[int, Generated] = {}
    for bucket in length_buckets([len(p) + max_new_tokens for p in prompts], token_budget):
        first_seen = {id(adapters[i]): n for n, i in reversed(list(enumerate(bucket)))}
        bucket.sort(key=lambda i: (first_seen[id(adapters[i])], i))
        batch = _Batch(stack, [prompts[i] for i in bucket], [adapters[i] for i in bucket], pad_id)
        done = batch.run(max_new_tokens, frozenset(stop_ids), sampling, rng)
        results.update(zip(bucket, done, strict=True))
    return [results[i] for i in range(len(prompts))]


class _Batch:
    """Rows that are decoded together; `live` are the indices of those that still run."""

    def __init__(
        self,
        stack: StackedLora,
        prompts: Sequence[Sequence[int]],
        adapters: Sequence[LoraAdapter | None],
        pad_id: int,
    ) -> None:
        self.stack, self.adapters = stack, adapters
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

    def run(
        self, max_new_tokens: int, stop_ids: frozenset[int], sampling: Sampling, rng: torch.Generator
    ) -> list[Generated]:
        out: list[list[int]] = [[] for _ in self.live]
        scores: list[list[float]] = [[] for _ in self.live]
        stopped = [False] * len(self.live)
        for _ in range(max_new_tokens):
            chosen, logprob = _choose(self._logits(), sampling, rng)
            keep = []
            for row, (token, score) in enumerate(zip(chosen.tolist(), logprob.tolist(), strict=True)):
                i = self.live[row]
                scores[i].append(score)
                if token in stop_ids:
                    stopped[i] = True
                else:
                    out[i].append(token)
                    keep.append(row)
            if not keep:
                break
            self._advance(chosen, keep)
        return [Generated(tuple(o), tuple(s), e) for o, s, e in zip(out, scores, stopped, strict=True)]

    def _logits(self) -> Tensor:
        """Logits (B, vocab) of the next token of every live row."""
        with self.stack.rows([self.adapters[i] for i in self.live]):
            hidden = self.backbone(
                input_ids=self.ids,
                attention_mask=self.mask,
                position_ids=self.positions,
                past_key_values=self.cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
            logits: Tensor = self.head(hidden).float()
        return logits

    def _advance(self, chosen: Tensor, keep: list[int]) -> None:
        """Append the chosen tokens; only the rows `keep` stay."""
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
