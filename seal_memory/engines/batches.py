"""Token rows, length-bucketed micro-batches under a token budget, and log-probabilities at target positions.

Logits are computed only at target positions, a chunk at a time: with a vocabulary of 49,152 they would outweigh
everything else. Not here: which items are trained when (`learning.inner_loop`), text and templates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seal_memory.engines.head import output_head

LOGIT_CHUNK = 512  # target positions per (N, vocab) chunk of logits: 100 MB of float32 at a vocabulary of 49,152


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids of one training or scoring row; the loss counts `ids[prompt_length:]`."""

    ids: tuple[int, ...]
    prompt_length: int

    @property
    def target_length(self) -> int:
        return len(self.ids) - self.prompt_length


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Right-padded `input_ids` (B, T); `mask` (B, T) marks positions whose *next* token is a target.

    `index[b]`: the row's place in the list that was batched.
    """

    input_ids: Tensor
    mask: Tensor
    targets: Tensor  # (N,) the target tokens, row by row
    row_of_target: Tensor  # (N,) 0..B-1
    index: tuple[int, ...]


def length_buckets(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Group indices by length so that rows x longest row <= `token_budget` (a longer row is alone)."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    bucket: list[int] = []
    for i in order:
        if bucket and (len(bucket) + 1) * lengths[i] > token_budget:
            yield bucket
            bucket = []
        bucket.append(i)
    if bucket:
        yield bucket


def collate(rows: Sequence[Row], index: Sequence[int], *, pad_id: int, device: torch.device) -> MicroBatch:
    """Right-pad the rows in `index`. Padding is never a target and, being last, is never attended to."""
    chosen = [rows[i] for i in index]
    width = max(len(r.ids) for r in chosen)
    input_ids = torch.full((len(chosen), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(chosen), width), dtype=torch.bool)
    targets: list[int] = []
    owners: list[int] = []
    for b, row in enumerate(chosen):
        input_ids[b, : len(row.ids)] = torch.tensor(row.ids)
        mask[b, max(row.prompt_length, 1) - 1 : len(row.ids) - 1] = True
        counted = row.ids[max(row.prompt_length, 1) :]
        targets.extend(counted)
        owners.extend([b] * len(counted))
    return MicroBatch(
        input_ids.to(device),
        mask.to(device),
        torch.tensor(targets, dtype=torch.long, device=device),
        torch.tensor(owners, dtype=torch.long, device=device),
        tuple(index),
    )


def micro_batches(
    rows: Sequence[Row], owners: Sequence[int], *, token_budget: int, pad_id: int, device: torch.device
) -> Iterable[MicroBatch]:
    """Length-bucketed micro-batches; inside each, rows of one owner (adapter) are adjacent."""
    for bucket in length_buckets([len(r.ids) for r in rows], token_budget):
        bucket.sort(key=lambda i: (owners[i], i))
        yield collate(rows, bucket, pad_id=pad_id, device=device)


def target_hidden(model: nn.Module, batch: MicroBatch) -> Tensor:
    """Last hidden states (N, D) at the positions that predict targets."""
    backbone = model.get_submodule("model")
    hidden: Tensor = backbone(input_ids=batch.input_ids, use_cache=False).last_hidden_state
    return hidden[batch.mask]


def target_logprobs(model: nn.Module, batch: MicroBatch) -> Tensor:
    """Log-probability (N,) of every target token; logits are made in chunks of `LOGIT_CHUNK` positions."""
    hidden = target_hidden(model, batch)
    head = output_head(model)
    parts = [hidden.new_empty(0, dtype=torch.float32)]
    for at in range(0, len(batch.targets), LOGIT_CHUNK):
        logits = head.logits(hidden[at : at + LOGIT_CHUNK])
        chosen = logits.gather(1, batch.targets[at : at + LOGIT_CHUNK, None])[:, 0]
        parts.append(chosen - logits.logsumexp(dim=-1))
    return torch.cat(parts)
