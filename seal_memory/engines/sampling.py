"""Token choice: greedy, or temperature sampling with a top-k cut *before* any sorting.

transformers' top-p sorts the whole vocabulary for every row and token; here the nucleus is cut out of the k likeliest.
Each row's random numbers follow from the seed and its own prompt, so that a sample does not depend on the rest of the
batch, when rows finish, or how the batch is split. Not here: running the model (`decode`), repetition penalties, beams.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seal_memory.engines.base import DEFAULT_TOP_K
from seal_memory.engines.encoding import Likeliest
from seal_memory.errors import InputError


@dataclass(frozen=True, slots=True)
class Sampling:
    """`temperature` 0 is greedy. `top_p` cuts the rest that `top_k` leaves, in transformers' order."""

    temperature: float = 0.0
    top_k: int = DEFAULT_TOP_K
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


def draw_uniforms(
    sampling: Sampling,
    prompts: Sequence[Sequence[int]],
    owners: Sequence[Hashable],
    tokens: int,
    greedy: Sequence[bool] = (),
    own_seeds: Sequence[int | None] = (),
) -> Tensor | None:
    """Uniform numbers (rows, tokens) for a whole call, on the CPU; None when nothing is sampled.

    Copies of a prompt under the same owner (its adapter) each draw their own. `greedy` rows (empty, or one flag per
    row) get zeros: `choose` maps 0 to the likeliest token.
    """
    if sampling.temperature == 0:
        return None
    uniforms = torch.zeros(len(prompts), tokens, dtype=torch.float64)
    for row, seed in enumerate(row_seeds(sampling, prompts, owners, greedy, own_seeds)):
        if seed is not None:
            uniforms[row] = torch.rand(tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return uniforms


def row_seeds(
    sampling: Sampling,
    prompts: Sequence[Sequence[int]],
    owners: Sequence[Hashable],
    greedy: Sequence[bool] = (),
    own_seeds: Sequence[int | None] = (),
) -> list[int | None]:
    """Every row's seed (0 to 2**63 - 1), None where it is greedy.

    It is derived from the prompt's own seed or the call's, the prompt, and the number of sampled copies before it.
    """
    copies: Counter[Hashable] = Counter()
    seeds: list[int | None] = []
    flags, given = greedy or [False] * len(prompts), own_seeds or [None] * len(prompts)
    for ids, owner, is_greedy, own in zip(prompts, owners, flags, given, strict=True):
        if is_greedy or sampling.temperature == 0:
            seeds.append(None)
            continue
        seed = sampling.seed if own is None else own
        key = (tuple(ids), owner, seed)
        material = f"{seed} {copies[key]} ".encode() + array("q", ids).tobytes()
        seeds.append(int.from_bytes(hashlib.sha256(material).digest()[:8], "big") >> 1)
        copies[key] += 1
    return seeds


def choose(
    logits: Tensor, sampling: Sampling, uniforms: Tensor | None, allowed: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Next tokens (B,) and their log-probabilities (B,) under the *untempered* distribution; `uniforms` is (B,).

    `allowed` (B, vocab): tokens that may be chosen, None for all. The log-probabilities are those without this limit,
    as vLLM reports them.
    """
    choices = logits if allowed is None else logits.masked_fill(~allowed, -math.inf)
    if uniforms is None:
        chosen = choices.argmax(dim=-1)
    else:
        values, indices = choices.topk(min(sampling.top_k, logits.shape[-1]), dim=-1)  # likeliest first
        place = _sampled_rank(values.cpu(), sampling, uniforms).to(logits.device)
        chosen = indices.gather(1, place[:, None])[:, 0]
    top = logits.gather(1, chosen[:, None])[:, 0]
    return chosen, top - logits.logsumexp(dim=-1)


def _sampled_rank(values: Tensor, sampling: Sampling, uniforms: Tensor) -> Tensor:
    """Rank in (B, k) descending logits that each row's uniform number selects. In float64, so on the CPU."""
    shares = (values.double() / sampling.temperature).softmax(dim=-1)
    if sampling.top_p < 1:
        before = shares.cumsum(dim=-1) - shares
        shares = shares.masked_fill(before >= sampling.top_p, 0.0)
    sums = shares.cumsum(dim=-1)
    target = uniforms[:, None] * sums[:, -1:]
    return torch.searchsorted(sums, target, right=True)[:, 0].clamp(max=values.shape[-1] - 1)


def likeliest(logits: Tensor, count: int) -> list[Likeliest]:
    """The `count` likeliest tokens for every row of (B, vocab) logits, under the *untempered* distribution."""
    values, indices = logits.topk(min(count, logits.shape[-1]), dim=-1)
    values = values - logits.logsumexp(dim=-1, keepdim=True)
    return [tuple(zip(i, v, strict=True)) for i, v in zip(indices.tolist(), values.tolist(), strict=True)]
