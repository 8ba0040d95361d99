"""Selecting interactions, their status, and corrections."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from seal_memory.errors import InputError, UnknownIdError
from seal_memory.ledger import Ledger
from seal_memory.records import NewInteraction, Status

See = Callable[..., list[str]]


def test_oldest_first_by_time_then_by_arrival(ledger: Ledger) -> None:
    ledger.observe([NewInteraction("c", time=3.0), NewInteraction("a", time=1.0), NewInteraction("b", time=1.0)])
    assert [seen.text for seen in ledger.interactions()] == ["a", "b", "c"]
    assert [seen.text for seen in ledger.interactions(limit=2)] == ["a", "b"]


def test_filters_are_combined(ledger: Ledger) -> None:
    ledger.observe(
        [
            NewInteraction("1", session="s", source="mail"),
            NewInteraction("2", session="s", source="web", status=Status.SKIPPED),
            NewInteraction("3", session="t", source="mail"),
        ]
    )

    def texts(**filters: object) -> list[str]:
        return [seen.text for seen in ledger.interactions(**filters)]  # type: ignore[arg-type]

    assert texts(session="s") == ["1", "2"]
    assert texts(source="mail") == ["1", "3"]
    assert texts(session="s", source="mail") == ["1"]
    assert texts(status=Status.SKIPPED) == ["2"]
    assert texts(status={Status.SKIPPED, Status.PENDING}) == ["1", "2", "3"]
    assert texts(status=[]) == []
    assert texts(session="never") == []
    assert texts(ids=[]) == []


def test_unknown_ids_are_named(ledger: Ledger, see: See) -> None:
    (known,) = see("known")
    with pytest.raises(UnknownIdError, match="nope-1, nope-2"):
        ledger.interactions(ids=[known, "nope-1", "nope-2"])


def test_a_single_id_instead_of_a_list_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="expected a list of ids"):
        ledger.interactions(ids="abc")


def test_more_ids_than_sql_variables(ledger: Ledger, see: See) -> None:
    ids = see(*(f"text {number}" for number in range(2000)))
    assert len(ledger.interactions(ids=ids)) == 2000


def test_status_and_reason_are_set_and_counted(ledger: Ledger, see: See) -> None:
    first, second, _ = see("a", "b", "c")
    assert ledger.set_status([first, second], Status.REFUSED, "not learned well enough") == 2
    assert ledger.interactions(ids=[first])[0].reason == "not learned well enough"
    assert ledger.counts() == {
        **dict.fromkeys(Status, 0),
        Status.PENDING: 1,
        Status.REFUSED: 2,
    }


def test_set_status_checks_ids_and_status(ledger: Ledger, see: See) -> None:
    (known,) = see("a")
    with pytest.raises(UnknownIdError, match="nope"):
        ledger.set_status([known, "nope"], Status.LEARNED)
    with pytest.raises(InputError, match="use supersede"):
        ledger.set_status([known], Status.SUPERSEDED)
    assert ledger.interactions()[0].status is Status.PENDING


def test_a_correction_takes_the_old_ones_place_and_both_stay(ledger: Ledger, see: See) -> None:
    (old,) = see("The key is under the mat.")
    new = ledger.supersede(old, NewInteraction("The key is in the shed."))
    assert new.new
    assert ledger.successor(old) == new.id
    assert ledger.successor(new.id) is None
    assert [seen.status for seen in ledger.interactions(ids=[old, new.id])] == [
        Status.SUPERSEDED,
        Status.PENDING,
    ]
    assert [hit.interaction.id for hit in ledger.search("key")] == [new.id]


def test_a_training_that_ends_late_does_not_bring_a_corrected_text_back(ledger: Ledger, see: See) -> None:
    (old,) = see("old")
    ledger.supersede(old, NewInteraction("new"))
    assert ledger.set_status([old], Status.LEARNED) == 0
    assert ledger.interactions(ids=[old])[0].status is Status.SUPERSEDED


def test_a_corrected_text_seen_again_stays_corrected(ledger: Ledger, see: See) -> None:
    (old,) = see("old")
    ledger.supersede(old, NewInteraction("new"))
    assert ledger.observe([NewInteraction("old")])[0].status is Status.SUPERSEDED


def test_correcting_a_corrected_text_points_to_the_newer_one(ledger: Ledger, see: See) -> None:
    (old,) = see("old")
    new = ledger.supersede(old, NewInteraction("new"))
    with pytest.raises(InputError, match=f"correct {new.id} instead"):
        ledger.supersede(old, NewInteraction("newer"))


def test_a_correction_that_says_the_same_is_refused_without_a_sighting(ledger: Ledger, see: See) -> None:
    (old,) = see("same words")
    with pytest.raises(InputError, match="nothing to correct"):
        ledger.supersede(old, NewInteraction("same  words"))
    assert ledger.interactions()[0].sightings == 1


def test_correcting_back_makes_the_first_wording_valid_again(ledger: Ledger, see: See) -> None:
    (first,) = see("Monday")
    second = ledger.supersede(first, NewInteraction("Tuesday")).id
    back = ledger.supersede(second, NewInteraction("Monday"))
    assert (back.id, back.new, back.status) == (first, False, Status.PENDING)
    assert ledger.successor(second) == first
    assert ledger.successor(first) is None
    assert [hit.interaction.text for hit in ledger.search("Monday Tuesday")] == ["Monday"]


def test_correcting_to_a_text_that_is_known_uses_that_one(ledger: Ledger, see: See) -> None:
    wrong, right = see("wrong", "right")
    assert ledger.supersede(wrong, NewInteraction("right")).id == right
    assert ledger.interactions(ids=[right])[0].sightings == 2


def test_predecessors_are_all_earlier_wordings(ledger: Ledger, see: See) -> None:
    a, other = see("a", "other")
    b = ledger.supersede(a, NewInteraction("b")).id
    c = ledger.supersede(b, NewInteraction("c")).id
    assert sorted(ledger.with_predecessors([c])) == sorted([a, b, c])
    assert ledger.with_predecessors([other]) == [other]
    with pytest.raises(UnknownIdError, match="nope"):
        ledger.with_predecessors(["nope"])
