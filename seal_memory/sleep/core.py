"""The core: one adapter trained on all published shards' items, from the ledger with replay.

Used where nothing routes (a merged export) and when the router abstains. Replay is balanced: every statement of every
published shard is drawn with the same chance, however old it is. KL regularisation keeps the core close to the base
(`anchoring`, setting `sleep.core_kl_weight`). The gate checks it like a shard, with drift measured on the core itself,
since it gets unrelated prompts, too; a core that drifts too far is scaled down. Not here: publishing (`sleeper`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seal_memory.engines.base import Engine
from seal_memory.learning import drift, gate, grading
from seal_memory.learning.candidates import Candidates, candidate_id, run_jobs, training_job
from seal_memory.learning.episodes import CORE_EPISODE
from seal_memory.learning.gate import GateVerdict
from seal_memory.learning.old_recall import evenly_spaced
from seal_memory.ledger import Ledger
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.records import Grade, Hyperparameters, Manifest, SelfEdit
from seal_memory.sleep.anchoring import make_anchors, with_anchors
from seal_memory.sleep.replay import replay

CORE_ITEMS = 64  # held-out items that the gate asks a core, evenly spaced over the memory
CORE_BATCH = 4  # a core's batches are this many times a shard's
STRENGTHS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6)  # factors tried on the update of a core that drifts, largest first


def core_edit(ledger: Ledger, manifest: Manifest, candidates: Candidates) -> SelfEdit:
    """The core's self-edit: the items of all self-edits that the manifest's shards were trained on."""
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
    """Train the core, with KL regularisation of weight `sleep.core_kl_weight`; the engine holds it as a candidate."""
    settings, engine = candidates.settings, candidates.engine
    job = training_job(edit, engine, settings.learning, batch_size=CORE_BATCH * settings.learning.batch_size)
    if settings.sleep.core_kl_weight:
        job = with_anchors(job, *make_anchors(engine, seed=edit.seed), weight=settings.sleep.core_kl_weight)
    candidates.add_tokens(run_jobs({edit.id: job}, engine, settings.learning, progress=candidates.progress))
    return job.adapter


def scale_to_drift_limit(edit: SelfEdit, core: LoraAdapter, candidates: Candidates) -> float:
    """Scale the core's update down, in place, until the fixed text's perplexity rises by no more than the gate allows.

    The scaled core interpolates between the base and the trained core (WiSE-FT, arXiv 2109.01903). Returns the factor;
    1.0, with the core unchanged, where no factor is enough: then the gate refuses the core.
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


def check_core(
    edit: SelfEdit, core: LoraAdapter, ledger: Ledger, candidates: Candidates, *, published: str | None
) -> GateVerdict:
    """The verdict on a core: unrouted held-out recall against the base and the published core, and drift.

    The published core is asked the same items, so that items it never learned count for the new one.
    """
    settings, engine = candidates.settings, candidates.engine
    items = evenly_spaced(ledger.quiz_items(interaction_ids=edit.interaction_ids, held_out=True), CORE_ITEMS)
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
    new = gate.check_new(grading.summarise(base), grading.summarise(after), settings.gate, finite=core.is_finite())
    old = gate.check_old(_right(before), _right(after), settings.gate) if published else GateVerdict(True, (), {})
    drifted = gate.check_drift(_increase(engine, candidate_id(edit)), 0.0, settings.gate)
    accepted = new.accepted and old.accepted and drifted.accepted
    measures = {**new.measures, **old.measures, **drifted.measures}
    return GateVerdict(accepted, (*new.reasons, *old.reasons, *drifted.reasons), measures)


def _increase(engine: Engine, adapter: str) -> float:
    """Relative rise of perplexity on the fixed text under one adapter, over the base's, as a share."""
    count = len(drift.fixed_paragraphs())
    return drift.perplexity(engine, [adapter] * count) / drift.perplexity(engine, [None] * count) - 1


def _right(grades: Sequence[Grade]) -> list[float]:
    return [float(bool(g.correct)) for g in grades]


def with_core(manifest: Manifest, adapter_id: str) -> Manifest:
    """The manifest with another core."""
    return replace(manifest, core=adapter_id)
