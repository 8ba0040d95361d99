"""How the inner loop computes changes no result: attention, recomputed layers, chunks, gradients added in place."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.batches import Row, collate
from seal_memory.engines.training_pass import activation_bytes
from seal_memory.learning import inner_loop
from seal_memory.learning.inner_loop import TrainingJob, train
from seal_memory.lora.adapter import LoraAdapter, LoraConfig
from seal_memory.lora.stack import StackedLora

TOLERANCE = 1e-5  # float32, another order of summation; see test_inner_loop

GEOMETRIES = [
    LoraConfig(4, 8.0, LLAMA_LINEAR),
    LoraConfig(2, 7.0, ("q_proj", "v_proj")),
    LoraConfig(6, 3.0, ("down_proj", "o_proj")),
]


@pytest.fixture(scope="module")
def stack(load_tiny: Callable[[], Any]) -> StackedLora:
    return StackedLora(load_tiny().model)


def _rows(count: int, seed: int, *, longest: int = 20) -> list[Row]:
    rng = random.Random(seed)
    lengths = [rng.randint(3, longest) for _ in range(count)]
    return [Row(tuple(rng.randrange(3, 300) for _ in range(n)), rng.randint(0, n - 1)) for n in lengths]


def _job(stack: StackedLora, kind: int, steps: int, learning_rate: float = 2e-3, decay: float = 0.0) -> TrainingJob:
    rows = _rows(3, kind)
    batches = [[step % 3, (step + 1) % 3] for step in range(steps)]
    return TrainingJob(stack.create(GEOMETRIES[kind], seed=kind), rows, batches, learning_rate, decay)


@settings(max_examples=12, deadline=None)
@given(
    others=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.floats(1e-4, 5e-3)), max_size=4),
    place=st.integers(0, 4),
    budget=st.integers(1, 300),
)
def test_company_changes_nothing(
    stack: StackedLora, others: list[tuple[int, int, float]], place: int, budget: int
) -> None:
    """Whoever is in the stack, leaves it early or stays on, and whatever the token budget: the same adapter."""
    alone, accompanied = _job(stack, 0, 3), _job(stack, 0, 3)
    jobs = [_job(stack, *other) for other in others]
    jobs.insert(min(place, len(jobs)), accompanied)
    train(stack, [alone], token_budget=200, pad_id=0)
    train(stack, jobs, token_budget=budget, pad_id=0)
    torch.testing.assert_close(accompanied.adapter.flat, alone.adapter.flat, atol=TOLERANCE, rtol=0)
    assert accompanied.losses == pytest.approx(alone.losses, abs=1e-5)
    assert [len(job.losses) for job in jobs] == [len(job.batches) for job in jobs]


def test_a_finished_job_leaves_the_stack(stack: StackedLora) -> None:
    """After its last step it has no gradients any more, while the other one still trains."""
    short, long = _job(stack, 1, 1), _job(stack, 0, 3)
    trainable = []

    def look(_done: int, _total: int) -> None:
        trainable.append([any(a.requires_grad for a, _ in job.adapter.pairs.values()) for job in (short, long)])

    train(stack, [short, long], token_budget=200, pad_id=0, progress=look)
    assert trainable == [[False, True], [False, True], [False, False]]


def test_recomputed_layers_change_no_bit(stack: StackedLora) -> None:
    """Over the activation budget every layer runs twice; the weights and losses are the same, bit for bit."""
    runs = []
    for activation_budget in (1 << 30, 0):
        calls: list[int] = []
        # before the layer: computing it again stops as soon as all that was wanted is there
        handle = stack.model.get_submodule("model.layers.0.mlp").register_forward_pre_hook(
            lambda *_, seen=calls: seen.append(1)
        )
        jobs = [_job(stack, kind, 3) for kind in range(3)]
        train(stack, jobs, token_budget=60, pad_id=0, activation_budget=activation_budget)
        handle.remove()
        runs.append((jobs, len(calls)))
    (kept, once), (recomputed, twice) = runs
    assert twice == 2 * once
    for one, other in zip(kept, recomputed, strict=True):
        assert torch.equal(one.adapter.flat, other.adapter.flat)
        assert one.losses == other.losses


def test_eager_attention_gives_the_same_adapters(load_tiny: Callable[[], Any]) -> None:
    """As SDPA, up to rounding."""
    found = []
    for attention in ("sdpa", "eager"):
        stack = StackedLora(load_tiny().model)
        stack.model.set_attn_implementation(attention)
        jobs = [_job(stack, kind, 3) for kind in range(3)]
        train(stack, jobs, token_budget=60, pad_id=0)
        assert stack.model.config._attn_implementation == attention
        found.append(torch.cat([job.adapter.flat for job in jobs]))
    torch.testing.assert_close(found[0], found[1], atol=TOLERANCE, rtol=0)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 9), vocabulary=st.integers(2, 40), seed=st.integers(0, 99), size=st.sampled_from([1, 80]))
def test_the_written_gradient_is_autograds(count: int, vocabulary: int, seed: int, size: int) -> None:
    """Losses and gradient of a weighted cross-entropy, also of logits far apart (float32, 1e-5)."""
    rng = torch.Generator().manual_seed(seed)
    logits = (torch.randn(count, vocabulary, generator=rng) * size).requires_grad_(True)
    targets = torch.randint(vocabulary, (count,), generator=rng)
    weight = torch.rand(count, generator=rng)
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    (expected * weight).sum().backward()
    written = logits.detach().clone()
    losses = inner_loop._losses_into_gradient(written, targets, weight)
    torch.testing.assert_close(losses, expected.detach(), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(written, logits.grad, atol=1e-5, rtol=0)


def test_gradients_add_up_in_float32_over_a_bfloat16_base(load_tiny: Callable[[], Any]) -> None:
    """A thousandth of what is there already is not lost, as it would be in bfloat16; the attention comes back."""
    stack = StackedLora(load_tiny().model.to(torch.bfloat16))
    job = _job(stack, 0, 1)
    grad = job.adapter.begin_training()
    _one_pass(stack, job)
    first = grad.clone()
    for k in range(3):
        grad.copy_(first).mul_(300.0 * (k + 1))
        before = grad.clone()
        _one_pass(stack, job)
        torch.testing.assert_close(grad - before, first, atol=float(first.abs().max()) * 1e-3, rtol=1e-2)
    assert grad.dtype == torch.float32
    assert stack.model.config._attn_implementation == "sdpa"
    job.adapter.end_training()


def _one_pass(stack: StackedLora, job: TrainingJob) -> None:
    batch = collate(job.rows, range(3), pad_id=0, device=torch.device("cpu"))
    inner_loop._backward(stack, [job], batch, [0, 0, 0], {0: 3})


def test_an_adapter_that_only_answers_stays_as_it_is(
    stack: StackedLora, random_adapter: Callable[..., LoraAdapter]
) -> None:
    """Beside one that trains, in one batch; the base's rows take part without a change too."""
    frozen, trained = random_adapter(stack, 3, LLAMA_LINEAR, 5), random_adapter(stack, 3, LLAMA_LINEAR, 6)
    grad = trained.begin_training()
    ids = torch.tensor([[4, 5, 6, 7]] * 3)
    with stack.rows([frozen, trained, None]):
        stack.model(input_ids=ids).logits.sum().backward()
    together = grad.clone()
    grad.zero_()
    with stack.rows([trained]):
        stack.model(input_ids=ids[:1]).logits.sum().backward()
    torch.testing.assert_close(together, grad, atol=float(grad.abs().max()) * 1e-5, rtol=1e-4)
    trained.end_training()
    assert all(a.grad is None and not a.requires_grad for a, _ in frozen.pairs.values())


def test_the_optimizer_is_adamw_with_clipping_and_a_schedule(stack: StackedLora) -> None:
    """Against the textbook's formulas, with weight decay, through warm-up and cosine (float32, 1e-6)."""
    job = _job(stack, 1, 30, decay=0.1)
    state = inner_loop._AdamW(job)
    expected = job.adapter.flat.clone()
    m, v = torch.zeros_like(expected), torch.zeros_like(expected)
    rng = torch.Generator().manual_seed(0)
    for t in range(30):
        g = torch.randn(len(expected), generator=rng) * (0.001 if t % 2 else 1.0)
        state.grad.copy_(g)
        state.step(t)
        g = g / max(1.0, float(g.norm()))
        lr = 2e-3 * ((t + 1) / 2 if t < 2 else 0.1 + 0.45 * (1 + math.cos(math.pi * (t - 2) / 28)))
        expected *= 1 - lr * 0.1
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        expected -= lr * (m / (1 - 0.9 ** (t + 1))) / ((v / (1 - 0.99 ** (t + 1))).sqrt() + 1e-8)
        torch.testing.assert_close(job.adapter.flat, expected, atol=1e-6, rtol=1e-5)
        assert not state.grad.any()
    job.adapter.end_training()


def _saved_bytes(stack: StackedLora, run: Callable[[], Any]) -> int:
    """What autograd keeps during `run`, each piece of memory once, without the model's own weights."""
    seen = {p.untyped_storage().data_ptr() for p in stack.model.parameters()}
    kept: list[Tensor] = []  # held, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in seen:
            seen.add(tensor.untyped_storage().data_ptr())
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(t.untyped_storage().nbytes() for t in kept)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_estimate_of_activations_is_near_what_autograd_keeps(
    load_tiny: Callable[[], Any], attention: str, dtype: torch.dtype
) -> None:
    """Within a quarter, on rows so long that eager's square of the width counts."""
    stack = StackedLora(load_tiny().model.to(dtype))
    stack.model.set_attn_implementation(attention)
    adapter = stack.create(LoraConfig(1, 2.0, LLAMA_LINEAR), seed=0)
    adapter.begin_training()
    ids = torch.randint(3, 300, (2, 96), generator=torch.Generator().manual_seed(0))
    backbone = stack.model.get_submodule("model")
    outputs = []
    with stack.rows([adapter, adapter]):
        found = _saved_bytes(stack, lambda: outputs.append(backbone(input_ids=ids, use_cache=False)))
    adapter.end_training()
    estimate = activation_bytes(stack.model.config, 2, 96, element_size=dtype.itemsize, attention=attention)
    assert found * 0.75 < estimate < found * 1.25
