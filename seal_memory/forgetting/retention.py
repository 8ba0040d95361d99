"""Retention: the retention matrix, backward transfer (BWT) and forgetting. Pure functions, no torch.

From two kinds of data. A *triangle* comes from an experiment: R[i][j], j <= i, is the accuracy on session j's questions
after session i. *Audits* come from a memory in use: rows of the ledger at irregular times. Where the audits form a
triangle, both give the same figures. What was not measured is None and left out of every mean.

Not here: asking (`audits`), and drift (`learning.drift`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_memory.records import Audit

Triangle = Sequence[Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class Moment:
    """One row of a retention matrix: the time of audits (Unix seconds), and the newest version that answered."""

    time: float
    version: int


@dataclass(frozen=True, slots=True)
class Retention:
    """Retention matrix: `cells[i][j]` is the recall of `memories[j]` at `moments[i]`; None: not asked then."""

    memories: tuple[str, ...]
    moments: tuple[Moment, ...]
    cells: tuple[tuple[float | None, ...], ...]


# -- over audits --------------------------------------------------------------------------------------


def retention_matrix(audits: Sequence[Audit]) -> Retention:
    """The retention matrix of audits: memories (episodes) in the order first measured, moments in order of time."""
    ordered = sorted(audits, key=lambda a: a.time)
    memories = tuple(dict.fromkeys(a.episode_id for a in ordered))
    versions: dict[float, int] = {}
    found: dict[tuple[float, str], float] = {}
    for audit in ordered:
        versions[audit.time] = max(audit.snapshot_version, versions.get(audit.time, 0))
        found[audit.time, audit.episode_id] = audit.recall
    cells = tuple(tuple(found.get((time, memory)) for memory in memories) for time in versions)
    return Retention(memories, tuple(Moment(t, v) for t, v in versions.items()), cells)


def recalls(audits: Sequence[Audit]) -> dict[str, list[float]]:
    """Recalls by memory, oldest first."""
    matrix = retention_matrix(audits)
    columns = zip(*matrix.cells, strict=True)
    return {m: [r for r in column if r is not None] for m, column in zip(matrix.memories, columns, strict=False)}


def forgetting_by_memory(audits: Sequence[Audit]) -> dict[str, float]:
    """Best earlier recall less the last, by memory that was asked again (negative: it gained)."""
    return {memory: max(own[:-1]) - own[-1] for memory, own in recalls(audits).items() if len(own) > 1}


def transfer(audits: Sequence[Audit]) -> float | None:
    """BWT: the mean of last less first recall over the memories that were asked again; None where none was."""
    return _mean([own[-1] - own[0] for own in recalls(audits).values() if len(own) > 1])


def kept_by_age(audits: Sequence[Audit]) -> tuple[tuple[int, float], ...]:
    """The forgetting curve: (k, mean recall at the k-th time of asking less that at the first); k = 0 is 0.

    Differences, because fewer memories have been asked many times, and those may be the hard ones.
    """
    own = list(recalls(audits).values())
    curve = []
    for k in range(max((len(r) for r in own), default=0)):
        changes = [r[k] - r[0] for r in own if len(r) > k]
        curve.append((k, fmean(changes)))
    return tuple(curve)


# -- over a triangle ----------------------------------------------------------------------------------


def average_accuracy(matrix: Triangle) -> float | None:
    """Mean of the last row of R: accuracy on every session after the last one (Lopez-Paz & Ranzato 2017)."""
    return _mean([r for r in matrix[-1] if r is not None]) if matrix else None


def backward_transfer(matrix: Triangle) -> float | None:
    """BWT: mean of R[T][j] - R[j][j] over the earlier sessions (Lopez-Paz & Ranzato 2017)."""
    if not matrix:
        return None
    pairs = [(matrix[-1][j], matrix[j][j]) for j in range(len(matrix) - 1)]
    return _mean([last - first for last, first in pairs if last is not None and first is not None])


def forgetting(matrix: Triangle) -> float | None:
    """Mean over the earlier sessions of the best accuracy ever had before the end, less the last (Chaudhry 2018)."""
    losses = []
    for j in range(len(matrix) - 1):
        earlier = [r for r in (matrix[i][j] for i in range(j, len(matrix) - 1)) if r is not None]
        last = matrix[-1][j]
        if earlier and last is not None:
            losses.append(max(earlier) - last)
    return _mean(losses)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
