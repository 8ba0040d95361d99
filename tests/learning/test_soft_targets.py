"""Soft targets: the loss is a divergence, its written gradient is autograd's, and the base is where it is smallest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.batches import Row
from seal_memory.engines.local import TransformersEngine
from seal_memory.learning.inner_loop import TrainingJob, train
from seal_memory.learning.soft_targets import SoftTargets, concatenate, divergence_into_gradient, soft_targets
from seal_memory.lora.adapter import LoraConfig

ROWS = [Row((4, 5, 6, 7, 8), 2), Row((9, 10, 11), 0), Row((5, 9, 4, 12, 13, 14), 4)]


@pytest.fixture(scope="module")
def engine(load_tiny: Callable[[], Any]) -> TransformersEngine:
    return TransformersEngine(load_tiny())


def _plain(logits: Tensor, soft: SoftTargets) -> Tensor:
    """The divergence by its definition, for autograd."""
    logq = logits.log_softmax(-1).gather(1, soft.ids)
    p = soft.logprobs.exp()
    rest_p, rest_q = 1 - p.sum(-1), 1 - logq.exp().sum(-1)
    losses: Tensor = (p * (soft.logprobs - logq)).sum(-1) + rest_p * (rest_p / rest_q).log()
    return losses


def _random(seed: int, kept: int) -> tuple[Tensor, SoftTargets, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    top = torch.randn(5, 40, generator=rng).log_softmax(-1).topk(kept, dim=-1)
    return torch.randn(5, 40, generator=rng), SoftTargets(top.indices, top.values), torch.rand(5, generator=rng)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_the_gradient_is_the_one_of_the_loss(seed: int, kept: int) -> None:
    """Written over the logits, weighted, whatever part of the distribution is kept."""
    logits, soft, weight = _random(seed, kept)
    leaf = logits.clone().requires_grad_()
    expected = _plain(leaf, soft)
    (expected * weight).sum().backward()
    losses = divergence_into_gradient(logits, soft, weight)
    torch.testing.assert_close(losses, expected.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits, leaf.grad, atol=1e-5, rtol=1e-4)


def test_at_the_bases_own_distribution_there_is_nothing_to_learn(engine: TransformersEngine) -> None:
    """Zero divergence and gradient, with the rest of the distribution as one outcome."""
    (soft,) = soft_targets(engine, ROWS[:1])
    with torch.no_grad():
        logits = engine.model(input_ids=torch.tensor([ROWS[0].ids])).logits[0, 1:4]
    losses = divergence_into_gradient(logits, soft, torch.ones(3))
    assert float(losses.abs().max()) < 1e-5
    assert float(logits.abs().max()) < 1e-5


def test_every_row_has_a_distribution_for_each_target(engine: TransformersEngine) -> None:
    """In the rows' order, the likeliest tokens first, as the base alone predicts them."""
    found = soft_targets(engine, ROWS)
    assert [len(f.ids) for f in found] == [3, 2, 2]
    for row, soft in zip(ROWS, found, strict=True):
        (alone,) = soft_targets(engine, [row])
        torch.testing.assert_close(alone.logprobs, soft.logprobs, atol=1e-4, rtol=1e-4)
        assert bool((soft.logprobs.diff(dim=1) <= 0).all())
    assert len(concatenate(found).ids) == 7
    assert torch.equal(concatenate(found).take(slice(3, 5)).ids, found[1].ids)


def _job(engine: TransformersEngine, **more: Any) -> TrainingJob:
    adapter = engine.stack.create(LoraConfig(4, 8.0, LLAMA_LINEAR), seed=3)
    return TrainingJob(adapter, ROWS, [[0, 1]] * 12, 1e-2, **more)


def _train(engine: TransformersEngine, job: TrainingJob) -> TrainingJob:
    train(engine.stack, [job], token_budget=64, pad_id=engine.pad_id)
    return job


def test_without_anchors_nothing_changes_bit_for_bit(engine: TransformersEngine) -> None:
    """Anchors that weigh nothing are not even computed."""
    plain = _train(engine, _job(engine))
    soft = dict(enumerate(soft_targets(engine, ROWS)))
    weightless = _train(engine, _job(engine, soft={2: soft[2]}, anchors=[[2]], anchor=0.0))
    assert torch.equal(plain.adapter.flat, weightless.adapter.flat)
    assert plain.losses == weightless.losses


def test_an_anchor_holds_the_adapter_to_the_base(engine: TransformersEngine) -> None:
    """On the anchored row the trained model is nearer to the base, the more the anchor weighs."""
    soft = dict(enumerate(soft_targets(engine, ROWS)))
    found = []
    for weight in (0.0, 1.0, 30.0):
        job = _train(engine, _job(engine, soft={2: soft[2]}, anchors=[[2]], anchor=weight))
        found.append(_divergence(engine, job, soft[2]))
    assert found[0] > found[1] > found[2]


def _divergence(engine: TransformersEngine, job: TrainingJob, soft: SoftTargets) -> float:
    with torch.no_grad(), engine.stack.rows([job.adapter]):
        logits = engine.model(input_ids=torch.tensor([ROWS[2].ids])).logits[0, 3:5]
    return float(divergence_into_gradient(logits, soft, torch.ones(2)).mean())
