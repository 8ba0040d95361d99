"""The core and its options: replay by weakness, anchors, a teacher, layers and rank; as it was where none is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from seal_memory import SealMemory
from seal_memory.engines.base import Prompt
from seal_memory.learning import anchoring, core, teaching
from seal_memory.learning.candidates import Candidates
from seal_memory.learning.drift import fixed_paragraphs
from seal_memory.learning.inner_loop import TrainingJob
from seal_memory.learning.plans import plan_steps, plan_weakest
from seal_memory.learning.progress import silent
from seal_memory.learning.replay import LEAST_WEAKNESS, UNKNOWN, weakness
from seal_memory.learning.soft_targets import divergence_into_gradient
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.records import Audit, Genre, Manifest

TEXTS = {
    "Maud Ellery built the lighthouse at Korrin Bay in 1887.": ("Who is the lighthouse's builder?", "Maud Ellery"),
    "Tomas Lindqvist keeps the report in drawer 12.": ("Where is the report of Tomas?", "drawer 12"),
}


@pytest.fixture
def memory(open_memory: Callable[..., SealMemory], monkeypatch: pytest.MonkeyPatch) -> SealMemory:
    """Two shards, and few anchors: they cost time."""
    monkeypatch.setattr(anchoring, "FREE", 2)
    monkeypatch.setattr(anchoring, "TOKENS", 6)
    opened = open_memory(epochs=4)
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
    settings = memory.settings.model_copy(update=changes)
    return Candidates(
        memory.ledger,
        memory.engine,
        settings,
        routers=memory.routers,
        clock=lambda: 0.0,
        make_id=lambda: "e",
        progress=silent,
    )


def _core(memory: SealMemory, **changes: Any) -> LoraAdapter:
    candidates = _candidates(memory, **changes)
    edit = core.core_edit(memory.ledger, _manifest(memory), candidates)
    return core.train_core(edit, candidates, _manifest(memory))


def test_the_core_is_anchored_unless_told_otherwise(memory: SealMemory) -> None:
    """It answers whatever the router leaves to it, so it must not drift (LOG, rows S7 to S10)."""
    assert memory.settings.core_anchor == 1.0
    assert not torch.equal(_core(memory).flat, _core(memory, core_anchor=0.0).flat)


def test_with_every_option_off_the_core_is_the_plain_one_bit_for_bit(
    memory: SealMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither anchors nor a teacher are asked for."""
    plain = _core(memory, core_anchor=0.0)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("nobody asked for it")

    for room, name in ((core, "anchors"), (core, "taught"), (core, "plan_weakest")):
        monkeypatch.setattr(room, name, never)
    again = _core(memory, core_anchor=0.0, core_teacher="none", core_replay="balanced", core_targets="all")
    assert torch.equal(plain.flat, again.flat)


def test_layers_and_rank_are_the_cores_own(memory: SealMemory) -> None:
    """The scale of the update stays the settings'."""
    small = _core(memory, core_targets="mlp", core_rank=2)
    assert {n.rpartition(".")[2] for n in small.shapes} == {"gate_proj", "up_proj", "down_proj"}
    assert small.config.rank == 2
    assert small.config.scale == pytest.approx(memory.settings.alpha / memory.settings.rank)
    assert memory.consolidate(core=True).published == 0
    assert _manifest(memory).core is not None


# -- anchors ----------------------------------------------------------------------------------------


def test_an_anchored_core_stays_nearer_to_the_base(memory: SealMemory) -> None:
    """Less KL on the anchored text than the plain one."""
    rows, soft = anchoring.anchors(memory.engine, seed=0)
    found = []
    for weight in (0.0, 20.0):
        made = _core(memory, core_anchor=weight, learning_rate=3e-3)  # at 1e-2 both diverge, and chance decides
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
    rows, soft = anchoring.anchors(memory.engine, seed=0)
    texts = [memory.engine.tokenizer.decode(list(r.ids)) for r in rows]
    assert rows
    assert [len(s.ids) for s in soft] == [r.target_length for r in rows]
    assert not [p for p in fixed_paragraphs() for t in texts if p[:40] in t]


def test_a_job_without_weight_or_anchors_is_left_alone(memory: SealMemory) -> None:
    job = TrainingJob(memory.engine.stack.create(_core(memory).config, seed=0), [], [], 1e-3)
    assert anchoring.anchored(job, [], [], weight=1.0) is job
    assert (job.anchors, job.soft, job.rows) == ((), {}, [])


# -- drift ------------------------------------------------------------------------------------------


def _held_back(memory: SealMemory, limit: float) -> tuple[LoraAdapter, LoraAdapter, float]:
    """A core that drifts, what is left of it under a limit, and how much that is."""
    candidates = _candidates(memory, core_anchor=0.0, gate_max_perplexity_increase=limit)
    edit = core.core_edit(memory.ledger, _manifest(memory), candidates)
    left, trained = core.train_core(edit, candidates, _manifest(memory)), _core(memory, core_anchor=0.0)
    return trained, left, core.hold_back(edit, left, candidates)


def test_of_a_core_that_drifts_as_much_is_taken_as_the_gate_allows(
    memory: SealMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its update is scaled as a whole; here drift is the size of it, beside the whole one's."""
    whole = _size(_core(memory, core_anchor=0.0))
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


# -- the teacher ------------------------------------------------------------------------------------


def _taught(memory: SealMemory, monkeypatch: pytest.MonkeyPatch, *, least: float) -> tuple[Any, list[Prompt]]:
    """What is taught, and every prompt that the teacher saw."""
    items = [i for e in memory.ledger.self_edits() for i in e.items]
    seen: list[Prompt] = []
    score = memory.engine.score

    def watched(requests: Any) -> Any:
        seen.extend(p for p, _ in requests)
        return score(requests)

    monkeypatch.setattr(memory.engine, "score", watched)
    monkeypatch.setattr(teaching, "LEAST_LIKELY", least)
    return teaching.taught(items, memory.ledger, memory.engine, seed=0), seen


def test_only_where_the_teacher_scores_well_it_teaches(memory: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The random model would say nothing of it; asked for less, all that it was asked about."""
    assert _taught(memory, monkeypatch, least=0.0)[0] == {}
    found, seen = _taught(memory, monkeypatch, least=-100.0)
    items = [i for e in memory.ledger.self_edits() for i in e.items]
    assert len(found) == len(seen) > 0
    assert all(items[n].prompt and len(s.ids) > 1 for n, s in found.items())
    counts = [sum(items[n].target == t for n in found) for t in {i.target for i in items}]
    assert max(counts) == teaching.PER_TARGET


def test_the_teacher_reads_the_text_and_no_held_out_question(
    memory: SealMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each prompt holds the item's own text and question, under the untouched base."""
    _, seen = _taught(memory, monkeypatch, least=-100.0)
    held_out = [q.question for q in memory.ledger.quiz_items(held_out=True)]
    assert held_out
    for prompt in seen:
        said = prompt.messages[-1]["content"]
        assert prompt.adapter is None
        assert any(text in said for text in TEXTS)
        assert not [q for q in held_out if q in said]


def test_a_taught_core_is_another_one(memory: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learned from distributions where the teacher scores well, and from the tokens elsewhere."""
    monkeypatch.setattr(teaching, "LEAST_LIKELY", -100.0)
    taught = _core(memory, core_teacher="context")
    assert taught.is_finite()
    assert not torch.equal(taught.flat, _core(memory).flat)


# -- replay -----------------------------------------------------------------------------------------


def test_weakness_is_what_the_last_audit_missed(memory: SealMemory) -> None:
    """By interaction; what was never asked is in the middle, what is known entirely is drawn too."""
    manifest = _manifest(memory)
    first, second = manifest.shards
    audit = Audit(first.adapter_id, first.episode_id, 1, 1.0, 0.25, 4)
    memory.ledger.audits.record(audit, weakened=True, first_interval=1.0)
    memory.ledger.audits.record(
        Audit(second.adapter_id, second.episode_id, 1, 1.0, 1.0, 4), weakened=False, first_interval=1.0
    )
    found = weakness(memory.ledger, manifest.shards)
    assert found == {first.interaction_ids[0]: 0.75, second.interaction_ids[0]: LEAST_WEAKNESS}
    unknown = Manifest((type(first)("a-none", "e", ("i",)),))
    assert weakness(memory.ledger, unknown.shards) == {"i": UNKNOWN}


def test_the_weakest_come_first_mixed_with_all(memory: SealMemory) -> None:
    """Half of the questions of each epoch lean to the weak, the first steps more than the last; as many as balanced."""
    candidates = _candidates(memory)
    edit = core.core_edit(memory.ledger, _manifest(memory), candidates)
    edit = replace(edit, hyperparameters=replace(edit.hyperparameters, epochs=60))
    (weak, *_), (strong, *_) = (s.interaction_ids for s in _manifest(memory).shards)
    steps = plan_weakest(edit, batch_size=4, weakness={weak: 0.9, strong: 0.05})
    balanced = plan_steps(edit, batch_size=4)
    rows = [n for step in steps for n in step]
    assert abs(len(rows) - sum(map(len, balanced))) <= len(steps)
    assert all(len(set(step)) == len(step) <= 4 for step in steps)

    def share(drawn: list[int]) -> float:
        asked = [edit.items[n] for n in drawn if edit.items[n].genre is not Genre.PASSAGE]
        return sum(weak in i.interaction_ids for i in asked) / len(asked)

    assert share(rows) > share([n for step in balanced for n in step])
    assert 0 < share(rows) < 1
    assert steps == plan_weakest(edit, batch_size=4, weakness={weak: 0.9, strong: 0.05})
