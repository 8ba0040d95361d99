"""The core: one adapter over everything a memory has learned, rebuilt from the ledger with replay.

Used where nothing routes (a merged export) and to answer when the router abstains. Replay is balanced: every statement
of every published shard has the same chance to be drawn, however old it is. KL regularisation keeps the core close to
the base (`anchoring`, setting `sleep.core_kl_weight`). Gated like a shard, with drift measured on the core itself,
since it sees unrelated prompts too; a core that drifts too far is scaled down. Not here: publishing it (`sleeping`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seal_memory.engines.base import Engine
from seal_memory.learning import drift, gate, grading
from seal_memory.learning.candidates import Candidates, candidate_id, run_jobs, training_job
from seal_memory.learning.episodes import CORE_EPISODE
from seal_memory.learning.gate import GateVerdict
from seal_memory.learning.old_recall import spread
from seal_memory.ledger import Ledger
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.records import Grade, Hyperparameters, Manifest, SelfEdit
from seal_memory.sleep.anchoring import anchored, anchors
from seal_memory.sleep.replay import replay

CORE_ITEMS = 64  # held-out items that judge a core, spread over the memory
CORE_BATCH = 4  # a core's batches are this many times a shard's
STRENGTHS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6)  # what is taken of a core that drifts, the most that the gate allows


def core_edit(ledger: Ledger, manifest: Manifest, candidates: Candidates) -> SelfEdit:
    """One self-edit out of those that the manifest's shards were trained on."""
    settings = candidates.settings
    found = replay(ledger, manifest.shards)
    plan = Hyperparameters(
        settings.learning.learning_rate,
        settings.learning.epochs,
        settings.learning.rank,
        settings.learning.alpha,
        max(1, round(settings.learning.rows_per_statement * found.statements)),
        found.genre_mix,
        settings.learning.document_readings,
    )
    return SelfEdit(candidates.make_id(), CORE_EPISODE, found.interaction_ids, found.items, plan, settings.seed)


def train_core(edit: SelfEdit, candidates: Candidates) -> LoraAdapter:
    """Train the core of a self-edit, held to the base as `sleep.core_kl_weight` says.

    The engine holds it under the candidate's id.
    """
    settings, engine = candidates.settings, candidates.engine
    job = training_job(edit, engine, settings.learning, batch_size=CORE_BATCH * settings.learning.batch_size)
    if settings.sleep.core_kl_weight:
        job = anchored(job, *anchors(engine, seed=edit.seed), weight=settings.sleep.core_kl_weight)
    candidates.add_tokens(run_jobs({edit.id: job}, engine, settings.learning, progress=candidates.progress))
    return job.adapter


def hold_back(edit: SelfEdit, core: LoraAdapter, candidates: Candidates) -> float:
    """Take less of the core's update, in place, where the fixed text's perplexity rises by more than the gate allows.

    Scaled as a whole it lies between the base and what was trained (WiSE-FT, arXiv 2109.01903). Returns the share that
    is left; 1.0, and nothing is changed, where no share tried is enough: then the gate refuses what was trained.
    """
    name, engine, trained = candidate_id(edit), candidates.engine, core.flat.detach().clone()
    for n, strength in enumerate(STRENGTHS):
        core.scale_update(strength)
        engine.put(name, core)
        if _increase(engine, name) <= candidates.settings.gate.max_perplexity_increase:
            return strength
        candidates.progress("core", n + 1, len(STRENGTHS))  # renews the lease
        core.flat.detach().copy_(trained)
    engine.put(name, core)
    return 1.0


def judge_core(
    edit: SelfEdit, core: LoraAdapter, ledger: Ledger, candidates: Candidates, *, published: str | None
) -> GateVerdict:
    """Held-out recall of the whole memory, unrouted, against the base and the published core; cost for unrelated text.

    The published core is asked about the same, so that what it never learned counts for the new one.
    """
    settings, engine = candidates.settings, candidates.engine
    items = spread(ledger.quiz_items(interaction_ids=edit.interaction_ids, held_out=True), CORE_ITEMS)
    asked = dict.fromkeys((None, published, candidate_id(edit)))
    grades = grading.grade(
        [(item, adapter) for adapter in asked for item in items],
        engine,
        max_tokens=settings.gate.quiz_answer_tokens,
        snapshot_version=None,
        clock=candidates.clock,
    )
    of = {adapter: grades[n * len(items) : (n + 1) * len(items)] for n, adapter in enumerate(asked)}
    base, before, after = of[None], of[published], of[candidate_id(edit)]
    new = gate.judge_new(grading.summarise(base), grading.summarise(after), settings.gate, finite=core.is_finite())
    old = gate.judge_old(_right(before), _right(after), settings.gate) if published else GateVerdict(True, (), {})
    drifted = gate.judge_drift(_increase(engine, candidate_id(edit)), 0.0, settings.gate)
    accepted = new.accepted and old.accepted and drifted.accepted
    measures = {**new.measures, **old.measures, **drifted.measures}
    return GateVerdict(accepted, (*new.reasons, *old.reasons, *drifted.reasons), measures)


def _increase(engine: Engine, adapter: str) -> float:
    """How far perplexity on the fixed text rises over the base's under one adapter, as a share."""
    count = len(drift.fixed_paragraphs())
    return drift.perplexity(engine, [adapter] * count) / drift.perplexity(engine, [None] * count) - 1


def _right(grades: Sequence[Grade]) -> list[float]:
    return [float(bool(g.correct)) for g in grades]


def with_core(manifest: Manifest, adapter_id: str) -> Manifest:
    """The manifest with another core."""
    return replace(manifest, core=adapter_id)
