"""The inner loop: adapters that are trained together are the adapters that would be trained alone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.batches import Row, collate, micro_batches
from seal_memory.learning import inner_loop
from seal_memory.learning.inner_loop import TrainingJob, train
from seal_memory.learning.plans import plan_batches
from seal_memory.lora.adapter import LoraAdapter, LoraConfig
from seal_memory.lora.stack import StackedLora

CPU = torch.device("cpu")

# Float32, another order of summation (measured: 5e-7). AdamW divides by the gradient's own size, so that the
# rounding of a gradient near zero can move a weight by a part of the learning rate, 1e-3 to 5e-3 here. With a
# bfloat16 base the activations' own rounding makes it about 3e-3: equal only in float32.
TOLERANCE = 1e-5

# rank, layers, rows, longest row, learning rate, epochs, batch size
PLANS = [
    (4, LLAMA_LINEAR, 9, 30, 2e-3, 4, 4),
    (2, ("q_proj", "v_proj"), 5, 12, 5e-3, 7, 2),
    (8, ("down_proj",), 12, 50, 1e-3, 2, 12),
    (3, LLAMA_LINEAR, 1, 8, 2e-3, 3, 8),
]


@pytest.fixture(scope="module")
def stack(load_tiny: Callable[[], Any]) -> StackedLora:
    return StackedLora(load_tiny().model)


def _rows(count: int, longest: int, seed: int) -> list[Row]:
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        length = rng.randint(3, longest)
        rows.append(Row(tuple(rng.randrange(3, 300) for _ in range(length)), rng.randint(0, length - 1)))
    return rows


def _job(stack: StackedLora, k: int) -> TrainingJob:
    rank, targets, count, longest, learning_rate, epochs, batch_size = PLANS[k]
    adapter = stack.create(LoraConfig(rank, 2.0 * rank, targets), seed=k)
    plan = plan_batches([1.0] * count, epochs=epochs, rows_per_epoch=0, batch_size=batch_size, seed=k)
    return TrainingJob(adapter, _rows(count, longest, k), plan, learning_rate)


def _train(stack: StackedLora, jobs: list[TrainingJob], *, budget: int = 200, pad_id: int = 0) -> None:
    train(stack, jobs, token_budget=budget, pad_id=pad_id)


def test_a_stacked_adapter_equals_one_trained_alone(stack: StackedLora) -> None:
    """Four jobs of other ranks, layers, lengths, steps and learning rates: weights within `TOLERANCE`."""
    together = [_job(stack, k) for k in range(4)]
    _train(stack, together)
    for k, job in enumerate(together):
        alone = _job(stack, k)
        before = alone.adapter.flat.clone()
        _train(stack, [alone])
        assert float((alone.adapter.flat - before).abs().max()) > 100 * TOLERANCE  # it did learn something
        torch.testing.assert_close(job.adapter.flat, alone.adapter.flat, atol=TOLERANCE, rtol=0)
        assert job.losses == pytest.approx(alone.losses, abs=1e-5)
        assert len(job.losses) == len(job.batches)


def test_training_repeats_itself_bit_for_bit(stack: StackedLora) -> None:
    """The same seeds, rows and budget: the same weights and losses."""
    first, again = [_job(stack, k) for k in range(3)], [_job(stack, k) for k in range(3)]
    _train(stack, first)
    _train(stack, again)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.adapter.flat, other.adapter.flat)
        assert one.losses == other.losses


def test_the_budget_changes_only_rounding(stack: StackedLora) -> None:
    """Whether a step is one micro-batch or one per row, the same gradient comes out."""
    wide, narrow = _job(stack, 0), _job(stack, 0)
    _train(stack, [wide], budget=10_000)
    _train(stack, [narrow], budget=1)
    torch.testing.assert_close(wide.adapter.flat, narrow.adapter.flat, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("budget", [40, 200])
def test_the_token_budget_holds(stack: StackedLora, budget: int) -> None:
    """No forward pass has more padded tokens than the budget, unless it is a single row."""
    seen: list[tuple[int, int]] = []

    def record(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(tuple(kwargs["input_ids"].shape))

    handle = stack.model.get_submodule("model").register_forward_pre_hook(record, with_kwargs=True)
    _train(stack, [_job(stack, k) for k in range(3)], budget=budget)
    handle.remove()
    assert seen
    assert all(rows * width <= budget or rows == 1 for rows, width in seen)


def test_the_base_stays_frozen(load_tiny: Callable[[], Any]) -> None:
    """Not one bit of the base changes, no gradient is left, and the adapters are frozen afterwards."""
    stack = StackedLora(load_tiny().model)
    before = {name: tensor.clone() for name, tensor in stack.model.state_dict().items()}
    job = _job(stack, 0)
    _train(stack, [job])
    for name, tensor in stack.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(p.grad is None for p in stack.model.parameters())
    assert all(p.grad is None and not p.requires_grad for pair in job.adapter.pairs.values() for p in pair)


def test_the_loss_falls(stack: StackedLora) -> None:
    """Forty steps on three short rows; progress counts every step.

    The tiny model's random tied head cannot go more than about 1.28 below ln(vocabulary).
    """
    adapter = stack.create(LoraConfig(16, 32.0, LLAMA_LINEAR), seed=0)
    plan = plan_batches([1.0] * 3, epochs=40, rows_per_epoch=0, batch_size=3, seed=0)
    job = TrainingJob(adapter, _rows(3, 10, 5), plan, 1e-2)
    ticks: list[tuple[int, int]] = []
    train(stack, [job], token_budget=500, pad_id=0, progress=lambda done, total: ticks.append((done, total)))
    assert job.losses[-1] < job.losses[0] - 1
    assert ticks == [(done, 40) for done in range(1, 41)]
    assert adapter.is_finite()


def test_padding_has_no_influence(stack: StackedLora) -> None:
    """Another padding token gives the same adapter bit for bit."""
    zero, other = _job(stack, 2), _job(stack, 2)
    _train(stack, [zero], pad_id=0)
    _train(stack, [other], pad_id=211)
    assert torch.equal(zero.adapter.flat, other.adapter.flat)


@pytest.mark.parametrize("chunk", [1, 5, 1024])
def test_gradients_equal_the_plain_loss(
    stack: StackedLora,
    random_adapter: Callable[..., LoraAdapter],
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
) -> None:
    """Chunked, padded, stacked: those of each adapter's mean over rows of the mean over tokens."""
    monkeypatch.setattr(inner_loop, "LOGIT_CHUNK", chunk)
    adapters = [random_adapter(stack, 4, LLAMA_LINEAR, 1), random_adapter(stack, 2, ("q_proj",), 2)]
    rows, owners = _rows(7, 20, 3), [0, 1, 0, 0, 1, 1, 0]
    jobs = [TrainingJob(a, rows, [], 1e-3) for a in adapters]
    found = [a.begin_training() for a in adapters]
    losses = [0.0, 0.0]
    for batch in micro_batches(rows, owners, token_budget=60, pad_id=0, device=CPU):
        for i, loss in zip(batch.index, inner_loop._backward(stack, jobs, batch, owners, {0: 4, 1: 3}), strict=True):
            losses[owners[i]] += loss
    for k, adapter in enumerate(adapters):
        expected_loss, expected = _plain(stack, adapter, [r for r, o in zip(rows, owners, strict=True) if o == k])
        assert losses[k] == pytest.approx(expected_loss, abs=1e-5)
        torch.testing.assert_close(found[k], expected, atol=1e-5, rtol=1e-4)
        adapter.end_training()


def _plain(stack: StackedLora, adapter: LoraAdapter, rows: list[Row]) -> tuple[float, torch.Tensor]:
    """Loss and flat gradient, one row after another, through the whole model at once."""
    grad = adapter.begin_training()
    total = 0.0
    for row in rows:
        with stack.rows([adapter]):
            logits = stack.model(input_ids=torch.tensor([row.ids])).logits[0]
        start = max(row.prompt_length, 1)
        loss = nn.functional.cross_entropy(logits[start - 1 : -1], torch.tensor(row.ids[start:])) / len(rows)
        loss.backward()
        total += loss.item()
    return total, grad


def test_rows_without_a_target_teach_nothing(stack: StackedLora) -> None:
    """They are carried through without an error and without a change."""
    adapter = stack.create(LoraConfig(2, 4.0, ("q_proj",)), seed=0)
    before = adapter.flat.clone()
    _train(stack, [TrainingJob(adapter, [Row((4, 5, 6), 3)], [[0], [0]], 1e-2)])
    assert torch.equal(adapter.flat, before)


def test_nothing_to_train_is_fine(stack: StackedLora) -> None:
    """No jobs, and a job without steps."""
    _train(stack, [])
    adapter = stack.create(LoraConfig(2, 4.0, ("q_proj",)), seed=0)
    before = adapter.flat.clone()
    _train(stack, [TrainingJob(adapter, [], [], 1e-2)])
    assert torch.equal(adapter.flat, before)


def test_an_error_in_training_leaves_adapters_frozen(stack: StackedLora) -> None:
    """A token outside the vocabulary stops training; no gradient buffer stays behind."""
    adapter = stack.create(LoraConfig(2, 4.0, ("q_proj",)), seed=0)
    with pytest.raises(IndexError):
        _train(stack, [TrainingJob(adapter, [Row((4, 10**6), 1)], [[0]], 1e-2)])
    assert all(p.grad is None and not p.requires_grad for pair in adapter.pairs.values() for p in pair)


def test_collated_rows_without_targets_keep_integer_types() -> None:
    """Empty lists of targets would otherwise become floating point."""
    batch = collate([Row((4, 5), 2)], [0], pad_id=0, device=CPU)
    assert batch.targets.dtype == batch.row_of_target.dtype == torch.long


@given(
    weights=st.lists(st.floats(0.1, 10), min_size=1, max_size=20),
    epochs=st.integers(1, 4),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_every_row_comes_once_an_epoch(weights: list[float], epochs: int, batch_size: int, seed: int) -> None:
    """With `rows_per_epoch` 0; no batch is larger than asked, and the plan repeats itself."""
    plan = plan_batches(weights, epochs=epochs, rows_per_epoch=0, batch_size=batch_size, seed=seed)
    assert all(0 < len(batch) <= batch_size for batch in plan)
    steps = len(plan) // epochs
    for epoch in range(epochs):
        drawn = [i for batch in plan[epoch * steps : (epoch + 1) * steps] for i in batch]
        assert sorted(drawn) == list(range(len(weights)))
    assert plan == plan_batches(weights, epochs=epochs, rows_per_epoch=0, batch_size=batch_size, seed=seed)


@given(count=st.integers(1, 20), rows=st.integers(1, 25), seed=st.integers(0, 99))
def test_a_small_epoch_draws_without_replacement(count: int, rows: int, seed: int) -> None:
    """At most `rows_per_epoch` rows, each once."""
    plan = plan_batches([1.0] * count, epochs=1, rows_per_epoch=rows, batch_size=4, seed=seed)
    drawn = [i for batch in plan for i in batch]
    assert len(drawn) == len(set(drawn)) == min(rows, count)


def test_weights_are_respected() -> None:
    """Three times the weight is drawn three times as often; weight 0 only when nothing else is left."""
    plan = plan_batches([1.0, 3.0, 0.0], epochs=4000, rows_per_epoch=1, batch_size=1, seed=0)
    drawn = Counter(batch[0] for batch in plan)
    assert drawn[2] == 0
    assert drawn[1] / 4000 == pytest.approx(0.75, abs=0.03)


def test_other_seeds_give_other_orders() -> None:
    """And so does every epoch."""
    first, other = (plan_batches([1.0] * 30, epochs=2, rows_per_epoch=0, batch_size=30, seed=s) for s in (0, 1))
    assert first[0] != other[0]
    assert first[0] != first[1]
