"""Batched decoding, each row under its own adapter.

Finished rows leave the batch. A beginning that prompts under one adapter share is computed once: inside the batch
(`padded`), or, where it is too long to repeat for every row, with the rows packed behind it (`prefixes`). `on_token`
receives every token as it is made: for streaming, and for stop strings, which need the text. Not here: chat templates,
routing, choosing tokens (`sampling`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from seal_memory.engines.batches import length_buckets
from seal_memory.engines.encoding import Generated, Likeliest
from seal_memory.engines.padded import PaddedRows
from seal_memory.engines.prefixes import (
    MIN_HEAD,
    MIN_PREFIX,
    PACKED_TOKENS,
    PREFILL_TOKENS,
    Group,
    PackedRows,
    SharedPrefix,
    can_share,
    find_groups,
    pack_rows,
)
from seal_memory.engines.sampling import GREEDY, Sampling, choose, draw_uniforms, likeliest
from seal_memory.engines.schemas import SchemaMatcher
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora

__all__ = ["GREEDY", "LIMITS", "Generated", "Limits", "OnToken", "Sampling", "generate"]

OnToken = Callable[[int, int], bool | None]  # (prompt index, new token): True stops the row after it


@dataclass(frozen=True, slots=True)
class Limits:
    """Memory bounds, and minimum lengths for sharing a beginning; `min_prefix` 0 shares nothing."""

    token_budget: int = 8192  # padded tokens per batch
    prefill_tokens: int = PREFILL_TOKENS
    min_prefix: int = MIN_PREFIX  # packed rows: those that do not fit the budget side by side
    packed_tokens: int = PACKED_TOKENS
    min_head: int = MIN_HEAD  # rows side by side


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
    on_token: OnToken | None = None,
    before_token: Callable[[], None] = lambda: None,
    top: int = 0,
    greedy: Sequence[bool] = (),
    own_seeds: Sequence[int | None] = (),
    matchers: Sequence[SchemaMatcher | None] = (),
) -> list[Generated]:
    """Continue each prompt under its own adapter; results in the order of the prompts.

    `greedy`: prompts that are not sampled, whatever `sampling` says; empty, or one flag per prompt. `own_seeds`:
    of prompts that have one instead of the sampling's. `top`: how many of the likeliest tokens to report beside every
    generated one. `before_token` is called before every token; it may run other batches, or raise to end this one.
    `matchers`: fresh ones of prompts whose text follows a schema; empty, or one or None per prompt.
    """
    uniforms = draw_uniforms(sampling, prompts, [id(a) for a in adapters], max_new_tokens, greedy, own_seeds)
    loop = _Loop(max_new_tokens, frozenset(stop_ids), sampling, uniforms, on_token, before_token, top, matchers)
    longest = max((len(p) for p in prompts), default=0) + max_new_tokens
    sharing = limits.min_prefix > 0 and can_share(stack.model, longest)
    results: dict[int, Generated] = {}
    for group in find_groups(prompts, [id(a) for a in adapters], min_prefix=limits.min_prefix) if sharing else []:
        if len(group.index) * (max(len(prompts[i]) for i in group.index) + max_new_tokens) > limits.token_budget:
            results.update(_generate_packed(stack, group, prompts, adapters[group.index[0]], loop, limits))
    alone = [i for i in range(len(prompts)) if i not in results]
    for places in length_buckets([len(prompts[i]) + max_new_tokens for i in alone], limits.token_budget):
        bucket = [alone[n] for n in places]
        first_seen = {id(adapters[i]): n for n, i in reversed(list(enumerate(bucket)))}
        bucket.sort(key=lambda i: (first_seen[id(adapters[i])], i))
        rows = _padded_rows(stack, [(prompts[i], adapters[i]) for i in bucket], loop, limits, pad_id, sharing)
        results.update(loop.run(rows, bucket))
    return [results[i] for i in range(len(prompts))]


def _padded_rows(
    stack: StackedLora,
    bucket: Sequence[tuple[Sequence[int], LoraAdapter | None]],
    loop: _Loop,
    limits: Limits,
    pad_id: int,
    sharing: bool,
) -> PaddedRows:
    """Rows side by side, with the heads that their prompts share."""
    prompts, adapters = [p for p, _ in bucket], [a for _, a in bucket]
    owners = [id(a) for a in adapters]
    return PaddedRows(
        stack,
        prompts,
        adapters,
        pad_id=pad_id,
        max_new_tokens=loop.max_new_tokens,
        prefill_tokens=limits.prefill_tokens,
        groups=find_groups(prompts, owners, min_prefix=limits.min_head) if sharing else (),
    )


def _generate_packed(
    stack: StackedLora,
    group: Group,
    prompts: Sequence[Sequence[int]],
    adapter: LoraAdapter | None,
    loop: _Loop,
    limits: Limits,
) -> dict[int, Generated]:
    """Results of one group by prompt index."""
    length, first = group.prefix_length, group.index[0]
    suffixes = [prompts[i][length:] for i in group.index]
    packed = list(pack_rows([len(s) for s in suffixes], loop.max_new_tokens, limits.packed_tokens))
    room = max(sum(len(suffixes[n]) + loop.max_new_tokens for n in pack) for pack in packed)
    prefix = SharedPrefix(
        stack, prompts[first][:length], adapter, prefill_tokens=limits.prefill_tokens, room_behind=room
    )
    results: dict[int, Generated] = {}
    for pack in packed:
        rows = PackedRows(prefix, [suffixes[n] for n in pack])
        results.update(loop.run(rows, [group.index[n] for n in pack]))
    return results


class _Rows(Protocol):
    """Rows that are decoded together; `live` are their indices. Finished rows may stay for a while, ignored."""

    live: list[int]

    def logits(self) -> Tensor:
        """Logits (B, vocab) of the next token of every live row."""
        ...

    def advance(self, chosen: Tensor, keep: list[int]) -> None:
        """Append the chosen tokens (B,); rows not in `keep` may be dropped."""
        ...


@dataclass(slots=True)
class _Row:
    """One unfinished continuation."""

    index: int  # of the prompt
    ids: list[int]
    logprobs: list[float]
    matcher: SchemaMatcher | None = None
    stopped: bool = False
    top: list[Likeliest] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Loop:
    """Decodes rows to their ends; `uniforms` (prompts, tokens) are the random numbers of the whole call."""

    max_new_tokens: int
    stop_ids: frozenset[int]
    sampling: Sampling
    uniforms: Tensor | None
    on_token: OnToken | None
    before_token: Callable[[], None]
    top: int
    matchers: Sequence[SchemaMatcher | None]

    def run(self, rows: _Rows, index: Sequence[int]) -> dict[int, Generated]:
        """Results by prompt index; row i is prompt `index[i]`."""
        made = [_Row(i, [], [], self.matchers[i] if self.matchers else None) for i in index]
        for step in range(self.max_new_tokens):
            self.before_token()
            uniforms = None if self.uniforms is None else self.uniforms[[index[i] for i in rows.live], step]
            logits = rows.logits()
            allowed = _allowed([made[r] for r in rows.live], logits, self.max_new_tokens - step)
            chosen, logprob = choose(logits, self.sampling, uniforms, allowed)
            top = likeliest(logits, self.top) if self.top else [()] * len(chosen)
            keep = []
            for place, (token, score) in enumerate(zip(chosen.tolist(), logprob.tolist(), strict=True)):
                row = made[rows.live[place]]
                if not row.stopped and self._append(row, token, score, top[place]):
                    keep.append(place)
            if not keep or step + 1 == self.max_new_tokens:
                break
            rows.advance(chosen, keep)
        return {r.index: Generated(tuple(r.ids), tuple(r.logprobs), r.stopped, tuple(r.top)) for r in made}

    def _append(self, row: _Row, token: int, score: float, top: Likeliest) -> bool:
        """Record a token; False when it ends the row."""
        row.logprobs.append(score)
        if top:
            row.top.append(top)
        if token in self.stop_ids:
            row.stopped = True
        else:
            if row.matcher is not None:
                row.matcher.accept(token)
            row.ids.append(token)
            row.stopped = self.on_token is not None and bool(self.on_token(row.index, token))
        return not row.stopped


def _allowed(rows: Sequence[_Row], logits: Tensor, left: int) -> Tensor | None:
    """Tokens (B, vocab) that may follow, with `left` to be made; None where no row follows a schema."""
    following = [(place, r.matcher) for place, r in enumerate(rows) if r.matcher is not None and not r.stopped]
    if not following:
        return None
    allowed = torch.ones_like(logits, dtype=torch.bool)
    for place, matcher in following:
        own = torch.from_numpy(matcher.allowed(left)).to(logits.device)
        allowed[place, : len(own)] = own
        allowed[place, len(own) :] = False  # padding of the model's vocabulary
    return allowed
