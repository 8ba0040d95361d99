"""The core: anchored unless told otherwise, scaled down where it drifts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from seal_memory import SealMemory
from seal_memory._internal.progress import silent
from seal_memory.learning.candidates import Candidates
from seal_memory.learning.drift import fixed_paragraphs
from seal_memory.learning.inner_loop import TrainingJob
from seal_memory.learning.soft_targets import divergence_into_gradient
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.records import Manifest
from seal_memory.sleep import anchoring, core

TEXTS = {
    "Maud Ellery built the lighthouse at Korrin Bay in 1887.": ("Who is the lighthouse's builder?", "Maud Ellery"),
    "Tomas Lindqvist keeps the report in drawer 12.": ("Where is the report of Tomas?", "drawer 12"),
}


@pytest.fixture
def memory(open_memory: Callable[..., SealMemory], monkeypatch: pytest.MonkeyPatch) -> SealMemory:
    """Two shards, and few anchors: they cost time."""
    monkeypatch.setattr(anchoring, "FREE", 2)
    monkeypatch.setattr(anchoring, "TOKENS", 6)
    opened = open_memory(learning={"epochs": 4})
    for text, quiz in TEXTS.items():
        (seen,) = opened.observe(text, session=text[:4])
        opened.add_quiz([quiz], interaction_ids=[seen.id])
    assert opened.consolidate().published == 2
    return opened


def _manifest(memory: SealMemory) -> Manifest:
    current = memory.ledger.current()
    assert current is not None
    return current.manifest


def _candidates(memory: SealMemory, **changes: Any) -> Candidates:
    settings = memory.settings.changed(**changes)
    return Candidates(
        replace(memory.workbench, clock=lambda: 0.0, make_id=lambda: "e", progress=silent, settings=settings)
    )


def _core(memory: SealMemory, **changes: Any) -> LoraAdapter:
    candidates = _candidates(memory, **changes)
    edit = core.core_edit(memory.ledger, _manifest(memory), candidates)
    return core.train_core(edit, candidates)


def test_the_core_is_anchored_unless_told_otherwise(memory: SealMemory) -> None:
    """It answers whatever the router leaves to it, so it must not drift (LOG, rows S7 to S10)."""
    assert memory.settings.sleep.core_kl_weight == 1.0
    assert not torch.equal(_core(memory).flat, _core(memory, sleep={"core_kl_weight": 0.0}).flat)


def test_without_an_anchor_the_core_is_the_plain_one_bit_for_bit(
    memory: SealMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No anchors are asked for."""
    plain = _core(memory, sleep={"core_kl_weight": 0.0})

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr(core, "make_anchors", never)
    assert torch.equal(plain.flat, _core(memory, sleep={"core_kl_weight": 0.0}).flat)


def test_the_core_has_the_rank_and_layers_of_the_settings(memory: SealMemory) -> None:
    made = _core(memory)
    assert {n.rpartition(".")[2] for n in made.shapes} == set(memory.settings.learning.target_modules)
    assert (made.config.rank, made.config.alpha) == (memory.settings.learning.rank, memory.settings.learning.alpha)
    assert memory.consolidate(core=True).published == 0
    assert _manifest(memory).core is not None


# -- anchors ----------------------------------------------------------------------------------------


def test_an_anchored_core_stays_nearer_to_the_base(memory: SealMemory) -> None:
    """Less KL on the anchored text than the plain one."""
    rows, soft = anchoring.make_anchors(memory.engine, seed=0)
    found = []
    for weight in (0.0, 20.0):
        made = _core(
            memory, sleep={"core_kl_weight": weight}, learning={"learning_rate": 3e-3}
        )  # at 1e-2 both diverge, and chance decides
        total = 0.0
        for row, targets in zip(rows, soft, strict=True):
            with torch.no_grad(), memory.engine.stack.rows([made]):
                logits = memory.engine.model(input_ids=torch.tensor([row.ids])).logits[0]
            own = logits[max(row.prompt_length, 1) - 1 : len(row.ids) - 1].clone()
            total += float(divergence_into_gradient(own, targets, torch.ones(len(own))).sum())
        found.append(total)
    assert found[1] < 0.7 * found[0]


def test_what_measures_drift_is_no_anchor(memory: SealMemory) -> None:
    """Anchors are the base's own words; the fixed text is not among them."""
    rows, soft = anchoring.make_anchors(memory.engine, seed=0)
    texts = [memory.engine.tokenizer.decode(list(r.ids)) for r in rows]
    assert rows
    assert [len(s.ids) for s in soft] == [r.target_length for r in rows]
    assert not [p for p in fixed_paragraphs() for t in texts if p[:40] in t]


def test_a_job_without_weight_or_anchors_is_left_alone(memory: SealMemory) -> None:
    job = TrainingJob(memory.engine.stack.create(_core(memory).config, seed=0), [], [], 1e-3)
    assert anchoring.with_anchors(job, [], [], weight=1.0) is job
    assert (job.anchors, job.soft, job.rows) == ((), {}, [])


# -- drift ------------------------------------------------------------------------------------------


def _held_back(memory: SealMemory, limit: float) -> tuple[LoraAdapter, LoraAdapter, float]:
    """A core that drifts, what is left of it under a limit, and how much that is."""
    candidates = _candidates(memory, sleep={"core_kl_weight": 0.0})
    candidates.settings.gate.__dict__["max_perplexity_increase"] = limit  # also limits that no user may set
    edit = core.core_edit(memory.ledger, _manifest(memory), candidates)
    left, trained = core.train_core(edit, candidates), _core(memory, sleep={"core_kl_weight": 0.0})
    return trained, left, core.scale_to_drift_limit(edit, left, candidates)


def test_of_a_core_that_drifts_as_much_is_taken_as_the_gate_allows(
    memory: SealMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its update is scaled as a whole; here drift is the size of it, beside the whole one's."""
    whole = _size(_core(memory, sleep={"core_kl_weight": 0.0}))
    monkeypatch.setattr(core, "_increase", lambda engine, name: _size(engine.adapter(name)) / whole)
    trained, left, strength = _held_back(memory, 0.85)
    assert strength == 0.8
    for name, (a, b) in left.pairs.items():
        assert torch.equal(a, trained.pairs[name][0])
        assert torch.equal(b, trained.pairs[name][1] * 0.8)


def _size(adapter: LoraAdapter) -> float:
    return math.sqrt(sum(float(b.detach().square().sum()) for _, b in adapter.pairs.values()))


@pytest.mark.parametrize("limit", [10.0, -1.0], ids=["it drifts no further", "no share is enough"])
def test_a_core_is_left_as_it_was_trained_bit_for_bit(memory: SealMemory, limit: float) -> None:
    trained, left, strength = _held_back(memory, limit)
    assert strength == 1.0
    assert torch.equal(left.flat, trained.flat)


def test_how_much_of_a_core_is_taken_is_on_record(memory: SealMemory) -> None:
    (decision,) = memory.sleep(merge=False).decisions
    assert decision.measures["core_strength"] in core.STRENGTHS
