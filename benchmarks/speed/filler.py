"""A memory with many memories in it, made cheaply: what consolidating a new one has to live with.

Each filler is a text of four real sentences, drawn at random from the passages that are not measured, with everything
that a learned text has in the ledger: a self-edit, quiz items with grades, a decision, an adapter, its entry in the
published snapshot. Only the adapter is small, rank 1 on one layer's kind and random: a real one is 20 MB and takes
seconds to train, and neither routing nor the ledger looks inside. Not here: the measuring (`consolidating`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.speed.bench import random_adapter
from benchmarks.tasks.base import Unit
from seal_memory.learning.candidates import data_hash
from seal_memory.learning.publishing import store_adapter
from seal_memory.lora.adapter import LoraConfig
from seal_memory.memory import SealMemory
from seal_memory.prompts import about
from seal_memory.records import (
    AdapterKind,
    AdapterRecord,
    Decision,
    Genre,
    Grade,
    Hyperparameters,
    Manifest,
    NewInteraction,
    QuizItem,
    SelfEdit,
    ShardEntry,
    Standing,
    TrainingItem,
)
from seal_memory.text import sentences

SENTENCES = 4  # of one filler: about as long as a chunk for retrieval
VERSION = 1


@dataclass(frozen=True, slots=True)
class _Learned:
    """Everything that the ledger holds of one filler."""

    interaction_id: str
    edit: SelfEdit
    quiz: tuple[QuizItem, ...]
    adapter: AdapterRecord
    decision: Decision


def fill(memory: SealMemory, units: Sequence[Unit], count: int, *, seed: int) -> None:
    """Make `count` learned and published memories in an empty memory, from sentences of `units`."""
    observed = memory.ledger.observe(texts(units, count, seed=seed))
    learned = [_learned(memory, o.id, n) for n, o in enumerate(observed)]
    shards = tuple(ShardEntry(f.adapter.id, f.edit.episode_id, (f.interaction_id,)) for f in learned)
    ledger = memory.ledger
    with ledger.atomic():
        ledger.add_self_edits([f.edit for f in learned])
        ledger.add_quiz_items([item for f in learned for item in f.quiz])
        for filler in learned:
            ledger.add_adapter(filler.adapter)
            ledger.add_decision(filler.decision)
        ledger.add_snapshot(Manifest(shards), parent=None, base_fingerprint=memory.engine.fingerprint)
        ledger.set_standing([f.interaction_id for f in learned], Standing.LEARNED)
        ledger.add_grades([grade for f in learned for grade in _grades(f)])


def texts(units: Sequence[Unit], count: int, *, seed: int) -> list[NewInteraction]:
    """`count` different texts, each with the title of its first sentence's passage."""
    known = [(unit.chunks[0].title, line) for unit in units for line in sentences(unit.chunks[0].text)]
    rng = random.Random(seed)
    made: dict[str, NewInteraction] = {}
    while len(made) < count:
        drawn = rng.sample(known, min(SENTENCES, len(known)))
        text = " ".join(line for _, line in drawn)
        if text in made:  # few sentences to draw from
            text = f"{text} Number {len(made)}."
        made[text] = NewInteraction(text, title=drawn[0][0], source=f"filler-{len(made)}")
    return list(made.values())


def _learned(memory: SealMemory, interaction_id: str, number: int) -> _Learned:
    settings, name = memory.settings, f"filler-{number}"
    interaction = memory.ledger.interactions(ids=[interaction_id])[0]
    lines = list(sentences(interaction.text))
    cues = [(about(" ".join(line.split()[:4])), line) for line in lines]
    items = tuple(TrainingItem(Genre.SENTENCES, cue, line, (interaction_id,)) for cue, line in cues)
    plan = Hyperparameters(settings.learning_rate, settings.epochs, 1, 2.0)
    edit = SelfEdit(f"edit-{name}", f"episode-{name}", (interaction_id,), items, plan, number)
    quiz = tuple(
        QuizItem(
            f"quiz-{name}-{n}", (interaction_id,), f"{cue[:-1]}, in number {number}?", line.split()[-1], n % 2 == 0
        )
        for n, (cue, line) in enumerate(cues)
    )
    adapter = _adapter(memory, edit, number)
    decision = Decision(
        f"decision-{name}", adapter.id, edit.episode_id, True, (), {"gain": 0.5}, VERSION, interaction.time
    )
    return _Learned(interaction_id, edit, quiz, adapter, decision)


def _adapter(memory: SealMemory, edit: SelfEdit, number: int) -> AdapterRecord:
    engine = memory.engine
    config = LoraConfig(1, 2.0, tuple(memory.settings.target_modules[:1]))
    made = random_adapter(engine, config, seed=number)
    return store_adapter(
        memory.store,
        made,
        kind=AdapterKind.SHARD,
        base_model=memory.model,
        base_fingerprint=engine.fingerprint,
        interaction_ids=edit.interaction_ids,
        seed=edit.seed,
        data_hash=data_hash(edit),
        now=0.0,
        episode_id=edit.episode_id,
        self_edit_id=edit.id,
    )


def _grades(filler: _Learned) -> list[Grade]:
    """The held-out items were asked of the base, which did not know, and of the shard, which did."""
    held_out = [item for item in filler.quiz if item.held_out]
    base = [Grade(i.id, None, None, -4.0, 0.0, False, 0.0) for i in held_out]
    return base + [Grade(i.id, filler.adapter.id, VERSION, -0.5, 1.0, True, 0.0) for i in held_out]
