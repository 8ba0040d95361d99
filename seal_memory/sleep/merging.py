"""Merging: trains one shard in place of several shards of one topic, on the members' items from the ledger.

It trains as many tokens as the members together, and takes the bytes of one. It is published only if every member's
held-out recall falls by at most `gate.max_old_loss`; a member without held-out questions cannot be shown to be kept. A
topic that takes statements out of shards (`subjects`) trains at least twice the epochs, since its statements are more
alike; it is made for the router, so its questions are asked through the router, before and after. Not here: choosing
shards (`topics`), publishing (`sleeper`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from seal_memory.config import GateSettings, LearningSettings
from seal_memory.language.metrics import mean
from seal_memory.learning import grading
from seal_memory.learning.candidates import Candidates
from seal_memory.learning.episodes import episode_of
from seal_memory.learning.gate import GateVerdict, check_old
from seal_memory.learning.old_recall import OldRecall, correctness
from seal_memory.learning.publishing import without_replaced
from seal_memory.learning.workbench import Workbench
from seal_memory.ledger import Ledger
from seal_memory.records import Grade, Hyperparameters, Manifest, QuizItem, SelfEdit, ShardEntry
from seal_memory.sleep.replay import Replay, replay
from seal_memory.sleep.topics import Topic

SPLIT_EPOCHS_FACTOR = 2  # times `epochs`: statements about one name are harder to tell apart (lab log, rows T9 and T10)
DIVERGED = "The adapter's weights are not finite: training diverged; lower learning_rate."
UNPROVEN = "No held-out question asks about these statements, so nothing proves that they are kept."


@dataclass(frozen=True, slots=True)
class MergeComparison:
    """One member's held-out items: correct (1.0) or not by the member, and the merged shard's grades."""

    shard: ShardEntry
    before: tuple[float, ...]
    grades: tuple[Grade, ...]

    @property
    def after(self) -> tuple[float, ...]:
        """The same items by the merged shard, 1.0 or 0.0."""
        return tuple(float(bool(g.correct)) for g in self.grades)


def merge_edit(topic: Topic, candidates: Candidates) -> SelfEdit | None:
    """The self-edit of a topic's merged shard; None where a member's self-edit is no longer on record."""
    settings = candidates.settings
    found = replay(candidates.ledger, topic.shards, about=set(topic.interaction_ids))
    if not found.items or not set(topic.interaction_ids).issubset(found.interaction_ids):
        return None
    known = candidates.ledger.interactions(ids=found.interaction_ids)
    episode = episode_of(known)
    return SelfEdit(
        candidates.make_id(),
        episode.id,
        episode.interaction_ids,
        found.items,
        _plan(
            found, settings.learning, min_epochs=SPLIT_EPOCHS_FACTOR * settings.learning.epochs if topic.split else 1
        ),
        settings.seed,
    )


def _plan(found: Replay, settings: LearningSettings, *, min_epochs: int) -> Hyperparameters:
    """As many rows as the members drew for these items, for their mean number of epochs, at least `min_epochs`."""
    plans = [edit.hyperparameters for edit in found.edits]
    rows_of_each = [
        share * (p.rows_per_epoch or len(e.items)) for p, e, share in zip(plans, found.edits, found.shares, strict=True)
    ]
    rows = max(1, round(sum(rows_of_each)))
    drawn = sum(p.epochs * n for p, n in zip(plans, rows_of_each, strict=True))
    rank = max(p.rank for p in plans)
    return Hyperparameters(
        mean(p.learning_rate for p in plans),
        max(min_epochs, round(drawn / rows)),
        rank,
        settings.alpha * (rank / settings.rank),
        rows,
        found.genre_mix,
        max(p.passes for p in plans),
    )


def compare(topic: Topic, merged: str, bench: Workbench) -> list[MergeComparison]:
    """Every member's held-out items, asked of the merged adapter and, without a grade on record, of the member."""
    items = {s.adapter_id: held_out_items(s.interaction_ids, bench.ledger) for s in topic.shards}
    known = correctness([(item, a) for a, own in items.items() for item in own], bench)
    grades = grading.grade(
        [(item, merged) for own in items.values() for item in own],
        bench.engine,
        max_tokens=bench.settings.gate.quiz_answer_tokens,
        snapshot_version=None,
        clock=bench.clock,
    )
    by_item = {g.quiz_item_id: g for g in grades}
    return [
        MergeComparison(
            s,
            tuple(known[item.id, s.adapter_id] for item in items[s.adapter_id]),
            tuple(by_item[item.id] for item in items[s.adapter_id]),
        )
        for s in topic.shards
    ]


def held_out_items(interaction_ids: Iterable[str], ledger: Ledger) -> list[QuizItem]:
    """Held-out items about these interactions alone."""
    held = set(interaction_ids)
    found = ledger.quiz_items(interaction_ids=held, held_out=True) if held else []
    return [item for item in found if held.issuperset(item.interaction_ids)]


def check_merge(members: Sequence[MergeComparison], settings: GateSettings, *, finite: bool) -> GateVerdict:
    """The verdict on a merge: every member is checked by itself, so that gains do not offset losses."""
    reasons = [] if finite else [DIVERGED]
    for member in members:
        name = f"shard {member.shard.adapter_id}"
        if not member.before:
            reasons.append(f"No held-out question asks about {name}, so nothing proves that it is kept.")
        elif not check_old(member.before, member.after, settings).accepted:
            reasons.append(
                f"Held-out recall of {name} would fall from {mean(member.before):.2f} to {mean(member.after):.2f} "
                f"of {len(member.before)} questions; at most {settings.max_old_loss:.2f} may be lost."
            )
    before, after = [x for m in members for x in m.before], [x for m in members for x in m.after]
    measures = {
        "members": float(len(members)),
        "held_out_items": float(len(before)),
        "recall_members": mean(before),
        "recall": mean(after),
    }
    if reasons:
        return GateVerdict(False, tuple(reasons), measures)
    kept = f"Held-out recall of {len(members)} shards went from {mean(before):.2f} to {mean(after):.2f} in one."
    return GateVerdict(True, (kept,), measures)


def check_split(asked: OldRecall, settings: GateSettings, *, finite: bool) -> GateVerdict:
    """The verdict on a topic that splits shards: recall through the router, before and after."""
    old, new = mean(asked.before), mean(asked.after)
    change = f"Held-out recall through the router went from {old:.2f} to {new:.2f} of {len(asked.before)} questions"
    accepted, reason = True, f"{change}."
    if not finite:
        accepted, reason = False, DIVERGED
    elif not asked.before:
        accepted, reason = False, UNPROVEN
    elif not check_old(asked.before, asked.after, settings).accepted:
        accepted, reason = False, f"{change}; at most {settings.max_old_loss:.2f} may be lost."
    measures = {"held_out_items": float(len(asked.before)), "recall_members": old, "recall": new}
    return GateVerdict(accepted, (reason,), measures)


def with_merged(manifest: Manifest, topic: Topic, entry: ShardEntry) -> Manifest:
    """The manifest with `entry` right after the last of the topic's shards: newer than they, older than the next."""
    members = {s.adapter_id for s in topic.shards}
    last = max(n for n, s in enumerate(manifest.shards) if s.adapter_id in members)
    shards = (*manifest.shards[: last + 1], entry, *manifest.shards[last + 1 :])
    return replace(manifest, shards=without_replaced(shards))
