"""Choosing the next tokens: greedy, or temperature sampling with a top-k cut *before* anything is sorted.

transformers' top-p sorts the whole vocabulary for every row and token; here the nucleus is cut out of the k
likeliest. Every row draws with numbers that follow from the seed and its own prompt, so that a sample does not depend
on who else is in the batch, when they finish, or how the batch is split. Not here: running the model (`decode`),
repetition penalties, beams.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seal_memory.engines.encoding import Likeliest
from seal_memory.errors import InputError


@dataclass(frozen=True, slots=True)
class Sampling:
    """`temperature` 0 is greedy. `top_p` cuts what `top_k` has left, as transformers does in this order."""

    temperature: float = 0.0
    top_k: int = 50
    seed: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise InputError(f"temperature is {self.temperature!r}: expected 0 (greedy) or more")
        if self.top_k < 1:
            raise InputError(f"top_k is {self.top_k!r}: expected 1 or more")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p!r}: expected more than 0 and at most 1")


GREEDY = Sampling()


def draws(
    sampling: Sampling,
    prompts: Sequence[Sequence[int]],
    owners: Sequence[Hashable],
    tokens: int,
    greedy: Sequence[bool] = (),
) -> Tensor | None:
    """Uniform numbers (rows, tokens) for all of a call, on the CPU; None when nothing is drawn.

    Copies of a prompt under the same owner (its adapter) each have their own. `greedy` rows (none, or one per row)
    have zeros: what `choose` takes for 0 is the likeliest.
    """
    if sampling.temperature == 0:
        return None
    drawn = torch.zeros(len(prompts), tokens, dtype=torch.float64)
    for row, seed in enumerate(row_seeds(sampling, prompts, owners, greedy)):
        if seed is not None:
            drawn[row] = torch.rand(tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn


def row_seeds(
    sampling: Sampling, prompts: Sequence[Sequence[int]], owners: Sequence[Hashable], greedy: Sequence[bool] = ()
) -> list[int | None]:
    """What every row draws with (0 to 2**63 - 1), None where it is greedy.

    It follows from the call's seed, the prompt, and how many copies of it that are sampled, too, come before.
    """
    copies: Counter[Hashable] = Counter()
    seeds: list[int | None] = []
    for ids, owner, likeliest in zip(prompts, owners, greedy or [False] * len(prompts), strict=True):
        if likeliest or sampling.temperature == 0:
            seeds.append(None)
            continue
        key = (tuple(ids), owner)
        told = f"{sampling.seed} {copies[key]} ".encode() + array("q", ids).tobytes()
        seeds.append(int.from_bytes(hashlib.sha256(told).digest()[:8], "big") >> 1)
        copies[key] += 1
    return seeds


def choose(logits: Tensor, sampling: Sampling, drawn: Tensor | None) -> tuple[Tensor, Tensor]:
    """Next tokens (B,) and their log-probabilities (B,) under the *untempered* distribution; `drawn` is (B,)."""
    if drawn is None:
        chosen = logits.argmax(dim=-1)
    else:
        values, indices = logits.topk(min(sampling.top_k, logits.shape[-1]), dim=-1)  # likeliest first
        place = _place(values.cpu(), sampling, drawn).to(logits.device)
        chosen = indices.gather(1, place[:, None])[:, 0]
    top = logits.gather(1, chosen[:, None])[:, 0]
    return chosen, top - logits.logsumexp(dim=-1)


def _place(values: Tensor, sampling: Sampling, drawn: Tensor) -> Tensor:
    """Where in (B, k) logits, sorted downwards, the number drawn by each row falls. In float64, so on the CPU."""
    shares = (values.double() / sampling.temperature).softmax(dim=-1)
    if sampling.top_p < 1:
        before = shares.cumsum(dim=-1) - shares
        shares = shares.masked_fill(before >= sampling.top_p, 0.0)
    sums = shares.cumsum(dim=-1)
    target = drawn[:, None] * sums[:, -1:]
    return torch.searchsorted(sums, target, right=True)[:, 0].clamp(max=values.shape[-1] - 1)


def likeliest(logits: Tensor, count: int) -> list[Likeliest]:
    """For every row of (B, vocab) logits the `count` likeliest tokens, under the *untempered* distribution."""
    values, indices = logits.topk(min(count, logits.shape[-1]), dim=-1)
    values = values - logits.logsumexp(dim=-1, keepdim=True)
    return [tuple(zip(i, v, strict=True)) for i, v in zip(indices.tolist(), values.tolist(), strict=True)]
