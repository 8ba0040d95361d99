"""The inner loop: train K adapters at once over one frozen base.

SEAL (arXiv 2506.10943) trains its candidates one after another, each padded to 2048 tokens. Here all
candidates of all pending episodes step together: every global step takes each adapter's own next
batch, packs all rows by length under a token budget, and updates each adapter with its own AdamW.
An adapter's result equals training it alone (up to floating-point summation order). Rows are learned from their
tokens; for KL regularisation, anchor rows are learned from the base's own distribution (`soft_targets`).

Not here: the rows of each step (`plans`), grading and choosing candidates (`candidates`), publishing (`consolidate`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from seal_memory.engines.batches import LOGIT_CHUNK, MicroBatch, Row, micro_batches, target_hidden
from seal_memory.engines.head import output_head
from seal_memory.engines.training_pass import ACTIVATION_BUDGET, training_pass
from seal_memory.learning.soft_targets import SoftTargets, concatenate, divergence_into_gradient
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora


@dataclass(slots=True)
class TrainingJob:
    """One adapter and its plan: `batches[t]` are the row indices of optimizer step t.

    Step t also trains the rows `anchors[t % len(anchors)]` on the distributions in `soft` (KL regularisation): the mean
    of their losses, weighted by `anchor`, is added to the mean of the step's own.
    """

    adapter: LoraAdapter
    rows: Sequence[Row]
    batches: Sequence[Sequence[int]]
    learning_rate: float
    weight_decay: float = 0.0
    soft: Mapping[int, SoftTargets] = field(default_factory=dict)
    anchors: Sequence[Sequence[int]] = ()
    anchor: float = 0.0
    losses: list[float] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Tokens that the whole plan puts through the model, without padding."""
        sizes = [len(row.ids) for row in self.rows]
        anchors = [self.anchors[t % len(self.anchors)] for t in range(len(self.batches))] if self.anchors else []
        return sum(sizes[i] for step in (*self.batches, *anchors) for i in step)


def train(
    stack: StackedLora,
    jobs: Sequence[TrainingJob],
    *,
    token_budget: int,
    pad_id: int,
    activation_budget: int = ACTIVATION_BUDGET,
    progress: Callable[[int, int], None] | None = None,
    turn: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Train all jobs' adapters in place; finished jobs leave the stack, and their optimizer state is freed.

    A micro-batch whose activations would exceed `activation_budget` bytes computes its layers twice instead of
    keeping them. `progress(done, total)` counts optimizer steps. `jobs[k].losses` gets one mean loss per step.
    Each step runs inside `turn()`; between two steps the model is free for others.
    """
    device = next(stack.model.parameters()).device
    total = max((len(job.batches) for job in jobs), default=0)
    try:
        live = {k: _AdamW(job) for k, job in enumerate(jobs) if job.batches}
        for step in range(total):
            with turn():
                # 1. every unfinished adapter's own rows for this step, then its anchors
                losses = dict.fromkeys(live, 0.0)
                for part in _loss_groups({k: jobs[k] for k in live}, step):
                    # 2. one pass over all of them, in length buckets; gradients add up per adapter
                    batches = micro_batches(
                        part.rows, part.owners, token_budget=token_budget, pad_id=pad_id, device=device
                    )
                    for batch in batches:
                        soft = concatenate([part.soft[i] for i in batch.index]) if part.soft else None
                        row_losses = _backward(stack, jobs, batch, part.owners, part.counts, activation_budget, soft)
                        for b, i in enumerate(batch.index):
                            losses[part.owners[i]] += row_losses[b]
                # 3. each adapter steps by itself, and leaves after its last step
                for k in tuple(live):
                    live[k].step(step)
                    jobs[k].losses.append(losses[k])
                    if step + 1 == len(jobs[k].batches):
                        del live[k]
                        jobs[k].adapter.end_training()
            if progress is not None:
                progress(step + 1, total)
    finally:
        for job in jobs:
            job.adapter.end_training()


@dataclass(slots=True)
class _LossGroup:
    """Rows of one step with one kind of loss: their owners (job indices), each owner's divisor, soft targets if any."""

    rows: list[Row] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    counts: dict[int, float] = field(default_factory=dict)
    soft: list[SoftTargets] = field(default_factory=list)


def _loss_groups(live: Mapping[int, TrainingJob], step: int) -> Iterator[_LossGroup]:
    """The step's own rows and its anchor rows, as far as there are any."""
    own, anchors = _LossGroup(counts={k: float(len(job.batches[step])) for k, job in live.items()}), _LossGroup()
    for k, job in live.items():
        for i in job.batches[step]:
            own.rows.append(job.rows[i])
            own.owners.append(k)
        anchor_rows = job.anchors[step % len(job.anchors)] if job.anchors and job.anchor > 0 else ()
        for i in anchor_rows:
            anchors.rows.append(job.rows[i])
            anchors.owners.append(k)
            anchors.soft.append(job.soft[i])
            anchors.counts[k] = len(anchor_rows) / job.anchor
    return (part for part in (own, anchors) if part.rows)


def _backward(
    stack: StackedLora,
    jobs: Sequence[TrainingJob],
    batch: MicroBatch,
    owners: Sequence[int],
    counts: Mapping[int, float],
    activation_budget: int = ACTIVATION_BUDGET,
    soft: SoftTargets | None = None,
) -> list[float]:
    """Backpropagate one micro-batch; returns each row's share of its adapter's loss."""
    adapters = [jobs[owners[i]].adapter for i in batch.index]
    row_scale = torch.tensor([1.0 / counts[owners[i]] for i in batch.index], device=batch.targets.device)
    lengths = torch.bincount(batch.row_of_target, minlength=len(batch.index)).clamp(min=1)
    weight = (row_scale / lengths)[batch.row_of_target]  # mean over a row's tokens, then over rows
    rows, width = batch.input_ids.shape
    # the backward pass runs inside, too: it may compute layers again
    with stack.rows(adapters), training_pass(stack.model, rows, width, activation_budget=activation_budget):
        hidden = target_hidden(stack.model, batch)  # (N, D)
        token_losses = _chunked_loss(stack.model, hidden, batch.targets, weight, soft)
    out = torch.zeros(len(batch.index), device=token_losses.device)
    out.index_add_(0, batch.row_of_target, token_losses * weight)
    losses: list[float] = out.tolist()
    return losses


def _chunked_loss(
    model: nn.Module, hidden: Tensor, targets: Tensor, weight: Tensor, soft: SoftTargets | None = None
) -> Tensor:
    """Loss per target token (N,), backpropagated; only `LOGIT_CHUNK` x vocab logits exist at one time.

    The gradient is written over the logits: autograd would keep four buffers of their size (measured: the
    head's part of a step takes 18 % less time without them).
    """
    head = output_head(model)
    matrix = head.weight  # (vocab, D)
    gradient = torch.zeros_like(hidden)
    losses = [hidden.new_empty(0, dtype=torch.float32)]
    with torch.no_grad():
        for at in range(0, len(targets), LOGIT_CHUNK):
            cut = slice(at, at + LOGIT_CHUNK)
            logits = head.logits(hidden[cut])
            slope = head.slope(logits)
            if soft is None:
                losses.append(_losses_into_gradient(logits, targets[cut], weight[cut]))
            else:
                losses.append(divergence_into_gradient(logits, soft.take(cut), weight[cut]))
            if not isinstance(slope, float) or slope != 1.0:
                logits.mul_(slope)
            torch.mm(logits.to(matrix.dtype), matrix, out=gradient[cut])
    torch.autograd.backward(hidden, gradient)
    return torch.cat(losses)


def _losses_into_gradient(logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy (N,) of `logits` (N, vocab); overwrites them with the gradient of its weighted sum."""
    place, scale = targets[:, None], weight[:, None]
    logits.sub_(logits.amax(dim=1, keepdim=True))
    chosen = logits.gather(1, place)
    total = logits.exp_().sum(dim=1, keepdim=True)
    logits.mul_(scale / total).scatter_add_(1, place, -scale)
    return (total.log() - chosen)[:, 0]


class _AdamW:
    """AdamW on one adapter's flat buffer, linear warm-up over 5 % of the steps, then cosine to 10 %.

    torch.optim would step 420 small tensors per adapter; here it is one, in one fused pass. The function and not
    the class: the class imports torch._dynamo, 1.3 seconds.
    """

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self.grad = job.adapter.begin_training()
        self.m = torch.zeros_like(self.grad)
        self.v = torch.zeros_like(self.grad)
        self.done = torch.zeros((), device=self.grad.device)
        self.total = len(job.batches)

    @torch.no_grad()
    def step(self, t: int) -> None:
        norm = float(self.grad.norm())
        if norm > 1.0:
            self.grad.mul_(1.0 / norm)
        adamw(
            [self.job.adapter.flat.data],
            [self.grad],
            [self.m],
            [self.v],
            [],
            [self.done],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.99,
            lr=self.job.learning_rate * self._factor(t),
            weight_decay=self.job.weight_decay,
            eps=1e-8,
            maximize=False,
        )
        self.grad.zero_()

    def _factor(self, t: int) -> float:
        warm = max(1, round(0.05 * self.total))
        if t < warm:
            return (t + 1) / warm
        return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (t - warm) / max(1, self.total - warm)))
