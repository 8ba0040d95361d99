"""Merging: one shard in the place of several of one topic, trained again from the ledger on what they were trained on.

It trains as many tokens as they did together, and takes the bytes of one. It is published only where every member's
held-out questions are answered as by the member itself, less `gate.max_old_loss` at most, asked of both; a member
without such a question cannot be shown to be kept. What takes statements out of shards (`subjects`) trains twice as
many, since they are more alike, and is for the router's sake: all its questions are asked as a user asks them, through
the router, before and after. Not here: which shards (`topics`), publishing (`sleeping`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from seal_memory.config import GateSettings, LearningSettings
from seal_memory.engines.base import Engine
from seal_memory.learning import grading
from seal_memory.learning.candidates import Candidates
from seal_memory.learning.episodes import episode_of
from seal_memory.learning.gate import GateVerdict, judge_old
from seal_memory.learning.old_recall import OldRecall, correctness
from seal_memory.learning.publishing import without_replaced
from seal_memory.ledger import Ledger
from seal_memory.quizzes.metrics import mean
from seal_memory.records import Grade, Hyperparameters, Manifest, QuizItem, SelfEdit, ShardEntry
from seal_memory.sleep.replay import Replay, replay
from seal_memory.sleep.topics import Topic

TELLING_APART = 2  # times `epochs`: statements about one name are harder to tell apart (lab log, rows T9 and T10)
DIVERGED = "The adapter's weights are not finite: training diverged; lower learning_rate."
UNPROVEN = "No held-out question asks about these statements, so nothing proves that they are kept."


@dataclass(frozen=True, slots=True)
class MergeComparison:
    """One member's held-out items, each answered right (1.0) or wrong by the member; and the merged shard's grades."""

    shard: ShardEntry
    before: tuple[float, ...]
    grades: tuple[Grade, ...]

    @property
    def after(self) -> tuple[float, ...]:
        """The same items answered by the merged shard."""
        return tuple(float(bool(g.correct)) for g in self.grades)


def merged_edit(topic: Topic, candidates: Candidates) -> SelfEdit | None:
    """The self-edit of a topic's merged shard; None where what a member was trained on is no longer known."""
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
        _plan(found, settings.learning, least=TELLING_APART * settings.learning.epochs if topic.split else 1),
        settings.seed,
    )


def _plan(found: Replay, settings: LearningSettings, *, least: int) -> Hyperparameters:
    """As many rows as the members drew for these items, as often as they did on average, `least` times at least."""
    plans = [edit.hyperparameters for edit in found.edits]
    of_each = [
        share * (p.rows_per_epoch or len(e.items)) for p, e, share in zip(plans, found.edits, found.shares, strict=True)
    ]
    rows = max(1, round(sum(of_each)))
    drawn = sum(p.epochs * n for p, n in zip(plans, of_each, strict=True))
    rank = max(p.rank for p in plans)
    return Hyperparameters(
        mean(p.learning_rate for p in plans),
        max(least, round(drawn / rows)),
        rank,
        settings.alpha * (rank / settings.rank),
        rows,
        found.genre_mix,
        max(p.passes for p in plans),
    )


def compared(
    topic: Topic, merged: str, ledger: Ledger, engine: Engine, settings: GateSettings, *, clock: Callable[[], float]
) -> list[MergeComparison]:
    """Every member's held-out items, asked of the merged adapter and, where it is not on record, of the member."""
    items = {s.adapter_id: held_out_items(s.interaction_ids, ledger) for s in topic.shards}
    known = correctness([(item, a) for a, own in items.items() for item in own], ledger, engine, settings, clock)
    grades = grading.grade(
        [(item, merged) for own in items.values() for item in own],
        engine,
        max_tokens=settings.quiz_answer_tokens,
        snapshot_version=None,
        clock=clock,
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


def judge_merge(members: Sequence[MergeComparison], settings: GateSettings, *, finite: bool) -> GateVerdict:
    """Whether every member is kept, each by itself: what one gains does not pay for what another loses."""
    reasons = [] if finite else [DIVERGED]
    for member in members:
        name = f"shard {member.shard.adapter_id}"
        if not member.before:
            reasons.append(f"No held-out question asks about what {name} holds, so nothing proves that it is kept.")
        elif not judge_old(member.before, member.after, settings).accepted:
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


def judge_split(asked: OldRecall, settings: GateSettings, *, finite: bool) -> GateVerdict:
    """Whether what was put together by subject is answered as well as before, asked through the router."""
    old, new = mean(asked.before), mean(asked.after)
    told = f"Held-out recall through the router went from {old:.2f} to {new:.2f} of {len(asked.before)} questions"
    accepted, reason = True, f"{told}."
    if not finite:
        accepted, reason = False, DIVERGED
    elif not asked.before:
        accepted, reason = False, UNPROVEN
    elif not judge_old(asked.before, asked.after, settings).accepted:
        accepted, reason = False, f"{told}; at most {settings.max_old_loss:.2f} may be lost."
    measures = {"held_out_items": float(len(asked.before)), "recall_members": old, "recall": new}
    return GateVerdict(accepted, (reason,), measures)


def with_merged(manifest: Manifest, topic: Topic, entry: ShardEntry) -> Manifest:
    """The manifest with `entry` right behind the last of the topic's shards: newer than they, older than the others."""
    members = {s.adapter_id for s in topic.shards}
    last = max(n for n, s in enumerate(manifest.shards) if s.adapter_id in members)
    shards = (*manifest.shards[: last + 1], entry, *manifest.shards[last + 1 :])
    return replace(manifest, shards=without_replaced(shards))
