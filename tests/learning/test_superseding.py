"""What is said again, or no longer so: the rules on two statements, and what becomes of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contradictions import main as measure
from seal_memory import SealMemory
from seal_memory.learning.contradictions import same_statement, supersedes
from seal_memory.learning.superseding import Sorted, sort_out
from seal_memory.ledger import Ledger
from seal_memory.observation import to_interactions
from seal_memory.records import Role, Standing

Open = Callable[..., SealMemory]
THINGS = st.sampled_from(["alarm", "harbour shed", "Korrin Bay office", "blue van", "north gate"])
CODES = st.integers(1000, 9999).map(str)

CHANGES = [
    ("The alarm code of the shed is 7741.", "The alarm code of the shed is 9002."),
    ("My favourite colour is green.", "My favourite colour is now blue."),
    ("Ada's office extension is 2205.", "Ada's office extension is 8992."),
    ("Ada Bell lives in Oslo.", "Ada Bell has moved from Oslo to Bergen."),
    ("The tax form for Silquin Printing is due on 9 June.",
     "The tax form for Silquin Printing is now due on 26 December, no longer on 9 June."),
    ("A sack of flour costs 62 crowns at the market.", "At the market a sack of flour now costs 67 crowns."),
]  # fmt: skip
SEPARATE = [
    ("Ada likes tea.", "Ada likes coffee."),  # both may hold
    ("Ada Bell was born in Oslo.", "Ada Bell has moved from Oslo to Bergen."),
    ("Tom Lind lives in Oslo.", "Ada Bell has moved from Oslo to Bergen."),
    ("The alarm code of the shed is 7741.", "The alarm code of the office is 9002."),
    ("The alarm code of the shed is 7741.", "The alarm code of the shed is secret."),
    ("Ada Bell lives in Oslo and works as a baker.", "Ada Bell has moved from Oslo to Bergen."),  # says more
    ("The train from Varn to Quern stops at dock 8.", "The new departure of the train from Varn to Quern is 16:50."),
    ("A sack of flour costs 62 crowns at the market.", "At the market a sack of nails now costs 67 crowns."),
    ("The Korrin project has 12 members.", "The Korrin project now has a budget of 90 crowns."),
    ("The code is 7741. Nobody knows it.", "The code is 9002."),  # two sentences
]  # fmt: skip


# -- the rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("older", "newer"), CHANGES)
def test_a_new_value_of_the_same_thing_supersedes(older: str, newer: str) -> None:
    assert supersedes(newer, older)


@pytest.mark.parametrize(("older", "newer"), SEPARATE)
def test_another_fact_supersedes_nothing(older: str, newer: str) -> None:
    """A doubtful pair is left alone: what is superseded is no longer learned."""
    assert not supersedes(newer, older)


@given(THINGS, THINGS, CODES, CODES)
def test_only_another_value_of_the_same_thing_supersedes(one: str, other: str, old: str, new: str) -> None:
    """Whatever the thing and the figures; nothing supersedes itself."""
    first, second = f"The code of the {one} is {old}.", f"The code of the {other} is {new}."
    assert supersedes(second, first) == (one == other and old != new)
    assert supersedes(first, second) == supersedes(second, first)
    assert not supersedes(first, first)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_can_be_compared(one: str, other: str) -> None:
    """Without an error; the same words are the same statement, either way round."""
    assert supersedes(one, other) in (True, False)
    assert same_statement(one, other) == same_statement(other, one)
    assert not (same_statement(one, other) and supersedes(one, other))


# -- the ledger -------------------------------------------------------------------------------------


def _say(ledger: Ledger, *texts: str, role: Role = Role.USER) -> list[str]:
    return [ledger.observe(to_interactions(t, role=role, time=float(n)))[0].id for n, t in enumerate(texts)]


def test_the_newer_statement_takes_the_older_ones_place(tmp_path: Path) -> None:
    """A chain ends with the last; all of it stays in the history, only the last is found."""
    with Ledger.open(tmp_path) as ledger:
        ids = _say(ledger, *(f"The alarm code of the shed is {n}." for n in ("7741", "9002", "1234")))
        found = sort_out(ledger)
        assert found.superseded == ((ids[0], ids[1]), (ids[1], ids[2]))
        assert [i.standing for i in ledger.interactions()] == [Standing.SUPERSEDED] * 2 + [Standing.PENDING]
        assert [h.interaction.id for h in ledger.search("alarm code of the shed")] == [ids[2]]
        assert set(ledger.with_predecessors([ids[2]])) == set(ids)
        assert sort_out(ledger).superseded == ()


def test_what_is_said_again_is_not_learned_twice(tmp_path: Path) -> None:
    """It is recorded, with what it repeats."""
    with Ledger.open(tmp_path) as ledger:
        one, two = _say(ledger, "The ferry to Elm Point sails on Sunday.", "the ferry to Elm Point sails on Sunday!")
        assert sort_out(ledger).repeated == ((two, one),)
        (skipped,) = ledger.interactions(ids=[two])
        assert (skipped.standing, one in str(skipped.reason)) == (Standing.SKIPPED, True)


def test_documents_are_left_alone(tmp_path: Path) -> None:
    """Several are not one speaker who changed his mind."""
    with Ledger.open(tmp_path) as ledger:
        _say(ledger, "The alarm code of the shed is 7741.", "The alarm code of the shed is 9002.", role=Role.DOCUMENT)
        assert sort_out(ledger) == Sorted((), ())


def test_of_two_that_it_could_replace_neither_is_replaced(tmp_path: Path) -> None:
    """It may mean neither."""
    with Ledger.open(tmp_path) as ledger:
        _say(
            ledger,
            "A sack of flour costs 62 crowns at the market.",
            "At the market a sack of flour costs 64 crowns.",
            "At the market a sack of flour now costs 67 crowns.",
        )
        assert sort_out(ledger).superseded == ()


# -- in a memory ------------------------------------------------------------------------------------


def test_an_outdated_fact_leaves_training_and_its_shard_is_replaced(open_memory: Open) -> None:
    """Its episode is trained again without it; quizzes about it are asked no more; nothing is lost from the history."""
    memory = open_memory(supersede=True)
    old, other = memory.observe(["The alarm code of the shed is 7741.", "Tom Lind repaired the crane at Elm Quay."],
                                session="one")  # fmt: skip
    for seen, question in ((old, "Which code has the shed's alarm?"), (other, "Who repaired the crane?")):
        memory.add_quiz([(question, "7741" if seen is old else "Tom Lind")], interaction_ids=[seen.id])
    memory.consolidate()
    (first,) = memory.history()[0].manifest.shards
    (new,) = memory.observe("The alarm code of the shed is 9002.", session="two")
    memory.add_quiz([("What is the code of the shed's alarm now?", "9002")], interaction_ids=[new.id])
    memory.consolidate()
    standings = {i.id: i.standing for i in memory.ledger.interactions()}
    assert standings == {old.id: Standing.SUPERSEDED, other.id: Standing.LEARNED, new.id: Standing.LEARNED}
    shards = memory.history()[0].manifest.shards
    assert first.adapter_id not in {s.adapter_id for s in shards}
    assert {i for s in shards for i in s.interaction_ids} == {other.id, new.id}
    trained = memory.ledger.self_edits(episode_id=next(s.episode_id for s in shards if other.id in s.interaction_ids))
    assert all("7741" not in item.target for item in trained[-1].items)
    assert memory.quiz().questions == 2


def test_superseding_is_off_by_default(open_memory: Open) -> None:
    """It changes what a measured memory learns."""
    memory = open_memory()
    memory.observe(["The alarm code of the shed is 7741.", "The alarm code of the shed is 9002."])
    memory.consolidate()
    assert Standing.SUPERSEDED not in {i.standing for i in memory.ledger.interactions()}


# -- how often the rules are right ------------------------------------------------------------------


def test_the_diarys_changes_are_found_without_a_false_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a diary that did not shape the rules; the figures are in one JSON line."""
    assert measure(["--days", "4", "--seeds", "7", "--out", str(tmp_path / "found.json")]) == 0
    assert '"false_merges": 0' in capsys.readouterr().out
