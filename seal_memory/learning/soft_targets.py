"""Soft targets for KL regularisation: the untouched base's likeliest tokens, and one outcome for all others.

With the rest as an outcome of its own the loss is smallest at the base's own distribution, however few tokens are kept;
without it the adapter would learn that there are no others. Not here: the rows (`sleep.anchoring`), training
(`inner_loop`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seal_memory.engines.batches import LOGIT_CHUNK, Row, micro_batches, target_hidden
from seal_memory.engines.head import output_head
from seal_memory.engines.local import SCORE_TOKEN_BUDGET, TransformersEngine

TOP = 32  # tokens kept per position: 384 bytes, where the whole vocabulary is 200 kB
MIN_REST = 1e-6  # probability; below it the gradient of the rest is negligible


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """The K likeliest tokens at N positions: `ids` (N, K) int64, `logprobs` (N, K) float32, natural logarithms."""

    ids: Tensor
    logprobs: Tensor

    def take(self, part: slice) -> SoftTargets:
        """A slice of the positions."""
        return SoftTargets(self.ids[part], self.logprobs[part])


def concatenate(parts: Sequence[SoftTargets]) -> SoftTargets:
    """The positions of several rows in one object."""
    return SoftTargets(torch.cat([p.ids for p in parts]), torch.cat([p.logprobs for p in parts]))


def soft_targets(engine: TransformersEngine, rows: Sequence[Row]) -> list[SoftTargets]:
    """The untouched base's predictions at the target positions of each row, in the rows' order."""
    found: dict[int, SoftTargets] = {}
    with engine.lock, torch.no_grad():
        batches = micro_batches(
            rows, [0] * len(rows), token_budget=SCORE_TOKEN_BUDGET, pad_id=engine.pad_id, device=engine.device
        )
        for batch in batches:
            engine.lock.give_way()
            whole = _likeliest(engine.model, target_hidden(engine.model, batch))
            for b, i in enumerate(batch.index):
                own = batch.row_of_target == b
                found[i] = SoftTargets(whole.ids[own], whole.logprobs[own])
    return [found[i] for i in range(len(rows))]


def _likeliest(model: nn.Module, hidden: Tensor) -> SoftTargets:
    head = output_head(model)
    parts = []
    for at in range(0, max(1, len(hidden)), LOGIT_CHUNK):
        logprobs = head.logits(hidden[at : at + LOGIT_CHUNK]).log_softmax(dim=-1)
        top = logprobs.topk(min(TOP, logprobs.shape[-1]), dim=-1)
        parts.append(SoftTargets(top.indices, top.values))
    return concatenate(parts)


def divergence_into_gradient(logits: Tensor, soft: SoftTargets, weight: Tensor) -> Tensor:
    """KL(soft || softmax(logits)) (N,), over the kept tokens and the rest.

    Overwrites `logits` (N, vocab) with the gradient of its sum weighted by `weight` (N,): q - p for a kept token,
    q (1 - rest_p / rest_q) for any other.
    """
    scale = weight[:, None]
    logits.sub_(logits.amax(dim=1, keepdim=True))
    chosen = logits.gather(1, soft.ids)
    total = logits.exp_().sum(dim=1, keepdim=True)
    logq, p = chosen - total.log(), soft.logprobs.exp()
    q = logq.exp()
    rest_p = (1.0 - p.sum(dim=1, keepdim=True)).clamp_(min=MIN_REST)
    rest_q = (1.0 - q.sum(dim=1, keepdim=True)).clamp_(min=MIN_REST)
    losses = (p * (soft.logprobs - logq)).sum(dim=1) + (rest_p * (rest_p / rest_q).log())[:, 0]
    logits.mul_((1.0 - rest_p / rest_q) * scale / total)
    logits.scatter_(1, soft.ids, (q - p) * scale)
    return losses
