"""Replay: collects the items that published shards were trained on, to train one adapter on several shards.

Items that copy a question held out since are left out. A correction drops every adapter trained on the old wording, so
no published shard holds one. Not here: drawing items (`learning.plans`), merging (`merging`), the core (`core`).
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
    """Items of several self-edits, the interactions they are about, and the mean of their genre mixes.

    `shares`: the share of each edit's items that are replayed.
    """

    edits: tuple[SelfEdit, ...]
    shares: tuple[float, ...]
    items: tuple[TrainingItem, ...]
    interaction_ids: tuple[str, ...]
    genre_mix: Mix

    @property
    def statements(self) -> int:
        """Number of distinct targets, without running text."""
        return len({item.target for item in self.items if item.genre not in RUNNING_TEXT})


def replay(ledger: Ledger, shards: Sequence[ShardEntry], *, about: Set[str] | None = None) -> Replay:
    """The items that these shards were trained on, in the order of training.

    `about`: only items about these interactions and no others; None: all.
    """
    records = ledger.adapters(ids=[s.adapter_id for s in shards])
    edits = tuple(ledger.self_edits(ids=[r.self_edit_id for r in records if r.self_edit_id]))
    chosen = [[i for i in e.items if about is None or set(i.interaction_ids) <= about] for e in edits]
    # shards that hold the same statement have the same items for it
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
    """The items, without those whose cue copies a held-out question about the same interactions."""
    asked: dict[str, set[str]] = defaultdict(set)
    for quiz in ledger.quiz_items(held_out=True):
        for i in quiz.interaction_ids:
            asked[i].add(quiz.question)
    return [
        item
        for item in items
        if not item.prompt or not too_close(item.prompt, {q for i in item.interaction_ids for q in asked[i]})
    ]
