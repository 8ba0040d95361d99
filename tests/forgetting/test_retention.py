"""Retention: what a triangle of sessions and a ledger's audits say about forgetting, and that they say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.forgetting.retention import (
    Moment,
    average_accuracy,
    backward_transfer,
    forgetting,
    forgetting_by_memory,
    kept_by_age,
    recalls,
    retention_matrix,
    transfer,
)
from seal_memory.records import Audit

shares = st.floats(0, 1, allow_nan=False)
audits = st.lists(
    st.builds(
        lambda memory, version, time, recall: Audit(f"a-{memory}", f"e-{memory}", version, time, recall, 4),
        st.integers(0, 3),
        st.integers(1, 9),
        st.integers(0, 5).map(float),
        shares,
    ),
    max_size=25,
    unique_by=lambda a: (a.episode_id, a.time),
)


def as_audits(matrix: list[list[float]]) -> list[Audit]:
    """A triangle as the ledger would hold it: after session i every memory so far is asked."""
    return [
        Audit(f"a-{j}", f"e-{j}", i + 1, float(i), recall, 4)
        for i, row in enumerate(matrix)
        for j, recall in enumerate(row)
    ]


triangles = st.integers(1, 6).flatmap(
    lambda n: st.tuples(*(st.lists(shares, min_size=i + 1, max_size=i + 1) for i in range(n))).map(list)
)


@given(audits)
def test_the_matrix_holds_every_audit_and_nothing_else(found: list[Audit]) -> None:
    """Rows by time, columns by first measure; a cell is that audit's recall."""
    matrix = retention_matrix(found)
    cells = {
        (moment.time, memory): recall
        for moment, row in zip(matrix.moments, matrix.cells, strict=True)
        for memory, recall in zip(matrix.memories, row, strict=True)
        if recall is not None
    }
    assert cells == {(a.time, a.episode_id): a.recall for a in found}
    assert [m.time for m in matrix.moments] == sorted({a.time for a in found})
    assert sum(map(len, recalls(found).values())) == len(found)


@given(audits)
def test_forgetting_bounds_what_transfer_lost(found: list[Audit]) -> None:
    """The best of the earlier recalls is at least the first."""
    by_memory = forgetting_by_memory(found)
    bwt = transfer(found)
    assert (bwt is None) == (not by_memory)
    if bwt is not None:
        assert -1 <= bwt <= 1
        assert sum(by_memory.values()) / len(by_memory) >= -bwt - 1e-9


@given(audits, st.randoms())
def test_the_order_of_the_rows_does_not_matter(found: list[Audit], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert forgetting_by_memory(shuffled) == forgetting_by_memory(found)


@given(triangles)
def test_audits_that_form_a_triangle_say_what_the_triangle_says(matrix: list[list[float]]) -> None:
    found = as_audits(matrix)
    by_memory = list(forgetting_by_memory(found).values())
    if len(matrix) == 1:
        assert (transfer(found), by_memory) == (None, [])
        return
    assert transfer(found) == pytest.approx(backward_transfer(matrix))
    assert sum(by_memory) / len(by_memory) == pytest.approx(forgetting(matrix))


@given(st.lists(shares, min_size=1, max_size=5), st.integers(1, 5))
def test_what_never_changes_has_a_flat_curve(values: list[float], times: int) -> None:
    """However hard each memory is, and however often each was asked."""
    found = [
        Audit(f"a-{j}", f"e-{j}", 1, float(k), value, 4)
        for j, value in enumerate(values)
        for k in range(1 + (times + j) % 3)
    ]
    assert all(change == 0 for _, change in kept_by_age(found))
    assert kept_by_age(found)[0] == (0, 0.0)


def test_nothing_audited() -> None:
    """No matrix, no figures: not zeros."""
    assert retention_matrix([]).cells == ()
    assert (recalls([]), forgetting_by_memory([]), transfer([]), kept_by_age([])) == ({}, {}, None, ())
    assert average_accuracy([]) is None
    assert backward_transfer([]) is None
    assert forgetting([[0.5]]) is None


def test_a_known_history() -> None:
    """By hand: one memory fades and comes back half, one was asked once."""
    found = [Audit("a", "e", v, t, r, 2) for v, t, r in [(1, 0.0, 0.8), (2, 1.0, 0.2), (3, 2.0, 0.6)]]
    found.append(Audit("b", "f", 2, 0.5, 1.0, 2))
    assert retention_matrix(found).moments == (Moment(0.0, 1), Moment(0.5, 2), Moment(1.0, 2), Moment(2.0, 3))
    assert forgetting_by_memory(found) == {"e": pytest.approx(0.2)}
    assert transfer(found) == pytest.approx(-0.2)
    assert [round(change, 6) for _, change in kept_by_age(found)] == [0.0, -0.6, -0.2]


# -- triangles --------------------------------------------------------------------------------------


@given(st.integers(2, 6), shares)
def test_a_memory_that_never_changes_forgets_nothing(sessions: int, value: float) -> None:
    """A constant matrix: BWT and forgetting are 0, average accuracy is the constant."""
    matrix = [[value] * (i + 1) for i in range(sessions)]
    assert backward_transfer(matrix) == pytest.approx(0)
    assert forgetting(matrix) == pytest.approx(0)
    assert average_accuracy(matrix) == pytest.approx(value)


def test_a_known_matrix() -> None:
    """By hand: what was learned first rises and falls; unasked cells are left out."""
    matrix = [[0.4], [0.8, 0.6], [0.2, None, 1.0]]
    assert average_accuracy(matrix) == pytest.approx(0.6)
    assert backward_transfer(matrix) == pytest.approx(-0.2)
    assert forgetting(matrix) == pytest.approx(0.6)


@given(st.lists(st.lists(shares, min_size=5, max_size=5), min_size=5, max_size=5))
def test_forgetting_is_never_less_than_what_backward_transfer_lost(rows: list[list[float]]) -> None:
    """The best of earlier days is at least the first day's."""
    matrix = [rows[i][: i + 1] for i in range(5)]
    forgot, bwt = forgetting(matrix), backward_transfer(matrix)
    assert forgot is not None
    assert bwt is not None
    assert forgot >= -bwt - 1e-9
