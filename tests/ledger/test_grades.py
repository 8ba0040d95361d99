"""Grades, decisions and meta: appended, filtered, refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seal_memory.errors import InputError, UnknownIdError
from seal_memory.ledger import ANY, Ledger
from seal_memory.records import Decision, Grade, QuizItem

MakeQuizItem = Callable[..., QuizItem]


def test_grades_come_back_and_none_means_the_base(ledger: Ledger, make_quiz_item: MakeQuizItem) -> None:
    ledger.add_quiz_items([make_quiz_item("q1", question="A?"), make_quiz_item("q2", question="B?")])
    base = Grade("q1", None, None, -3.0, 0.0, None, 1.0)
    shard = Grade("q1", "s1", None, -0.5, 1.0, True, 2.0)
    published = Grade("q2", None, 4, float("-inf"), 0.5, False, 3.0)
    ledger.add_grades([base, shard, published])
    assert ledger.grades() == ledger.grades(adapter_id=ANY) == [base, shard, published]
    assert ledger.grades(quiz_item_ids=["q1"]) == [base, shard]
    assert ledger.grades(adapter_id="s1") == [shard]
    assert ledger.grades(adapter_id=None) == [base, published]
    assert ledger.grades(adapter_id=None, snapshot_version=None) == [base]
    assert ledger.grades(snapshot_version=4) == [published]


def test_bad_grades_are_refused_with_their_whole_batch(ledger: Ledger, make_quiz_item: MakeQuizItem) -> None:
    ledger.add_quiz_items([make_quiz_item("q1")])
    good = Grade("q1", None, None, -3.0, 0.0, None, 1.0)
    with pytest.raises(UnknownIdError, match="q9"):
        ledger.add_grades([good, Grade("q9", None, None, -3.0, 0.0, None, 1.0)])
    with pytest.raises(InputError, match="NaN"):
        ledger.add_grades([good, Grade("q1", None, None, float("nan"), 0.0, None, 1.0)])
    assert ledger.grades() == []


def test_decisions_are_newest_first(ledger: Ledger) -> None:
    made = [
        Decision(f"d{n}", None, "e", n > 0, ("recall rose", "drift is small"), {"recall": 0.5}, n, float(n))
        for n in range(3)
    ]
    for decision in made:
        ledger.add_decision(decision)
    assert ledger.decisions() == made[::-1]
    assert ledger.decisions(limit=1) == [made[2]]


def test_meta_is_set_replaced_and_forgotten_per_namespace(ledger: Ledger, tmp_path: Path) -> None:
    ledger.meta_set("base", "1")
    ledger.meta_set("base", "2")
    with Ledger.open(tmp_path, namespace="other") as other:
        assert other.meta_get("base") is None
    assert ledger.meta_get("base") == "2"
    ledger.meta_set("base", None)
    assert ledger.meta_get("base") is None
