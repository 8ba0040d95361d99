"""Shared beginnings: the same tokens as without sharing, and the beginning computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.engines.decode import GREEDY, Generated, Limits, Sampling, generate
from seal_memory.engines.prefixes import Group, SharedPrefix, can_share, find_groups, pack_rows
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora

PAD = 0
APART = Limits(min_prefix=0)
PACKED = Limits(token_budget=1, min_prefix=8)  # no room for a group's rows side by side
LONG = [(7 * n) % 400 + 3 for n in range(60)]

tokens = st.integers(3, 400)
beginnings = st.lists(st.lists(tokens, min_size=1, max_size=30), min_size=1, max_size=3)
rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 30), st.lists(tokens, max_size=12), st.integers(0, 2)),
    min_size=1,
    max_size=8,
)


def _run(
    stack: StackedLora,
    prompts: Sequence[Sequence[int]],
    owners: Sequence[LoraAdapter | None],
    limits: Limits,
    *,
    stop_ids: Sequence[int] = (),
    sampling: Sampling = GREEDY,
    tokens: int = 6,
) -> list[Generated]:
    return generate(
        stack,
        prompts,
        owners,
        max_new_tokens=tokens,
        stop_ids=stop_ids,
        pad_id=PAD,
        sampling=sampling,
        limits=limits,
    )


def _cut(whole: Generated, stop_ids: Sequence[int]) -> Generated:
    """What is left of a continuation that ends with its first stop token."""
    ends = [t for t, token in enumerate(whole.ids) if token in stop_ids]
    return Generated(whole.ids[: ends[0]], whole.logprobs[: ends[0] + 1], True) if ends else whole


def _same(found: Sequence[Generated], expected: Sequence[Generated]) -> None:
    assert [(g.ids, g.stopped) for g in found] == [(g.ids, g.stopped) for g in expected]
    for a, b in zip(found, expected, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


@settings(max_examples=40)
@given(
    starts=beginnings,
    made=rows,
    min_prefix=st.integers(1, 8),
    packed=st.sampled_from([1, 30, 4096]),
    budget=st.sampled_from([1, 60, 8192]),
    stop_at=st.integers(0, 5),
)
def test_sharing_changes_no_token(
    stack: StackedLora,
    adapters: list[LoraAdapter | None],
    starts: list[list[int]],
    made: list[tuple[int, int, list[int], int]],
    min_prefix: int,
    packed: int,
    budget: int,
    stop_at: int,
) -> None:
    """Any mix of groups, single prompts, adapters and stop tokens (5: none), packed in one go or row by row, or not."""
    prompts = [[*starts[s % len(starts)][:cut], *rest] or [5] for s, cut, rest, _ in made]
    owners = [adapters[a] for *_, a in made]
    apart = _run(stack, prompts, owners, APART, tokens=5)
    stop_ids = apart[0].ids[stop_at : stop_at + 1]
    limits = Limits(budget, prefill_tokens=7, min_prefix=min_prefix, packed_tokens=packed, min_head=min_prefix)
    found = _run(stack, prompts, owners, limits, stop_ids=stop_ids, tokens=5)
    _same(found, [_cut(g, stop_ids) for g in apart])


def test_rows_of_a_group_stop_on_their_own(stack: StackedLora, adapters: list[LoraAdapter | None]) -> None:
    """Each row is its own continuation up to the first stop token, whoever has stopped before it."""
    prompts = [[*LONG, 9, n] for n in range(3, 11)]
    owners = [adapters[1]] * len(prompts)
    free = _run(stack, prompts, owners, PACKED, tokens=20)
    stop_ids = [free[0].ids[2], free[3].ids[9]]
    cut = _run(stack, prompts, owners, PACKED, tokens=20, stop_ids=stop_ids)
    _same(cut, [_cut(whole, stop_ids) for whole in free])
    assert len({len(g.ids) for g in cut}) > 1


def test_the_beginning_is_computed_once(stack: StackedLora, adapters: list[LoraAdapter | None]) -> None:
    """For each adapter that has rows with it, however many packs they decode in."""
    prompts = [[*LONG, 9, n] for n in range(3, 9)]
    owners = [adapters[0], adapters[1]] * 3
    seen: list[tuple[int, int]] = []
    hook = stack.model.get_submodule("model").register_forward_pre_hook(
        lambda module, args, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    try:
        _run(stack, prompts, owners, Limits(token_budget=1, min_prefix=8, packed_tokens=1), tokens=2)
    finally:
        hook.remove()
    assert sum(b * t for b, t in seen if t > 2) == 2 * (len(LONG) + 1)
    assert sum(b * t for b, t in seen if t <= 2) == len(prompts) * 2  # one token of its own and one new one, each


@settings(max_examples=20)
@given(prompts=st.lists(st.lists(tokens, min_size=1, max_size=40), min_size=1, max_size=4), step=st.integers(1, 41))
def test_prefill_in_pieces_equals_prefill_at_once(
    stack: StackedLora, adapters: list[LoraAdapter | None], prompts: list[list[int]], step: int
) -> None:
    """Prompts of several lengths in one batch, whichever piece their padding ends in."""
    owners = [adapters[n % 3] for n in range(len(prompts))]
    _same(_run(stack, prompts, owners, Limits(prefill_tokens=step, min_prefix=0)), _run(stack, prompts, owners, APART))


def test_a_long_prompt_in_pieces(stack: StackedLora) -> None:
    """The default pieces, over their border; the first logits are those of the whole."""
    prompt = [(11 * n) % 450 + 3 for n in range(1500)]
    with torch.inference_mode():
        plain = stack.model(input_ids=torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    (found,) = _run(stack, [prompt], [None], Limits(), tokens=1)
    assert found.ids == (int(plain.argmax()),)
    assert found.logprobs[0] == pytest.approx(float(plain.max()), abs=1e-4)


def test_sampling_repeats_and_keeps_to_each_row(stack: StackedLora) -> None:
    """The same seed says the same; the best token alone is greedy."""
    prompts = [[*LONG, n] for n in range(3, 7)]
    limits = PACKED
    first = _run(stack, prompts, [None] * 4, limits, sampling=Sampling(1.0, seed=1))
    assert _run(stack, prompts, [None] * 4, limits, sampling=Sampling(1.0, seed=1)) == first
    best = _run(stack, prompts, [None] * 4, limits, sampling=Sampling(1.0, top_k=1, seed=1))
    assert [g.ids for g in best] == [g.ids for g in _run(stack, prompts, [None] * 4, APART)]


def test_prompts_that_are_equal_share_all_but_one_token(stack: StackedLora) -> None:
    """A row without a token of its own would have nothing to predict from; one prompt may be another's beginning."""
    prompts = [LONG, LONG, LONG[:40], LONG]
    assert find_groups(prompts, [0] * 4, min_prefix=8) == [Group((2, 0, 1, 3), 39)]
    assert find_groups(prompts[:2], [0] * 2, min_prefix=8) == [Group((0, 1), 59)]
    _same(_run(stack, prompts, [None] * 4, PACKED), _run(stack, prompts, [None] * 4, APART))


def test_what_makes_a_group() -> None:
    """Long enough, half of every member, the same adapter, and no newcomer that shortens what the others share."""
    a, b, c = [*LONG, 1], [*LONG, 2], [*LONG, 3]
    assert find_groups([a, b, c], [0, 0, 0], min_prefix=60) == [Group((0, 1, 2), 60)]
    assert find_groups([a, b, c], [0, 1, 0], min_prefix=60) == [Group((0, 2), 60)]
    assert find_groups([a, b], [0, 0], min_prefix=61) == []
    assert find_groups([a, [*LONG, *range(500, 570)]], [0, 0], min_prefix=8) == []
    assert find_groups([a, b, c, [*LONG[:35], 9]], [0] * 4, min_prefix=8) == [Group((0, 1, 2), 60)]
    assert find_groups([a, [*LONG[:35], 9]], [0] * 2, min_prefix=8) == [Group((1, 0), 35)]
    assert find_groups([], [], min_prefix=8) == []
    assert find_groups([[], []], [0, 0], min_prefix=0) == []


def test_packs_stay_within_their_bound() -> None:
    """In order; a row that is too long decodes alone."""
    assert list(pack_rows([3, 3, 3, 50, 1], 2, 10)) == [[0, 1], [2], [3], [4]]
    assert list(pack_rows([], 2, 10)) == []


def test_special_attention_is_not_shared(load_tiny: Callable[[], Any]) -> None:
    """A window that slides over the sequence would slide over other rows; rows that it holds whole are shared."""
    model = load_tiny().model
    assert can_share(model, 10_000)
    model.config.sliding_window = 16
    model.config.layer_types = ["sliding_attention"] * model.config.num_hidden_layers
    assert can_share(model, 16)
    assert not can_share(model, 17)


@torch.inference_mode()
def test_rewinding_leaves_the_beginning(stack: StackedLora) -> None:
    """The next rows find the cache as the first ones did."""
    prefix = SharedPrefix(stack, LONG, None, prefill_tokens=16)
    keys = prefix.cache.layers[0].keys.clone()
    prefix.rewind()
    prefix.extend(torch.tensor([[5, 6]]), torch.tensor([[60, 61]]), None)
    prefix.rewind()
    assert torch.equal(prefix.cache.layers[0].keys, keys)
