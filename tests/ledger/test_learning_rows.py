"""Self-edits, quiz items and adapters: what comes back, what is refused, what is held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from seal_memory.errors import InputError, LedgerError, UnknownIdError
from seal_memory.ledger import Ledger
from seal_memory.records import AdapterRecord, Manifest, QuizItem, SelfEdit, ShardEntry

See = Callable[..., list[str]]
MakeSelfEdit = Callable[..., SelfEdit]
MakeQuizItem = Callable[..., QuizItem]
MakeAdapter = Callable[..., AdapterRecord]


def test_self_edits_come_back_as_they_were(ledger: Ledger, see: See, make_self_edit: MakeSelfEdit) -> None:
    a, b = see("a", "b")
    edits = [make_self_edit("e1", a), make_self_edit("e2", b, replayed=a)]
    ledger.add_self_edits(edits)
    ledger.add_self_edits(edits)
    assert ledger.self_edits() == edits
    assert ledger.self_edits(ids=["e2"]) == edits[1:]
    assert ledger.self_edits(episode_id="episode-of-e1") == edits[:1]


def test_self_edits_are_found_by_what_they_replay_too(ledger: Ledger, see: See, make_self_edit: MakeSelfEdit) -> None:
    a, b, c = see("a", "b", "c")
    ledger.add_self_edits([make_self_edit("e1", a), make_self_edit("e2", b, replayed=a)])
    assert [edit.id for edit in ledger.self_edits(interaction_ids=[a])] == ["e1", "e2"]
    assert [edit.id for edit in ledger.self_edits(interaction_ids=[b])] == ["e2"]
    assert ledger.self_edits(interaction_ids=[c]) == []


def test_an_id_never_names_two_self_edits(ledger: Ledger, see: See, make_self_edit: MakeSelfEdit) -> None:
    (a,) = see("a")
    ledger.add_self_edits([make_self_edit("e1", a)])
    with pytest.raises(InputError, match="e1 with another items"):
        ledger.add_self_edits([make_self_edit("e2", a), make_self_edit("e1", a, text="y")])
    assert [edit.id for edit in ledger.self_edits()] == ["e1"]


def test_nothing_is_added_for_forgotten_or_unknown_interactions(
    ledger: Ledger,
    see: See,
    make_self_edit: MakeSelfEdit,
    make_quiz_item: MakeQuizItem,
    make_adapter: MakeAdapter,
) -> None:
    """A trainer that missed a forget cannot bring the text back."""
    (a,) = see("a")
    ledger.purge([a])
    with pytest.raises(UnknownIdError, match="was forgotten"):
        ledger.add_self_edits([make_self_edit("e1", a)])
    with pytest.raises(UnknownIdError, match="was forgotten"):
        ledger.add_quiz_items([make_quiz_item("q1", a)])
    with pytest.raises(UnknownIdError, match="was forgotten"):
        ledger.add_adapter(make_adapter("s1", a))
    with pytest.raises(UnknownIdError, match="nope"):
        ledger.add_self_edits([make_self_edit("e1", "nope")])


def test_quiz_items_come_back_as_they_were(ledger: Ledger, see: See, make_quiz_item: MakeQuizItem) -> None:
    a, b = see("a", "b")
    items = [
        make_quiz_item("q1", a, question="Who?"),
        make_quiz_item("q2", a, b, question="When?", held_out=False),
        make_quiz_item("q3", question="Anything?"),
    ]
    ledger.add_quiz_items(items)
    ledger.add_quiz_items(items)
    assert ledger.quiz_items() == items
    assert ledger.quiz_items(held_out=True) == [items[0], items[2]]
    assert ledger.quiz_items(interaction_ids=[b]) == [items[1]]
    assert ledger.quiz_items(ids=["q3"]) == [items[2]]


def test_a_held_out_item_is_held_out_for_good(ledger: Ledger, see: See, make_quiz_item: MakeQuizItem) -> None:
    (a,) = see("a")
    item = make_quiz_item("q1", a)
    ledger.add_quiz_items([item])
    with pytest.raises(InputError, match="q1 is held out for good"):
        ledger.add_quiz_items([replace(item, held_out=False)])
    for statement in (
        "UPDATE quiz_items SET held_out = 0",
        "INSERT OR REPLACE INTO quiz_items SELECT seq, namespace, id, interaction_ids, question,"
        " question_key, answer, 0, phrasing, origin, logprob_with, logprob_without FROM quiz_items",
    ):
        with pytest.raises(LedgerError, match="held out for good"), ledger.atomic():
            ledger._scope.connection.run(statement)
    assert ledger.quiz_items() == [item]


@pytest.mark.parametrize("first", [True, False])
def test_a_question_is_on_one_side_only(ledger: Ledger, see: See, make_quiz_item: MakeQuizItem, first: bool) -> None:
    a, b, c = see("a", "b", "c")
    ledger.add_quiz_items([make_quiz_item("q1", a, b, question="Who came?", held_out=first)])
    with pytest.raises(InputError, match="item q1"):
        ledger.add_quiz_items([make_quiz_item("q2", b, question=" who  CAME? ", held_out=not first)])
    with pytest.raises(InputError, match="item q1"):
        ledger.add_quiz_items([make_quiz_item("q3", question="Who came?", held_out=not first)])
    ledger.add_quiz_items([make_quiz_item("q4", c, question="Who came?", held_out=not first)])
    ledger.add_quiz_items([make_quiz_item("q5", b, question="Who came?", held_out=first)])
    assert [item.id for item in ledger.quiz_items()] == ["q1", "q4", "q5"]


def test_nan_is_refused_where_it_would_turn_into_none(ledger: Ledger, see: See, make_quiz_item: MakeQuizItem) -> None:
    (a,) = see("a")
    with pytest.raises(InputError, match="NaN"):
        ledger.add_quiz_items([replace(make_quiz_item("q1", a), logprob_without=float("nan"))])


def test_adapters_come_back_as_they_were(ledger: Ledger, see: See, make_adapter: MakeAdapter) -> None:
    a, b = see("a", "b")
    both, one = make_adapter("s1", a, b), make_adapter("s2", b)
    ledger.add_adapter(both)
    ledger.add_adapter(one)
    ledger.add_adapter(replace(both, created=9.0))
    assert ledger.adapters() == [both, one]
    assert ledger.adapters(ids=["s2"]) == [one]
    assert ledger.adapters(interaction_ids=[a]) == [both]
    assert ledger.adapters_trained_on([b]) == ["s1", "s2"]
    with pytest.raises(InputError, match="s1 with another sha256"):
        ledger.add_adapter(make_adapter("s1", a, sha256="bb"))


def test_adapters_are_removed_only_when_no_snapshot_holds_them(
    ledger: Ledger, see: See, make_adapter: MakeAdapter
) -> None:
    (a,) = see("a")
    ledger.add_adapter(make_adapter("s1", a))
    ledger.add_snapshot(Manifest((ShardEntry("s1", "e", (a,)),)), parent=None, base_fingerprint="base")
    with pytest.raises(InputError, match="part of snapshots 1"):
        ledger.remove_adapters(["s1"])
    ledger.destroy_snapshots([1])
    assert ledger.remove_adapters(["s1", "never-there"]) == 1
    assert ledger.adapters() == []
    assert ledger.adapters_trained_on([a]) == []


def test_two_namespaces_may_hold_the_same_ids(
    ledger: Ledger, tmp_path: Path, see: See, make_adapter: MakeAdapter
) -> None:
    (a,) = see("a")
    ledger.add_adapter(make_adapter("s1", a))
    with Ledger.open(tmp_path, namespace="other") as other:
        other.add_adapter(make_adapter("s1"))
        assert len(other.adapters()) == 1
