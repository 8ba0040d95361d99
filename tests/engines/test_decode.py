"""Batched decoding: token for token what transformers would generate for each prompt alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.decode import GREEDY, Generated, Limits, Sampling, generate
from seal_memory.engines.hardware import Hardware
from seal_memory.engines.models import LoadedModel, load
from seal_memory.lora import peft_files
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.stack import StackedLora

# PEFT 0.21 asks transformers 5.23 for a property that is being renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

PROMPTS = [[5, 9, 77], [30, 31, 32, 33, 34, 35, 36, 37, 38], [200], [99, 98, 97, 96, 95]]
PAD = 0
TEXTS = [
    "The capital of France is",
    "The capital of France is",  # twice: read once
    "Once upon a time, in a small village by the sea, there lived an old fisherman who",
    "2 + 2 =",
]


@pytest.fixture(scope="module")
def adapters(stack: StackedLora, random_adapter: Callable[..., LoraAdapter]) -> list[LoraAdapter]:
    return [random_adapter(stack, 4, LLAMA_LINEAR, 1), random_adapter(stack, 2, ("q_proj", "down_proj"), 2)]


def _run(
    stack: StackedLora,
    rows: Sequence[LoraAdapter | None],
    *,
    prompts: Sequence[Sequence[int]] = PROMPTS,
    stop_ids: Sequence[int] = (),
    sampling: Sampling = GREEDY,
    tokens: int = 12,
    budget: int = 8192,
) -> list[Generated]:
    return generate(
        stack,
        prompts,
        rows,
        max_new_tokens=tokens,
        stop_ids=stop_ids,
        pad_id=PAD,
        sampling=sampling,
        limits=Limits(token_budget=budget),
    )


def _reference(model: Any, prompt: Sequence[int], tokens: int) -> tuple[int, ...]:
    """transformers' own greedy continuation of one prompt, without any stop token."""
    ids = torch.tensor([list(prompt)])
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            eos_token_id=-1,
            pad_token_id=PAD,
        )
    return tuple(out[0, len(prompt) :].tolist())


def _references(model: Any, prompts: Sequence[Sequence[int]], tokens: int) -> list[tuple[int, ...]]:
    """The same for each prompt; a prompt that stands there twice is generated once."""
    found = {prompt: _reference(model, prompt, tokens) for prompt in dict.fromkeys(map(tuple, prompts))}
    return [found[tuple(prompt)] for prompt in prompts]


def _check_against_transformers(
    load_base: Callable[[], Any],
    make: Callable[[StackedLora, int], LoraAdapter],
    prompts: Sequence[Sequence[int]],
    tokens: int,
    folder: Path,
) -> None:
    """Every prompt under the base and two adapters in one batch, against transformers and PEFT one by one."""
    stack = StackedLora(load_base())
    made = [make(stack, 1), make(stack, 2)]
    rows = [a for a in (None, *made) for _ in prompts]
    found = [g.ids for g in _run(stack, rows, prompts=list(prompts) * 3, tokens=tokens)]
    del stack
    base = load_base()
    expected = _references(base, prompts, tokens)
    for k, adapter in enumerate(made):
        peft_files.save(adapter, folder / str(k), base_model="base", base_fingerprint="f1")
        adapted = peft.PeftModel.from_pretrained(base, str(folder / str(k)))
        expected += _references(adapted, prompts, tokens)
        base = adapted.unload()
    assert found == expected
    assert len(set(found)) > len(set(map(tuple, prompts)))  # the adapters do change what is said


def test_greedy_equals_transformers_and_peft(
    load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter], tmp_path: Path
) -> None:
    """Token for token in float32, prompts of several lengths, with and without adapters."""
    _check_against_transformers(
        lambda: load_tiny().model,
        lambda stack, seed: random_adapter(stack, 4, LLAMA_LINEAR, seed),
        PROMPTS,
        12,
        tmp_path,
    )


@pytest.mark.real_model
def test_greedy_equals_transformers_and_peft_on_the_default_model(
    default_model: LoadedModel, random_adapter: Callable[..., LoraAdapter], tmp_path: Path
) -> None:
    """The same with the default model in float32."""
    hardware = Hardware("cpu", "float32", 1, "for the test")
    _check_against_transformers(
        lambda: load(default_model.files, hardware).model,
        lambda stack, seed: random_adapter(stack, 8, LLAMA_LINEAR, seed, size=0.05),
        [default_model.tokenizer(text)["input_ids"] for text in TEXTS],
        8,
        tmp_path,
    )


def test_order_and_neighbours_do_not_matter(stack: StackedLora, adapters: list[LoraAdapter]) -> None:
    """A row gets the same tokens alone, in any order, and when the budget splits the batch."""
    rows: list[LoraAdapter | None] = [adapters[0], None, adapters[1], adapters[0]]
    together = _run(stack, rows)
    assert [g.ids for g in _run(stack, rows[::-1], prompts=PROMPTS[::-1])][::-1] == [g.ids for g in together]
    assert [g.ids for g in _run(stack, rows, budget=1)] == [g.ids for g in together]


def test_finished_rows_leave_without_changing_the_others(stack: StackedLora, adapters: list[LoraAdapter]) -> None:
    """With a stop token, each row is its own continuation up to the first stop token."""
    rows: list[LoraAdapter | None] = [adapters[0], None, adapters[1], adapters[0]]
    free = _run(stack, rows, tokens=20)
    stop_ids = {free[0].ids[2], free[2].ids[7]}
    found = _run(stack, rows, tokens=20, stop_ids=tuple(stop_ids))
    for whole, cut in zip(free, found, strict=True):
        ends = [t for t, token in enumerate(whole.ids) if token in stop_ids]
        assert cut.stopped == bool(ends)
        assert cut.ids == (whole.ids[: ends[0]] if ends else whole.ids)
        assert len(cut.logprobs) == len(cut.ids) + cut.stopped
        assert cut.logprobs == pytest.approx(whole.logprobs[: len(cut.logprobs)], abs=1e-5)
    assert len({len(g.ids) for g in found}) > 1


def test_logprobs_are_those_of_the_whole_sequence(stack: StackedLora, adapters: list[LoraAdapter]) -> None:
    """Of the untempered distribution, also when sampling (float32, 1e-4)."""
    for sampling in (GREEDY, Sampling(temperature=1.7, seed=3)):
        for prompt, adapter, g in zip(
            PROMPTS, [adapters[0]] * 4, _run(stack, [adapters[0]] * 4, sampling=sampling), strict=True
        ):
            with torch.inference_mode(), stack.rows([adapter]):
                plain = stack.model(input_ids=torch.tensor([prompt + list(g.ids)])).logits[0].log_softmax(-1)
            expected = [float(plain[len(prompt) - 1 + t, token]) for t, token in enumerate(g.ids)]
            assert g.logprobs == pytest.approx(expected, abs=1e-4)


def test_sampling_repeats_with_its_seed(stack: StackedLora) -> None:
    """Another seed says something else; the best token alone is greedy."""
    rows = [None] * 4
    first = _run(stack, rows, sampling=Sampling(1.0, seed=1))
    assert _run(stack, rows, sampling=Sampling(1.0, seed=1)) == first
    assert _run(stack, rows, sampling=Sampling(1.0, seed=2)) != first
    only_best = _run(stack, rows, sampling=Sampling(1.0, top_k=1, seed=1))
    assert [g.ids for g in only_best] == [g.ids for g in _run(stack, rows)]


def test_sampling_stays_in_the_top_k(stack: StackedLora) -> None:
    """Every token is among the k likeliest; more than the vocabulary is all of it."""
    for prompt, g in zip(PROMPTS, _run(stack, [None] * 4, sampling=Sampling(5.0, top_k=3)), strict=True):
        with torch.inference_mode():
            logits = stack.model(input_ids=torch.tensor([prompt + list(g.ids)])).logits[0]
        for t, token in enumerate(g.ids):
            assert token in logits[len(prompt) - 1 + t].topk(3).indices.tolist()
    assert len(_run(stack, [None] * 4, sampling=Sampling(1.0, top_k=10**6))) == 4


def test_nothing_to_generate(stack: StackedLora) -> None:
    """No prompts, or no tokens wanted."""
    assert _run(stack, [], prompts=[]) == []
    assert _run(stack, [None] * 4, tokens=0) == [Generated((), (), False)] * 4


def test_a_row_that_stops_at_once_is_empty(stack: StackedLora) -> None:
    """Its only log-probability is the stop token's."""
    first = _run(stack, [None], prompts=[PROMPTS[0]], tokens=1)[0].ids[0]
    found = _run(stack, [None], prompts=[PROMPTS[0]], stop_ids=[first])[0]
    assert (found.ids, found.stopped, len(found.logprobs)) == ((), True, 1)
    assert -math.log(600) < found.logprobs[0] < 0
