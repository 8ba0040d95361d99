"""Executors: evaluate candidates in this process, or elsewhere (`ray_executor`).

A `Work` is one stack of candidates with everything needed to train and reward them: plain data, no ledger, so that
`evaluate` is the same function everywhere. Not here: making the works (`trials`), scheduling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from seal_memory._internal.progress import Progress, silent
from seal_memory.config import LearningSettings
from seal_memory.engines.local import TransformersEngine
from seal_memory.learning.candidates import candidate_id, train_edits
from seal_memory.policy.old_quizzes import AttractedItems, losses
from seal_memory.policy.rewards import Reward, Trial, measure
from seal_memory.records import SelfEdit

OnWait = Callable[[int, int], None]  # (works done, works in all): called often, may raise to stop


@dataclass(frozen=True, slots=True)
class Work:
    """Candidates to train in one stack: `trials[n]` rewards `edits[n]`, `old[n]` are the old items it may harm."""

    edits: tuple[SelfEdit, ...]
    trials: tuple[Trial, ...]
    old: tuple[AttractedItems, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A work's rewards, in the order of its candidates, and the tokens that were trained for them."""

    rewards: tuple[Reward, ...]
    tokens: int


class Executor(Protocol):
    """Evaluates works in any order and returns the results in the works' order."""

    def evaluate(self, works: Sequence[Work], *, on_wait: OnWait) -> list[Evaluation]: ...

    def close(self) -> None: ...


def evaluate(
    work: Work, engine: TransformersEngine, settings: LearningSettings, *, progress: Progress = silent
) -> Evaluation:
    """Train all candidates in one stack, reward them, and drop them from the engine."""
    try:
        # keeps the adapters alive: a stack may be larger than the engine's cache
        _held, tokens = train_edits(work.edits, engine, settings, batch_size=settings.batch_size, progress=progress)
        asked = [(t.adapter, o) for t, o in zip(work.trials, work.old, strict=True)]
        lost = losses(asked, engine)
        trials = [replace(t, old_loss=loss) for t, loss in zip(work.trials, lost, strict=True)]
        return Evaluation(tuple(measure(trials, engine)), tokens)
    finally:
        for edit in work.edits:
            engine.drop(candidate_id(edit))


class LocalExecutor:
    """One work after another with the engine at hand."""

    def __init__(self, engine: TransformersEngine, settings: LearningSettings, *, progress: Progress = silent) -> None:
        self._engine, self._settings, self._progress = engine, settings, progress

    def evaluate(self, works: Sequence[Work], *, on_wait: OnWait) -> list[Evaluation]:
        found = []
        for work in works:
            found.append(evaluate(work, self._engine, self._settings, progress=self._progress))
            on_wait(len(found), len(works))
        return found

    def close(self) -> None:
        """Nothing to release."""
