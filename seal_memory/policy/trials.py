"""Trials of note sets: each is trained in the stack under several seeds and rewarded on held-out quiz items.

All candidates of an interaction share the seeds, so that they differ by their notes only. The interactions of a stack
are each other's rivals. Not here: writing notes (`rest_em`), what follows from rewards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seal_memory.learning.candidates import Candidates, Study, candidate_id
from seal_memory.policy.executors import Executor, LocalExecutor, Work
from seal_memory.policy.guards import usable_quiz, within_budget
from seal_memory.policy.old_quizzes import AttractedItems, attracted_items
from seal_memory.policy.rewards import Reward, Trial, rivals
from seal_memory.records import Genre, SelfEdit, TrainingItem
from seal_memory.self_edits.generator import Arm, make_self_edit
from seal_memory.self_edits.genres import MODEL_GENRES, mix

# The running text and the model's own notes: rule-made rows would drown the notes that the policy is rewarded for.
NOTES_ARM = Arm(
    mix({Genre.QA: 1.0, Genre.REVERSED: 0.5, Genre.REWRITE: 1.0, Genre.IMPLICATIONS: 0.5}, among=MODEL_GENRES)
)
NOTE_BUDGET = 3.0  # free tokens of notes, as a multiple of the text's
HARD_BUDGET = 1.5  # times that budget: longer note sets are cut


@dataclass(frozen=True, slots=True)
class Entry:
    """One candidate: an interaction's study, the notes to train, and the arm."""

    study: Study
    notes: tuple[TrainingItem, ...]
    arm: Arm = NOTES_ARM


def with_usable_quiz(studies: Sequence[Study]) -> list[Study]:
    """The studies that have a usable held-out quiz: the others cannot be rewarded."""
    return [s for s in studies if usable_quiz(s.held_out)]


def rewards_of(
    entries: Sequence[Entry], candidates: Candidates, *, seeds: Sequence[int], executor: Executor | None = None
) -> list[list[Reward]]:
    """The rewards of each entry, one per seed; the entries' studies must have a usable quiz (`with_usable_quiz`).

    `executor` evaluates the stacks; None: the local engine, one after another.
    """
    where = executor if executor is not None else _local(candidates)
    size = candidates.settings.learning.stack_size
    jobs = [(n, seed) for seed in seeds for n in _interleaved(entries)]
    batches = [jobs[at : at + size] for at in range(0, len(jobs), size)]
    works = _works([[(entries[n], seed) for n, seed in batch] for batch in batches], candidates)
    done = where.evaluate(works, on_wait=lambda n, of: candidates.progress("trials", n, of))
    found: dict[tuple[int, int], Reward] = {}
    for batch, evaluated in zip(batches, done, strict=True):
        found.update(zip(batch, evaluated.rewards, strict=True))
        candidates.add_tokens(evaluated.tokens)
    return [[found[n, seed] for seed in seeds] for n in range(len(entries))]


def _local(candidates: Candidates) -> LocalExecutor:
    return LocalExecutor(candidates.engine, candidates.settings.learning, progress=candidates.progress)


def _interleaved(entries: Sequence[Entry]) -> list[int]:
    """Indices of the entries, the interactions taking turns, so that each has a rival wherever a stack is cut."""
    turn: Counter[str] = Counter()
    order = []
    for n, entry in enumerate(entries):
        order.append((turn[entry.study.episode.id], n))
        turn[entry.study.episode.id] += 1
    return [n for _, n in sorted(order)]


def trim(notes: Sequence[TrainingItem], study: Study, candidates: Candidates) -> tuple[TrainingItem, ...]:
    """The notes up to the hard token budget, so that a candidate cannot win by length."""
    budget = int(HARD_BUDGET * _budget(study, candidates))
    return tuple(within_budget(notes, candidates.engine.count_tokens, budget=budget))


def _works(batches: Sequence[Sequence[tuple[Entry, int]]], candidates: Candidates) -> list[Work]:
    """Each batch of (entry, seed) as one stack; attracted items are looked up once for all of them."""
    episodes = {e.study.episode.id: e.study.episode for batch in batches for e, _ in batch}
    old = attracted_items(list(episodes.values()), candidates.bench)
    return [_work(batch, old, candidates) for batch in batches]


def _work(batch: Sequence[tuple[Entry, int]], old: Mapping[str, AttractedItems], candidates: Candidates) -> Work:
    edits = [_edit(entry, seed, candidates) for entry, seed in batch]
    groups: dict[str, list[str]] = {}
    for (entry, _), edit in zip(batch, edits, strict=True):
        groups.setdefault(entry.study.episode.id, []).append(candidate_id(edit))
    rival = rivals(groups)
    trials = [
        _trial(entry, candidate_id(edit), rival[candidate_id(edit)], candidates)
        for (entry, _), edit in zip(batch, edits, strict=True)
    ]
    return Work(tuple(edits), tuple(trials), tuple(old[entry.study.episode.id] for entry, _ in batch))


def _edit(entry: Entry, seed: int, candidates: Candidates) -> SelfEdit:
    study = entry.study
    return make_self_edit(
        study.episode,
        study.statements,
        entry.notes,
        (),
        arm=entry.arm,
        settings=candidates.settings.learning,
        held_out=[i.question for i in study.held_out],
        seed=seed,
        id=candidates.make_id(),
    )


def _trial(entry: Entry, adapter: str, rival: str | None, candidates: Candidates) -> Trial:
    count = candidates.engine.count_tokens
    return Trial(
        adapter,
        tuple(usable_quiz(entry.study.held_out)),
        rival,
        tuple(f"{i.prompt} {i.target}" for i in entry.notes),
        sum(count(i.prompt) + count(i.target) for i in entry.notes),
        round(_budget(entry.study, candidates)),
    )


def _budget(study: Study, candidates: Candidates) -> float:
    """Free tokens of notes for an interaction."""
    return NOTE_BUDGET * sum(candidates.engine.count_tokens(s.text) for s in study.statements)
