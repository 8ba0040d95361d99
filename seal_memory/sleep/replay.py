"""Replay: what published shards were trained on, put together again to train one adapter on several of them.

Items that copy a question held out since are left out. A correction drops every adapter trained on the old wording, so
no published shard holds one. Not here: which items are drawn when (`plans`), merging (`merging`), the core (`core`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass

from seal_memory.ledger import Ledger
from seal_memory.records import SelfEdit, ShardEntry, TrainingItem
from seal_memory.self_edits.checks import too_close
from seal_memory.self_edits.genres import RUNNING_TEXT, Mix


@dataclass(frozen=True, slots=True)
class Replay:
    """Items of several self-edits, which interactions they are about, and the mean of their genre mixes.

    `shares`: of each edit, the share of its items that are about what is replayed.
    """

    edits: tuple[SelfEdit, ...]
    shares: tuple[float, ...]
    items: tuple[TrainingItem, ...]
    interaction_ids: tuple[str, ...]
    genre_mix: Mix

    @property
    def statements(self) -> int:
        """Distinct targets, texts not counted."""
        return len({item.target for item in self.items if item.genre not in RUNNING_TEXT})


def replay(ledger: Ledger, shards: Sequence[ShardEntry], *, about: Set[str] | None = None) -> Replay:
    """What these shards were trained on, in the order in which it was learned.

    `about`: only what is about some of these interactions alone; None: all of it.
    """
    records = ledger.adapters(ids=[s.adapter_id for s in shards])
    edits = tuple(ledger.self_edits(ids=[r.self_edit_id for r in records if r.self_edit_id]))
    chosen = [[i for i in e.items if about is None or set(i.interaction_ids) <= about] for e in edits]
    # a statement that several of the shards hold comes with the same items
    items = dict.fromkeys(i for own in chosen for i in own)
    held = dict.fromkeys(i for e in edits for i in e.interaction_ids if about is None or i in about)
    mixes = [dict(edit.hyperparameters.genre_mix) for edit in edits]
    genres = sorted({genre for mix in mixes for genre in mix})
    return Replay(
        edits,
        tuple(len(own) / max(1, len(e.items)) for e, own in zip(edits, chosen, strict=True)),
        tuple(_without_questions(list(items), ledger)),
        tuple(held),
        tuple((g, sum(m.get(g, 0.0) for m in mixes) / len(mixes)) for g in genres),
    )


def _without_questions(items: Sequence[TrainingItem], ledger: Ledger) -> list[TrainingItem]:
    """Items whose cue is no held-out question about the same interactions."""
    asked: dict[str, set[str]] = defaultdict(set)
    for quiz in ledger.quiz_items(held_out=True):
        for i in quiz.interaction_ids:
            asked[i].add(quiz.question)
    return [
        item
        for item in items
        if not item.prompt or not too_close(item.prompt, {q for i in item.interaction_ids for q in asked[i]})
    ]
