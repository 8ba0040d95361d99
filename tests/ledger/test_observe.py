"""Observing: one memory per text, one sighting per time it was seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seal_memory.errors import InputError
from seal_memory.ledger import Ledger
from seal_memory.records import NewInteraction, Role, Status


def test_everything_handed_in_comes_back(ledger: Ledger, clock: Callable[[], float]) -> None:
    new = NewInteraction(
        "Zoë\x00 paid 3 €.", role=Role.USER, source="mail", session="s1", title="Bills",
        metadata={"nested": {"list": [1, None]}}, status=Status.SKIPPED, reason="nothing to learn",
    )  # fmt: skip
    seen = ledger.observe([new])[0]
    assert (seen.new, seen.status, seen.reason) == (True, Status.SKIPPED, "nothing to learn")
    found = ledger.interactions(ids=[seen.id])[0]
    assert found.namespace == "default"
    assert (found.text, found.role, found.source, found.session) == (new.text, Role.USER, "mail", "s1")
    assert (found.title, found.metadata, found.time) == ("Bills", new.metadata, clock())
    assert (found.status, found.reason, found.sightings) == (Status.SKIPPED, "nothing to learn", 1)


def test_the_same_text_twice_is_one_memory_with_two_sightings(ledger: Ledger) -> None:
    first = ledger.observe([NewInteraction("The café\nopens  at 9.", session="a")])[0]
    second = ledger.observe([NewInteraction(" The cafe\u0301 opens at 9. ", session="b")])[0]
    assert (second.id, second.new) == (first.id, False)
    assert ledger.interactions()[0].sightings == 2
    assert ledger.interactions(session="b")[0].id == first.id


def test_the_same_text_twice_in_one_batch_is_one_memory(ledger: Ledger) -> None:
    first, second = ledger.observe([NewInteraction("twice"), NewInteraction("twice")])
    assert (first.id, first.new, second.new) == (second.id, True, False)
    assert ledger.interactions()[0].sightings == 2


@pytest.mark.parametrize("other", [{"role": Role.ASSISTANT}, {"title": "Box B"}])
def test_another_role_or_title_is_another_memory(ledger: Ledger, other: dict[str, object]) -> None:
    ledger.observe([NewInteraction("It weighs 2 kg.", title="Box A")])
    assert ledger.observe([NewInteraction("It weighs 2 kg.", **{"title": "Box A", **other})])[0].new  # type: ignore[arg-type]


def test_a_known_text_keeps_its_status(ledger: Ledger) -> None:
    seen = ledger.observe([NewInteraction("known")])[0]
    ledger.set_status([seen.id], Status.LEARNED)
    assert ledger.observe([NewInteraction("known")])[0].status is Status.LEARNED


def test_namespaces_do_not_see_each_other(ledger: Ledger, tmp_path: Path) -> None:
    ledger.observe([NewInteraction("mine")])
    with Ledger.open(tmp_path, namespace="other") as other:
        assert other.interactions() == []
        assert other.observe([NewInteraction("mine")])[0].new
        assert other.search("mine")[0].interaction.namespace == "other"
    assert len(ledger.search("mine")) == 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (NewInteraction(" \n\t"), "empty"),
        (NewInteraction("half a pair: \ud83d"), "lone surrogate"),
        (NewInteraction("x", session="\udc00"), "lone surrogate"),
        (NewInteraction("x", metadata={"a": object()}), "metadata"),
        (NewInteraction("x", time=float("nan")), "NaN"),
        (NewInteraction("x", status=Status.SUPERSEDED), "supersede"),
    ],
)
def test_bad_input_is_refused_with_its_whole_batch(ledger: Ledger, bad: NewInteraction, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ledger.observe([NewInteraction("good"), bad])
    assert ledger.interactions() == []


def test_no_items_are_no_results(ledger: Ledger) -> None:
    assert ledger.observe([]) == []


def test_a_thousand_items_in_one_call_take_well_under_a_second(ledger: Ledger) -> None:
    items = [NewInteraction(f"fact {number}: the code is {number * 7919}") for number in range(1000)]
    started = time.perf_counter()
    ledger.observe(items)
    assert time.perf_counter() - started < 1.0


def test_default_ids_sort_by_time_and_never_repeat(ledger: Ledger) -> None:
    ids = [seen.id for seen in ledger.observe([NewInteraction(str(n)) for n in range(500)])]
    assert len(set(ids)) == 500
    assert ids[0][:12] <= ids[-1][:12]


def test_a_replayed_text_is_a_sighting_in_a_session_that_has_none_of_it(ledger: Ledger) -> None:
    """Else a history brought into session b would be lost to it with session a."""
    ledger.observe([NewInteraction("The key is in the bell.", session="a")])
    for _ in range(2):
        ledger.observe([NewInteraction("The key is in the bell.", session="b", replayed=True)])
    assert [i.sightings for i in ledger.interactions(session="b")] == [2]
