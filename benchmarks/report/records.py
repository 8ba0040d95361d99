"""Typed records of a results file, described in FORMAT.md. A figure that was not measured is None.

Not here: reading and validating (`load`), showing (`tables`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

EXPERIMENTS = ("single", "sessions", "scale", "update", "delete")
TASKS = ("squad", "diary", "locomo")

Row = tuple[float | None, ...]
Matrix = tuple[Row, ...]  # R[i][j], j <= i: accuracy on session j's questions after session i


@dataclass(frozen=True, slots=True)
class Stat:
    """A mean over questions with its 95 % bootstrap interval."""

    mean: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds, one question at a time."""

    median: float
    p95: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """Accuracy on one kind of question."""

    accuracy: float
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One size of the memory in the scale experiment."""

    facts: int
    accuracy: Stat | None = None
    training_seconds_per_fact: float | None = None
    prompt_tokens: float | None = None
    answer_seconds: Times | None = None
    first_token_seconds: Times | None = None
    disk_bytes: float | None = None
    evidence_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """One way of answering, and everything measured about it."""

    name: str
    system: str | None = None
    accuracy: Stat | None = None
    exact: Stat | None = None
    f1: Stat | None = None
    judged: Stat | None = None
    prompt_tokens: float | None = None
    generated_tokens: float | None = None
    first_token_seconds: Times | None = None
    answer_seconds: Times | None = None
    training_seconds: float | None = None
    training_tokens: float | None = None
    training_seconds_per_unit: float | None = None
    peak_memory_bytes: float | None = None
    disk_bytes: float | None = None
    evidence_accuracy: float | None = None
    perplexity: float | None = None
    perplexity_base: float | None = None
    by_kind: dict[str, Kind] = field(default_factory=dict)
    notes: str | None = None
    retention: Matrix = ()
    average_accuracy: float | None = None
    bwt: float | None = None
    forgetting: float | None = None
    perplexity_by_session: Row = ()
    points: tuple[Point, ...] = ()
    new_value: Stat | None = None
    old_value: Stat | None = None
    before: Stat | None = None
    after: Stat | None = None
    never_saw: Stat | None = None
    kept_before: Stat | None = None
    kept_after: Stat | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """One file: one experiment on one task."""

    file: Path
    experiment: str
    task: str
    questions: int | None
    units: int | None
    max_tokens: int | None
    latency_sample: int | None
    provenance: dict[str, object]
    ways: tuple[Way, ...]

    @property
    def name(self) -> str:
        """What the markers of docs/results.md and the pictures call it, such as `sessions-squad`."""
        return f"{self.experiment}-{self.task}"
