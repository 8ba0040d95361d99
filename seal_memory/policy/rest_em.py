"""ReST-EM rounds on the note-writer (Singh et al., arXiv 2312.06585; SEAL, arXiv 2506.10943, section 3.2).

1. explore   the writer samples several note sets per interaction; each is trained in the stack beside a baseline that
             has the text alone, and rewarded on held-out quiz items under shared seeds; where the noise drowns what
             the sets differ by, more seeds are run
2. select    per interaction the best set, if it beats the baseline by more than the reward's noise
3. improve   a new writer learns the selected notes and those that the old one had learned, from the base
4. promote   only if it writes better about validation episodes, on which neither was trained; else kept as evidence

Not here: the first examples (`note_writer.bootstrap`), the inner loops (`trials`), the verdict (`promotion`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from seal_memory.language.metrics import mean
from seal_memory.learning.candidates import Candidates, Study
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.policy import promotion
from seal_memory.policy.executors import Executor
from seal_memory.policy.note_writer import (
    deduplicated,
    example_of,
    train_note_writers,
    usable_drafts,
    usable_statements,
)
from seal_memory.policy.reliability import Reliability, more_seeds, noise, reliability
from seal_memory.policy.rewards import WEIGHTS, Reward
from seal_memory.policy.trials import NOTES_ARM, Entry, rewards_of, trim, with_usable_quiz
from seal_memory.policy.versions import NoteWriters
from seal_memory.records import Genre, PolicyExample, PolicyVersion, TrainingItem
from seal_memory.self_edits.generator import Arm
from seal_memory.self_edits.genres import MODEL_GENRES
from seal_memory.self_edits.writer import Draft, write_drafts

NOTHING_GAINED = "No note set beat the baseline by more than the reward's noise."
NEW_WRITER = "candidate:note-writer"  # the engine's id of a writer that has no name on disk yet


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """Sizes of a round. `margin`: standard errors by which a set must beat the baseline.

    `executor` evaluates candidates; None: the local engine. `gated`: a new writer is promoted only if it passes
    validation; False, as in SEAL: always, and the verdict is only recorded.
    """

    samples: int = 4
    per_statement: int = 2
    seeds: int = 2
    most_seeds: int = 4
    temperature: float = 0.9
    margin: float = 1.0
    genres: tuple[Genre, ...] = MODEL_GENRES
    arm: Arm = NOTES_ARM
    executor: Executor | None = None
    gated: bool = True


@dataclass(frozen=True, slots=True)
class NoteSet:
    """A writer's notes about one interaction: examples for the writer, items for the candidate."""

    examples: tuple[PolicyExample, ...]
    items: tuple[TrainingItem, ...]


@dataclass(frozen=True, slots=True)
class Exploration:
    """One interaction's note sets, their rewards per seed without the bonus for diversity, and the baseline's."""

    episode_id: str
    sets: tuple[tuple[PolicyExample, ...], ...]
    rewards: tuple[tuple[float, ...], ...]
    bonus: tuple[float, ...]
    baseline: tuple[float, ...]


def write_sets(
    studies: Sequence[Study], candidates: Candidates, *, writer: str | None, plan: RoundPlan, seed: int
) -> list[NoteSet]:
    """One note set per study, all written in one batch: notes that pass every check and guard, within the budget."""
    quiz = [[i.question for i in s.held_out] for s in studies]
    drafts = write_drafts(
        [usable_statements(s.statements) for s in studies],
        candidates.engine,
        per_statement=plan.per_statement,
        held_out=quiz,
        seed=seed,
        adapter=writer,
        genres=plan.genres,
        temperature=plan.temperature,
    )
    return [_note_set(s, own, q, candidates) for s, own, q in zip(studies, drafts, quiz, strict=True)]


def explore(
    studies: Sequence[Study], candidates: Candidates, *, writer: str | None, plan: RoundPlan, seed: int
) -> list[Exploration]:
    """Sample, train and reward `plan.samples` note sets of every study that has a usable quiz."""
    studies = with_usable_quiz(studies)
    if not studies:
        return []
    rounds = [
        write_sets(studies, candidates, writer=writer, plan=plan, seed=seed + 1000 * k) for k in range(plan.samples)
    ]
    sets = [list({s.items: s for s in own if s.items}.values()) for own in zip(*rounds, strict=True)]
    studies, sets = [s for s, own in zip(studies, sets, strict=True) if own], [own for own in sets if own]
    entries = [
        [Entry(study, notes, plan.arm) for notes in ((), *(s.items for s in own))]  # the baseline first
        for study, own in zip(studies, sets, strict=True)
    ]
    rewards = _run(entries, candidates, seeds=range(seed, seed + plan.seeds), plan=plan)
    _run_further_seeds(rewards, entries, candidates, plan=plan, seed=seed)
    return [_explored(*one) for one in zip(studies, sets, rewards, strict=True)]


def _run_further_seeds(
    rewards: list[list[list[Reward]]],
    entries: Sequence[Sequence[Entry]],
    candidates: Candidates,
    *,
    plan: RoundPlan,
    seed: int,
) -> None:
    """Add rewards under more seeds where they are unreliable, in place."""
    wanted = _further_seeds(rewards, plan)
    for extra in sorted({n for n in wanted if n}):  # one more seed for all that want at least so many
        places = [p for p, n in enumerate(wanted) if n >= extra]
        first = len(rewards[places[0]][0])
        seeds = range(seed + first, seed + plan.seeds + extra)
        more = _run([entries[p] for p in places], candidates, seeds=seeds, plan=plan)
        for place, own in zip(places, more, strict=True):
            rewards[place] = [old + new for old, new in zip(rewards[place], own, strict=True)]


def select(explored: Sequence[Exploration], *, margin: float) -> list[PolicyExample]:
    """The examples of the best note set of every interaction whose best set beats the baseline by the margin.

    The noise of a seed is pooled over all sets. The diversity bonus only chooses among sets that beat the baseline.
    """
    spread = _pooled_noise(explored)
    kept: list[PolicyExample] = []
    for one in explored:
        base = mean(one.baseline)
        winners = []
        for n, own in enumerate(one.rewards):
            error = spread * math.sqrt(1 / len(own) + 1 / len(one.baseline))
            if mean(own) - base > max(1e-9, margin * error):
                winners.append((mean(own) + one.bonus[n], -n))
        if winners:
            best = -max(winners)[1]
            kept += [replace(e, reward=mean(one.rewards[best]) - base) for e in one.sets[best]]
    return kept


def reward_reliability(explored: Sequence[Exploration], *, seed: int = 0) -> Reliability | None:
    """Reliability of the rewards, each less its interaction's mean; None where there are too few."""
    rows = []
    for one in explored:
        width = min(map(len, one.rewards), default=0)
        level = mean(x for own in one.rewards for x in own[:width])
        rows += [[x - level for x in own] for own in one.rewards if len(one.rewards) > 1]
    width = min(map(len, rows), default=0)
    return reliability([r[:width] for r in rows], seed=seed) if len(rows) > 1 and width > 1 else None


def compare(
    studies: Sequence[Study], candidates: Candidates, *, writers: Sequence[str | None], plan: RoundPlan, seed: int
) -> list[list[float]]:
    """Mean reward per writer and study with a usable quiz, under the same sampling and training seeds."""
    studies = with_usable_quiz(studies)
    if not studies:
        return [[] for _ in writers]
    entries = []
    for writer in writers:
        sets = write_sets(studies, candidates, writer=writer, plan=plan, seed=seed)
        entries += [Entry(study, s.items, plan.arm) for study, s in zip(studies, sets, strict=True)]
    rewards = rewards_of(entries, candidates, seeds=range(seed, seed + plan.seeds), executor=plan.executor)
    means = [mean(r.value for r in own) for own in rewards]
    return [means[n * len(studies) : (n + 1) * len(studies)] for n in range(len(writers))]


def improve(
    kept: Sequence[PolicyExample],
    trained_on: set[str],
    validation: Sequence[Study],
    candidates: Candidates,
    writers: NoteWriters,
    *,
    plan: RoundPlan,
    seed: int,
    number: int = 0,
    figures: Mapping[str, float] | None = None,
    reason_if_none: str = NOTHING_GAINED,
) -> PolicyVersion:
    """Train a new writer on the kept examples, validate it against the current one, promote it or record the failure.

    Interactions in `trained_on` and those of the examples do not validate. `number` and `figures` are stored with the
    version's measures; `reason_if_none` is the reason where no example was kept.
    """
    old = writers.current()
    parent = old.version if old is not None else None
    known = writers.examples(old) if old is not None else []
    examples = deduplicated([*known, *kept])
    measures = {**(figures or {}), "round": float(number), "kept": float(len(kept)), "examples": float(len(examples))}
    if not kept:
        return writers.keep_as_evidence(reasons=[reason_if_none], measures=measures, parent=parent)
    (adapter,) = train_note_writers(
        [examples], candidates.engine, candidates.settings.learning, seed=seed, progress=candidates.progress
    )
    fair = promotion.unseen(validation, trained_on | {i for e in examples for i in e.interaction_ids})
    verdict = _validate(adapter, old.adapter_id if old else None, fair, candidates, plan=plan, seed=seed)
    measures |= {**verdict.measures, "accepted": float(verdict.accepted)}
    if plan.gated and not verdict.accepted:
        return writers.keep_as_evidence(reasons=verdict.reasons, measures=measures, parent=parent)
    return writers.promote(adapter, examples, seed=seed, reasons=verdict.reasons, measures=measures, parent=parent)


def _validate(
    adapter: LoraAdapter,
    old: str | None,
    studies: Sequence[Study],
    candidates: Candidates,
    *,
    plan: RoundPlan,
    seed: int,
) -> promotion.Promotion:
    """The verdict on a new writer, which the engine holds only during validation."""
    candidates.engine.put(NEW_WRITER, adapter)
    try:
        before, after = compare(studies, candidates, writers=(old, NEW_WRITER), plan=plan, seed=seed)
    finally:
        candidates.engine.drop(NEW_WRITER)
    return promotion.decide(before, after, seed=seed)


def _note_set(study: Study, drafts: Sequence[Draft], quiz: Sequence[str], candidates: Candidates) -> NoteSet:
    fit = {d.item: d for d in usable_drafts(drafts, quiz) if d.item is not None}
    items = trim(list(fit), study, candidates)
    return NoteSet(tuple(example_of(fit[i], id=f"{study.episode.id}-{n}") for n, i in enumerate(items)), items)


def _run(
    entries: Sequence[Sequence[Entry]], candidates: Candidates, *, seeds: Sequence[int], plan: RoundPlan
) -> list[list[list[Reward]]]:
    """The rewards of every group's entries, all groups in the same stacks."""
    together = [e for group in entries for e in group]
    flat = iter(rewards_of(together, candidates, seeds=seeds, executor=plan.executor))
    return [[next(flat) for _ in group] for group in entries]


def _without_bonus(reward: Reward) -> float:
    """The reward without the diversity bonus, which the baseline, without notes, cannot get."""
    return reward.value - WEIGHTS.diversity * reward.parts.diversity


def _further_seeds(rewards: Sequence[Sequence[Sequence[Reward]]], plan: RoundPlan) -> list[int]:
    """Further seeds per study; 0 where there is one set or one seed only."""
    tables = {str(n): [[_without_bonus(r) for r in own] for own in group[1:]] for n, group in enumerate(rewards)}
    known = {name: table for name, table in tables.items() if len(table) > 1 and len(table[0]) > 1}
    wanted = more_seeds(known, most=plan.most_seeds)
    return [min(wanted.get(str(n), 0), max(0, plan.most_seeds - plan.seeds)) for n in range(len(rewards))]


def _explored(study: Study, sets: Sequence[NoteSet], earned: Sequence[Sequence[Reward]]) -> Exploration:
    base, *own = [tuple(_without_bonus(r) for r in rewards) for rewards in earned]
    bonus = tuple(WEIGHTS.diversity * rewards[0].parts.diversity for rewards in earned[1:])
    return Exploration(study.episode.id, tuple(s.examples for s in sets), tuple(own), bonus, base)


def _pooled_noise(explored: Sequence[Exploration]) -> float:
    """Standard deviation of a seed's reward around its candidate's mean, over all interactions."""
    tables = [[*one.rewards, one.baseline] for one in explored if one.rewards and len(one.baseline) > 1]
    return math.sqrt(mean(noise(t) ** 2 for t in tables))
