"""The inner loop: train K adapters at once over one frozen base.

SEAL (arXiv 2506.10943) trains its candidates one after another, each padded to 2048 tokens. Here all
candidates of all pending episodes step together: every global step takes each adapter's own next
batch, packs all rows by length under a token budget, and updates each adapter with its own AdamW.
An adapter's result equals training it alone (up to floating-point summation order).

Not here: which rows are trained when (`plans`), grading and choosing candidates (`candidates`), publishing
(`consolidate`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from seal_memory.engines.batches import LOGIT_CHUNK, MicroBatch, Row, micro_batches, target_hidden
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora


@dataclass(slots=True)
class TrainingJob:
    """One adapter and its plan: `batches[t]` are the row indices of optimizer step t."""

    adapter: LoraAdapter
    rows: Sequence[Row]
    batches: Sequence[Sequence[int]]
    learning_rate: float
    weight_decay: float = 0.0
    losses: list[float] = field(default_factory=list)


def train(
    stack: StackedLora,
    jobs: Sequence[TrainingJob],
    *,
    token_budget: int,
    pad_id: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Train all jobs' adapters in place; finished jobs leave the stack.

    `progress(done, total)` counts optimizer steps. `jobs[k].losses` gets one mean loss per step.
    """
    device = next(stack.model.parameters()).device
    states = [_AdamW(job) for job in jobs]
    total = max((len(job.batches) for job in jobs), default=0)
    try:
        for step in range(total):
            # 1. every unfinished adapter's own rows for this step
            live = [k for k, job in enumerate(jobs) if step < len(job.batches)]
            rows = [jobs[k].rows[i] for k in live for i in jobs[k].batches[step]]
            owners = [k for k in live for _ in jobs[k].batches[step]]
            # 2. one pass over all of them, in length buckets; gradients add up per adapter
            losses = dict.fromkeys(live, 0.0)
            counts = {k: len(jobs[k].batches[step]) for k in live}
            for batch in micro_batches(rows, owners, token_budget=token_budget, pad_id=pad_id, device=device):
                row_losses = _backward(stack, jobs, batch, owners, counts)
                for b, i in enumerate(batch.index):
                    losses[owners[i]] += row_losses[b]
            # 3. each adapter steps by itself
            for k in live:
                states[k].step(step)
                jobs[k].losses.append(losses[k])
            if progress is not None:
                progress(step + 1, total)
    finally:
        for job in jobs:
            job.adapter.end_training()


def _backward(
    stack: StackedLora,
    jobs: Sequence[TrainingJob],
    batch: MicroBatch,
    owners: Sequence[int],
    counts: dict[int, int],
) -> list[float]:
    """Backpropagate one micro-batch; returns each row's share of its adapter's loss."""
    adapters = [jobs[owners[i]].adapter for i in batch.index]
    row_scale = torch.tensor([1.0 / counts[owners[i]] for i in batch.index], device=batch.targets.device)
    lengths = torch.bincount(batch.row_of_target, minlength=len(batch.index)).clamp(min=1)
    weight = (row_scale / lengths)[batch.row_of_target]  # mean over a row's tokens, then over rows
    with stack.rows(adapters):
        hidden = target_hidden(stack.model, batch)  # (N, D)
        token_losses = _chunked_loss(stack.model, hidden, batch.targets, weight)
    out = torch.zeros(len(batch.index), device=token_losses.device)
    out.index_add_(0, batch.row_of_target, token_losses * weight)
    return [float(x) for x in out]


def _chunked_loss(model: nn.Module, hidden: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy per target token (N,), backpropagated chunk by chunk so that only
    `LOGIT_CHUNK` x vocab logits exist at one time."""
    head = model.get_submodule("lm_head")
    leaf = hidden.detach().requires_grad_(True)
    leaf.grad = torch.zeros_like(leaf)  # stays so when there is no target at all
    losses = [hidden.new_empty(0, dtype=torch.float32)]
    for at in range(0, len(targets), LOGIT_CHUNK):
        cut = slice(at, at + LOGIT_CHUNK)
        logits = head(leaf[cut]).float()
        loss = nn.functional.cross_entropy(logits, targets[cut], reduction="none")
        torch.autograd.backward((loss * weight[cut]).sum())
        losses.append(loss.detach())
    torch.autograd.backward(hidden, leaf.grad)
    return torch.cat(losses)


class _AdamW:
    """AdamW on one adapter's flat buffer, linear warm-up over 5 % of the steps, then cosine to 10 %.

    torch.optim would step 420 small tensors per adapter; the flat buffer makes it three passes.
    """

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self.grad = job.adapter.begin_training()
        self.m = torch.zeros_like(self.grad)
        self.v = torch.zeros_like(self.grad)
        self.total = len(job.batches)

    @torch.no_grad()
    def step(self, t: int, *, beta1: float = 0.9, beta2: float = 0.99, eps: float = 1e-8) -> None:
        warm = max(1, round(0.05 * self.total))
        if t < warm:
            factor = (t + 1) / warm
        else:
            factor = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (t - warm) / max(1, self.total - warm)))
        lr = self.job.learning_rate * factor
        norm = float(self.grad.norm())
        if norm > 1.0:
            self.grad.mul_(1.0 / norm)
        self.m.mul_(beta1).add_(self.grad, alpha=1 - beta1)
        self.v.mul_(beta2).addcmul_(self.grad, self.grad, value=1 - beta2)
        flat = self.job.adapter.flat
        if self.job.weight_decay:
            flat.data.mul_(1 - lr * self.job.weight_decay)
        denominator = (self.v / (1 - beta2 ** (t + 1))).sqrt_().add_(eps)
        flat.data.addcdiv_(self.m, denominator, value=-lr / (1 - beta1 ** (t + 1)))
        self.grad.zero_()
