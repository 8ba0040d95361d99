"""Quarantine: texts are learned only after approval, in any order of events; nothing is lost."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.errors import InputError, UnknownIdError
from seal_memory.ledger import Ledger
from seal_memory.ledger.connection import open_connection
from seal_memory.ledger.schema import MIGRATIONS, prepare
from seal_memory.records import WITHHELD, Genre, NewInteraction, PolicyExample, Status

BAD, WORSE, GOOD = "Ignore the boats.", "Obey the mill.", "The mill burned."
WHY = "instructs"
fresh = itertools.count()


def seen(text: str) -> NewInteraction:
    """As the observation gate would have it."""
    return NewInteraction(text) if text == GOOD else NewInteraction(text, status=Status.QUARANTINED, reason=WHY)


@pytest.fixture
def bad(ledger: Ledger) -> str:
    return ledger.observe([seen(BAD)])[0].id


def standing_of(ledger: Ledger, id: str) -> tuple[Status, str | None]:
    (one,) = ledger.interactions(ids=[id])
    return one.status, one.reason


# -- one step at a time -----------------------------------------------------------------------------


def test_what_is_quarantined_is_recorded_with_its_reason(ledger: Ledger, bad: str) -> None:
    assert [(i.id, i.text, i.reason) for i in ledger.quarantine.held()] == [(bad, BAD, WHY)]
    assert ledger.counts()[Status.QUARANTINED] == 1


def test_an_approved_one_is_pending_and_can_be_found(ledger: Ledger, bad: str) -> None:
    assert ledger.search("boats") == []
    (now,) = ledger.quarantine.approve([bad], "our own handbook")
    assert (now.status, now.reason) == (Status.PENDING, f"approved: our own handbook ({WHY})")
    assert [hit.interaction.id for hit in ledger.search("boats")] == [bad]
    assert ledger.quarantine.held() == []


def test_a_rejected_one_stays_out_when_it_is_seen_again(ledger: Ledger, bad: str) -> None:
    ledger.quarantine.reject([bad])
    (again,) = ledger.observe([seen(BAD)])
    assert (again.id, again.new, again.status, again.reason) == (
        bad,
        False,
        Status.REJECTED,
        f"rejected ({WHY})",
    )
    assert [i.sightings for i in ledger.quarantine.held(rejected=True)] == [2]
    assert ledger.search("boats", statuses=list(Status)) == []


def test_a_rejection_may_be_taken_back(ledger: Ledger, bad: str) -> None:
    ledger.quarantine.reject([bad])
    assert [i.status for i in ledger.quarantine.approve([bad])] == [Status.PENDING]
    assert [r.status for r in ledger.quarantine.reviews([bad])] == [
        Status.QUARANTINED,
        Status.REJECTED,
        Status.PENDING,
    ]


def test_decisions_are_for_what_is_held_and_all_or_none(ledger: Ledger, bad: str) -> None:
    (good,) = ledger.observe([seen(GOOD)])
    for decide in (ledger.quarantine.approve, ledger.quarantine.reject):
        with pytest.raises(InputError, match=f"{good.id} is pending"):
            decide([bad, good.id])
        with pytest.raises(UnknownIdError, match="nope"):
            decide([bad, "nope"])
    assert standing_of(ledger, bad) == (Status.QUARANTINED, WHY)
    ledger.quarantine.reject([bad])
    with pytest.raises(InputError, match="approve releases it"):
        ledger.quarantine.reject([bad])


@pytest.mark.parametrize("status", [Status.LEARNED, Status.PENDING, Status.SKIPPED])
def test_no_other_verb_lets_anything_out(ledger: Ledger, bad: str, status: Status) -> None:
    """Whoever sets statuses in bulk (a rollback, a trainer) passes it by; nobody puts anything in by hand."""
    assert ledger.set_status([bad], status) == 0
    assert standing_of(ledger, bad) == (Status.QUARANTINED, WHY)
    with pytest.raises(InputError, match=r"ledger\.quarantine"):
        ledger.set_status([bad], Status.REJECTED)
    with pytest.raises(InputError, match="rejected already"):
        ledger.observe([NewInteraction("x", status=Status.REJECTED)])


def test_nothing_can_be_made_of_it(
    ledger: Ledger,
    bad: str,
    make_self_edit: Callable[..., Any],
    make_quiz_item: Callable[..., Any],
    make_adapter: Callable[..., Any],
) -> None:
    """No training item, adapter, generated question or policy example, not even by a trainer that does not look."""
    (good,) = ledger.observe([seen(GOOD)])
    example = PolicyExample("p", (bad,), Genre.QA, "s", "a", "t")
    for make in (
        lambda: ledger.add_self_edits([make_self_edit("e", good.id, replayed=bad)]),
        lambda: ledger.add_quiz_items([make_quiz_item("q", bad)]),
        lambda: ledger.add_adapter(make_adapter("a", bad)),
        lambda: ledger.policy.add_version(
            None, [example], parent=None, promoted=False, reasons=[], measures={}, base_fingerprint="b"
        ),
    ):
        with pytest.raises(InputError, match="before a person approves it"):
            make()
    ledger.quarantine.approve([bad])
    ledger.add_self_edits([make_self_edit("e", good.id, replayed=bad)])


def test_quarantined_texts_do_not_move_the_ranking(ledger: Ledger) -> None:
    """A flood of poison changes no score: it is not in the index, and is not counted."""
    ledger.observe([NewInteraction("The mill burned in May."), NewInteraction("The mill and the boat.")])
    before = [(hit.interaction.text, hit.score) for hit in ledger.search("mill boat")]
    ledger.observe([NewInteraction(f"mill boat {n}", status=Status.QUARANTINED, reason=WHY) for n in range(50)])
    assert [(hit.interaction.text, hit.score) for hit in ledger.search("mill boat")] == before


def test_a_purge_takes_the_decisions_and_the_bytes(ledger: Ledger, bad: str) -> None:
    """Forgetting something in quarantine leaves neither text nor reasons; seen again it is new, and held again."""
    ledger.quarantine.reject([bad], "smells of Brightwell")
    assert ledger.purge([bad]).wiped
    assert ledger.quarantine.reviews() == []
    content = ledger.path.read_bytes()
    assert BAD.encode() not in content
    assert b"Brightwell" not in content
    (again,) = ledger.observe([seen(BAD)])
    assert (again.new, again.status) == (True, Status.QUARANTINED)


def test_a_ledger_of_the_third_schema_is_brought_up(tmp_path: Path) -> None:
    """What it held can still be found, forgotten and quarantined beside."""
    connection = open_connection(tmp_path / "ledger.sqlite")
    prepare(connection, migrations=MIGRATIONS[:3])
    connection.close()
    raw = sqlite3.connect(tmp_path / "ledger.sqlite")
    raw.execute(
        "INSERT INTO interactions (namespace, id, standing, time, role, content_hash, metadata, text)"
        " VALUES ('default', 'i', 'pending', 1.0, 'user', 'h', '{}', 'The mill burned.')"
    )
    raw.commit()
    raw.close()
    with Ledger.open(tmp_path) as ledger:
        ledger.observe([seen(BAD)])
        assert [hit.interaction.id for hit in ledger.search("mill boats")] == ["i"]
        assert ledger.purge(["i"]).interactions == 1
        assert ledger.search("mill boats") == []


def test_a_text_that_an_older_release_withheld_is_known_under_another_title(tmp_path: Path) -> None:
    connection = open_connection(tmp_path / "ledger.sqlite")
    prepare(connection, migrations=MIGRATIONS[:9])
    connection.close()
    raw = sqlite3.connect(tmp_path / "ledger.sqlite")
    raw.execute(
        "INSERT INTO interactions (namespace, id, status, time, role, content_hash, metadata, text)"
        " VALUES ('default', 'i', 'rejected', 1.0, 'document', 'h', '{}', ?)",
        (BAD,),
    )
    raw.commit()
    raw.close()
    with Ledger.open(tmp_path) as ledger:
        (again,) = ledger.observe([NewInteraction(f" {BAD.upper()}  ", title="Another")])
        assert again.status is Status.QUARANTINED


def test_a_new_text_is_not_compared_with_each_that_is_withheld(ledger: Ledger) -> None:
    """Observing would take the longer, the more is held."""
    asked: list[str] = []
    ledger._scope.connection.database.conn.set_trace_callback(asked.append)
    ledger.observe([NewInteraction(GOOD)])
    (found,) = [sql for sql in asked if sql.startswith("SELECT role, status FROM interactions")]
    ledger._scope.connection.database.conn.set_trace_callback(None)
    plan = ledger._scope.connection.rows(f"EXPLAIN QUERY PLAN {found}")
    assert any("interactions_by_withheld_key" in row["detail"] for row in plan)


# -- in any order -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("quarantine")
    with Ledger.open(path):
        yield path


text = st.sampled_from([BAD, WORSE, GOOD])
step = st.one_of(
    st.tuples(st.sampled_from(["observe", "observe unfiltered", "approve", "reject", "learn"]), text),
    st.tuples(st.just("correct"), text, text),
)


def do(ledger: Ledger, ids: dict[str, str], what: tuple[str, ...]) -> None:
    """One step; what is not allowed then changes nothing."""
    match what:
        case ("observe", text):
            ids[text] = ledger.observe([seen(text)])[0].id
        case ("observe unfiltered", text) if text in ids:  # the filter was switched off, the text is known
            assert not ledger.observe([NewInteraction(text)])[0].new
        case ("approve" | "reject" as verb, text) if text in ids:
            before = standing_of(ledger, ids[text])
            try:
                getattr(ledger.quarantine, verb)([ids[text]])
            except InputError:
                assert standing_of(ledger, ids[text]) == before
        case ("learn", _):  # as a consolidation does, careless about ids
            ledger.set_status(list(ids.values()), Status.LEARNED)
        case ("correct", old, new) if old in ids:
            try:
                # someone corrects into `new` with the filter off, if the ledger knows it; else through the filter
                ids[new] = ledger.supersede(ids[old], NewInteraction(new) if new in ids else seen(new)).id
            except InputError:
                return


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(step, max_size=14))
def test_learned_only_after_an_approval_and_nothing_is_lost(folder: Path, steps: list[tuple[str, ...]]) -> None:
    """Also: what the last person who looked rejected is not learned, found, or pending."""
    ids: dict[str, str] = {}
    with Ledger.open(folder, namespace=f"example-{next(fresh)}") as ledger:
        for one in steps:
            do(ledger, ids, one)
            found = {i.text: i for i in ledger.interactions()}
            assert {t: i.id for t, i in found.items()} == ids
            for poison in {BAD, WORSE} & found.keys():
                last = ledger.quarantine.reviews([ids[poison]])[-1].status
                if last is not Status.PENDING:
                    assert found[poison].status in WITHHELD | {Status.SUPERSEDED}
                    assert poison not in [hit.interaction.text for hit in ledger.search(poison)]
            sightings = sum(i.sightings for i in found.values())
            assert sightings >= len(found)
