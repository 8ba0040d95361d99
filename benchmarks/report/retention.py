"""Figures of a retention matrix: accuracy on each session after later ones.

R[i][j], j <= i, is the accuracy on session j's questions after session i; T is the last session. A cell is None if none
of session j's questions is still valid, or none was asked; means leave it out. Not here: sessions and validity of
questions (the experiments).
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.metrics import mean
from benchmarks.report.records import Matrix
from seal_memory.forgetting.retention import average_accuracy as after_last
from seal_memory.forgetting.retention import backward_transfer, forgetting

__all__ = ["SEAL_PUBLISHED", "after_last", "backward_transfer", "curve", "asked_again", "forgetting", "right_after"]

# SEAL's continual run on SQuAD (arXiv 2506.10943, a 7B model): right after a write, and seven writes later.
SEAL_PUBLISHED = ((0, 0.415), (7, 0.189))


def asked_again(matrix: Matrix) -> bool:
    """Whether it was asked after at least two sessions; costly ways are only asked at the end."""
    return sum(any(value is not None for value in row) for row in matrix) > 1


def right_after(matrix: Matrix) -> float | None:
    """Mean of R[i][i]: what each session scored right after it was learned; None when some were only asked later."""
    late = any(matrix[j][j] is None and any(row[j] is not None for row in matrix[j:]) for j in range(len(matrix)))
    return None if late else _mean(row[-1] for row in matrix)


def curve(matrix: Matrix) -> tuple[tuple[int, float], ...]:
    """(k, accuracy k sessions after learning): the mean of R[j][j] plus the mean change R[j + k][j] - R[j][j].

    Differences, because fewer sessions have many later ones: a plain mean over those would rise and fall with how
    hard they happen to be, and what keeps everything would not be flat.
    """
    first = _mean(row[-1] for row in matrix)
    if first is None:
        return ()
    changes = ((k, _mean(_changes(matrix, k))) for k in range(len(matrix)))
    return tuple((k, first + change) for k, change in changes if change is not None)


def _changes(matrix: Matrix, later: int) -> list[float | None]:
    return [_less(matrix[j + later][j], matrix[j][j]) for j in range(len(matrix) - later)]


def _less(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _mean(values: Iterable[float | None]) -> float | None:
    return mean([value for value in values if value is not None])
