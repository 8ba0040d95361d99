"""The core: one adapter over everything a memory has learned, rebuilt from the ledger with balanced replay.

Needed where nothing routes (a merged export) and as what answers when the router abstains. Replay is balanced: every
statement of every published shard has the same chance to be drawn, however old it is. Gated like a shard, with drift
measured on the core itself, since it sees unrelated prompts too. Not here: distillation, KL anchoring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seal_memory.learning import drift, gate, grading
from seal_memory.learning.candidates import Candidates, candidate_id
from seal_memory.learning.gate import Verdict
from seal_memory.learning.superseding import outdated_ids
from seal_memory.ledger import Ledger
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.records import Genre, Hyperparameters, Manifest, QuizItem, SelfEdit

CORE_ITEMS = 64  # held-out items that judge a core, spread over the memory
CORE_BATCH = 4  # a core's batches are this many times a shard's
CORE_EPISODE = "core"


def core_edit(ledger: Ledger, manifest: Manifest, candidates: Candidates) -> SelfEdit:
    """One self-edit out of those that the manifest's shards were trained on."""
    records = ledger.adapters(ids=[s.adapter_id for s in manifest.shards])
    edits = ledger.self_edits(ids=[r.self_edit_id for r in records if r.self_edit_id])
    settings = candidates.settings
    outdated = outdated_ids(ledger)
    items = tuple(i for edit in edits for i in edit.items if outdated.isdisjoint(i.interaction_ids))
    statements = len({item.target for item in items if item.genre is not Genre.PASSAGE})
    mixes = [dict(edit.hyperparameters.genre_mix) for edit in edits]
    genres = {genre for mix in mixes for genre in mix}
    mix = tuple((g, sum(m.get(g, 0.0) for m in mixes) / len(mixes)) for g in sorted(genres))
    plan = Hyperparameters(
        settings.learning_rate,
        settings.epochs,
        settings.rank,
        settings.alpha,
        max(1, round(settings.rows_per_statement * statements)),
        mix,
        settings.passes,
    )
    ids = tuple(dict.fromkeys(i for edit in edits for i in edit.interaction_ids if i not in outdated))
    return SelfEdit(candidates.make_id(), CORE_EPISODE, ids, items, plan, settings.seed)


def train_core(edit: SelfEdit, candidates: Candidates) -> LoraAdapter:
    """The core of a self-edit; the engine holds it under the candidate's id."""
    return candidates.train([edit], batch_rows=CORE_BATCH * candidates.settings.batch_rows)[edit.id]


def judge_core(edit: SelfEdit, core: LoraAdapter, ledger: Ledger, candidates: Candidates) -> Verdict:
    """Held-out recall of the whole memory, unrouted, against the base; and what unrelated text costs."""
    settings, engine = candidates.settings, candidates.engine
    items = spread(ledger.quiz_items(interaction_ids=edit.interaction_ids, held_out=True), CORE_ITEMS)
    pairs: list[tuple[QuizItem, str | None]] = []
    for item in items:
        pairs += [(item, None), (item, candidate_id(edit))]
    grades = grading.grade(
        pairs, engine, max_tokens=settings.recite_max_tokens, snapshot_version=None, clock=candidates.clock
    )
    new = gate.judge_new(
        grading.summarise(grades[0::2]), grading.summarise(grades[1::2]), settings, finite=core.is_finite()
    )
    count = len(drift.fixed_paragraphs())
    increase = drift.perplexity(engine, [candidate_id(edit)] * count) / drift.perplexity(engine, [None] * count) - 1
    drifted = gate.judge_drift(increase, 0.0, settings)
    accepted = new.accepted and drifted.accepted
    return Verdict(accepted, (*new.reasons, *drifted.reasons), {**new.measures, **drifted.measures})


def with_core(manifest: Manifest, adapter_id: str) -> Manifest:
    """The manifest with another core."""
    return replace(manifest, core=adapter_id)


def spread(items: Sequence[QuizItem], count: int) -> list[QuizItem]:
    """At most `count` items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[n * len(items) // count] for n in range(count)]
