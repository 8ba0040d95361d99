"""Where candidates are evaluated: in this process, or wherever an executor takes them (`ray_executor`).

A `Work` is one stack of candidates with all that is needed to train and reward them: plain data, no ledger, so that
`evaluate` is the same function everywhere. Not here: what is worth evaluating (`trials`), scheduling.
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

Waiting = Callable[[int, int], None]  # (works done, of how many): called often, may raise to stop


@dataclass(frozen=True, slots=True)
class Work:
    """Candidates that are trained in one stack: `trials[n]` rewards `edits[n]`, `old[n]` is what it may cost."""

    edits: tuple[SelfEdit, ...]
    trials: tuple[Trial, ...]
    old: tuple[AttractedItems, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A work's rewards, in the order of its candidates, and the tokens that were trained for them."""

    rewards: tuple[Reward, ...]
    tokens: int


class Executor(Protocol):
    """Evaluates works, in whatever order, and returns the results in theirs."""

    def evaluate(self, works: Sequence[Work], *, waiting: Waiting) -> list[Evaluation]: ...

    def close(self) -> None: ...


def evaluate(
    work: Work, engine: TransformersEngine, settings: LearningSettings, *, progress: Progress = silent
) -> Evaluation:
    """Train all candidates at once, reward them, and let the engine forget them."""
    try:
        # held here: a stack may be larger than what the engine keeps by itself
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

    def evaluate(self, works: Sequence[Work], *, waiting: Waiting) -> list[Evaluation]:
        found = []
        for work in works:
            found.append(evaluate(work, self._engine, self._settings, progress=self._progress))
            waiting(len(found), len(works))
        return found

    def close(self) -> None:
        """Nothing to let go of."""
