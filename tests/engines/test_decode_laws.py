"""Laws of decoding, on drawn batches: transformers' own tokens, whoever is in the batch and however it is laid out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from seal_memory.engines import padded
from seal_memory.engines.decode import GREEDY, Generated, Limits, OnToken, Sampling, generate
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora

PAD = 0
TEXT = [(37 * n * n + 11 * n) % 440 + 3 for n in range(80)]
TOKENS = 8
LAYOUTS = [Limits(min_prefix=0), Limits(), Limits(min_head=2, prefill_tokens=5), Limits(token_budget=70)]

# (where in TEXT it begins, its length, which adapter): prompts that are equal, begin alike, or have nothing in common
rows = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 30), st.integers(0, 2)), min_size=1, max_size=16)


def _run(
    stack: StackedLora,
    prompts: Sequence[Sequence[int]],
    owners: Sequence[LoraAdapter | None],
    *,
    stop_ids: Sequence[int] = (),
    sampling: Sampling = GREEDY,
    limits: Limits = LAYOUTS[1],
    on_token: OnToken | None = None,
) -> list[Generated]:
    return generate(
        stack,
        prompts,
        owners,
        max_new_tokens=TOKENS,
        stop_ids=stop_ids,
        pad_id=PAD,
        sampling=sampling,
        limits=limits,
        on_token=on_token,
    )


def _transformers(
    stack: StackedLora, prompts: Sequence[Sequence[int]], owner: LoraAdapter | None, stop_ids: Sequence[int]
) -> list[tuple[int, ...]]:
    """What transformers generates for one adapter's prompts, padded on the left, up to the first stop token."""
    width = max(len(p) for p in prompts)
    ids = torch.tensor([[PAD] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    with torch.inference_mode(), stack.rows([owner] * len(prompts)):
        out = stack.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=TOKENS,
            do_sample=False,
            eos_token_id=list(stop_ids) or -1,
            pad_token_id=PAD,
        )
    new = [tuple(row[width:].tolist()) for row in out]
    ends = [[t for t, token in enumerate(row) if token in stop_ids] for row in new]
    return [row[: end[0]] if end else row for row, end in zip(new, ends, strict=True)]


@settings(max_examples=25)
@given(drawn=rows, stops=st.lists(st.integers(0, 15), max_size=3), limits=st.sampled_from(LAYOUTS))
def test_greedy_equals_transformers(
    stack: StackedLora,
    adapters: list[LoraAdapter | None],
    drawn: list[tuple[int, int, int]],
    stops: list[int],
    limits: Limits,
) -> None:
    """Token for token: 1 to 16 rows of mixed lengths, base and adapters, ending at different steps, every layout."""
    prompts = [TEXT[20 * start :][:length] for start, length, _ in drawn]
    owners = [adapters[a] for *_, a in drawn]
    free = _run(stack, prompts, owners, limits=limits)
    stop_ids = sorted({free[s % len(free)].ids[s % TOKENS] for s in stops})
    found = _run(stack, prompts, owners, limits=limits, stop_ids=stop_ids)
    for a in {a for *_, a in drawn}:
        own = [i for i, (*_, b) in enumerate(drawn) if a == b]
        expected = _transformers(stack, [prompts[i] for i in own], adapters[a], stop_ids)
        assert [found[i].ids for i in own] == expected
        assert [found[i].stopped for i in own] == [len(e) < TOKENS for e in expected]


@settings(max_examples=15)
@given(drawn=rows, limits=st.sampled_from(LAYOUTS))
def test_a_sample_does_not_depend_on_the_layout(
    stack: StackedLora, adapters: list[LoraAdapter | None], drawn: list[tuple[int, int, int]], limits: Limits
) -> None:
    """Each row draws its own numbers: sharing, splitting and finished neighbours leave the others' samples alone."""
    prompts = [TEXT[20 * start :][:length] for start, length, _ in drawn]
    owners = [adapters[a] for *_, a in drawn]
    sampling = Sampling(1.0, seed=len(drawn), top_p=0.9)
    plain = _run(stack, prompts, owners, sampling=sampling, limits=LAYOUTS[0])
    stop_ids = plain[0].ids[:2]
    found = _run(stack, prompts, owners, sampling=sampling, limits=limits, stop_ids=stop_ids)
    for whole, cut in zip(plain, found, strict=True):
        ends = [t for t, token in enumerate(whole.ids) if token in stop_ids]
        assert cut.ids == (whole.ids[: ends[0]] if ends else whole.ids)


def test_the_cache_makes_no_difference(
    stack: StackedLora, adapters: list[LoraAdapter | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With transformers' own growing cache, every token and log-probability is the same, to the bit."""
    prompts = [TEXT[n : n + 3 * n + 1] for n in range(8)]
    owners = [adapters[n % 3] for n in range(8)]
    stop_ids = [g.ids[3] for g in _run(stack, prompts, owners)][:3]
    roomy = _run(stack, prompts, owners, stop_ids=stop_ids)
    monkeypatch.setattr(padded, "new_cache", lambda config, capacity, full: DynamicCache(config=config))
    assert _run(stack, prompts, owners, stop_ids=stop_ids) == roomy


def test_a_sliding_window_decodes_like_transformers(load_tiny: Callable[[], Any]) -> None:
    """Such a model keeps transformers' cache, which forgets, and shares nothing."""
    loaded = load_tiny()
    from transformers import MistralConfig, MistralForCausalLM

    shape = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes = {name: getattr(loaded.model.config, name) for name in shape}
    config = MistralConfig(**sizes, num_key_value_heads=2, sliding_window=6, pad_token_id=PAD)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        stack = StackedLora(MistralForCausalLM(config).eval())
    prompts = [TEXT[:20], TEXT[:3], TEXT[:20], TEXT[30:41]]
    found = _run(stack, prompts, [None] * 4)
    assert [g.ids for g in found] == _transformers(stack, prompts, None, ())


def test_samples_of_one_prompt_read_it_once(stack: StackedLora, adapters: list[LoraAdapter | None]) -> None:
    """However short it is, once for each adapter; the last token is read by every sample."""
    seen: list[tuple[int, ...]] = []
    hook = stack.model.get_submodule("model").register_forward_pre_hook(
        lambda module, args, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    try:
        found = _run(stack, [TEXT[:20]] * 12, [adapters[0], adapters[1]] * 6, sampling=Sampling(1.0))
    finally:
        hook.remove()
    assert seen == [(2, 19), *[(12, 1)] * TOKENS]
    assert len({g.ids for g in found}) > 6


@pytest.mark.parametrize("limits", [LAYOUTS[0], Limits(min_prefix=8, token_budget=1)], ids=["padded", "packed"])
def test_on_token_sees_all_and_can_stop_its_row(stack: StackedLora, limits: Limits) -> None:
    """Tokens come in order, stop tokens do not; the row that is stopped keeps the token, the others are unmoved."""
    prompts = [[*TEXT[:20], n] for n in range(5, 10)]
    free = _run(stack, prompts, [None] * 5, limits=limits)
    said: dict[int, list[int]] = {i: [] for i in range(5)}

    def hear(row: int, token: int) -> bool | None:
        said[row].append(token)
        return True if row in (1, 3) and len(said[row]) == row + 1 else None

    stop_ids = [free[4].ids[-1]]
    plain = _run(stack, prompts, [None] * 5, limits=limits, stop_ids=stop_ids)
    found = _run(stack, prompts, [None] * 5, limits=limits, stop_ids=stop_ids, on_token=hear)
    assert [list(g.ids) for g in found] == list(said.values())
    for row, (whole, cut) in enumerate(zip(plain, found, strict=True)):
        if row in (1, 3) and len(whole.ids) > row:
            assert (cut.ids, cut.stopped, len(cut.logprobs)) == (whole.ids[: row + 1], True, row + 1)
        else:
            assert (cut.ids, cut.stopped) == (whole.ids, whole.stopped)
            assert cut.logprobs == pytest.approx(whole.logprobs, abs=1e-4)


def test_finished_rows_leave_by_quarters(stack: StackedLora) -> None:
    """One of eight is carried along; the second takes it out with itself."""
    widths: list[int] = []
    hook = stack.model.get_submodule("model").register_forward_pre_hook(
        lambda module, args, given: widths.append(len(given["input_ids"])), with_kwargs=True
    )
    try:
        _run(
            stack,
            [[*TEXT[n : n + 5]] for n in range(8)],
            [None] * 8,
            limits=LAYOUTS[0],
            on_token=_stop_one_a_step(),
        )
    finally:
        hook.remove()
    assert widths == [8, 8, 6, 6, 4, 3, 2, 1]


def _stop_one_a_step() -> OnToken:
    """Row 0 after one token, row 1 after two, and so on."""
    counts: dict[int, int] = {}

    def hear(row: int, token: int) -> bool:
        counts[row] = counts.get(row, 0) + 1
        return counts[row] > row

    return hear
