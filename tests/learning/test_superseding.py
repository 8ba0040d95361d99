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


OLD, NEW = "The alarm code of the shed is 7741.", "The alarm code of the shed is 9002."


def _again(ledger: Ledger, text: str, time: float) -> Standing:
    return ledger.observe(to_interactions(text, role=Role.USER, time=time))[0].standing


def _standing(ledger: Ledger, id: str) -> Standing:
    return ledger.interactions(ids=[id])[0].standing


def test_what_is_said_again_after_a_change_holds_again(tmp_path: Path) -> None:
    """Word for word, and back and forth; a sighting that is older than the change is none of that."""
    with Ledger.open(tmp_path) as ledger:
        old, new = _say(ledger, OLD, NEW)
        sort_out(ledger)
        assert _again(ledger, OLD, 0.5) is Standing.SUPERSEDED
        assert _again(ledger, OLD, 5.0) is Standing.PENDING
        assert _standing(ledger, new) is Standing.SUPERSEDED
        assert [h.interaction.id for h in ledger.search("alarm code of the shed")] == [old]
        assert sort_out(ledger) == Sorted((), ())
        assert _again(ledger, NEW, 6.0) is Standing.PENDING
        assert _standing(ledger, old) is Standing.SUPERSEDED


def test_the_first_of_three_said_again_ends_the_line(tmp_path: Path) -> None:
    """The last one gives way to it."""
    with Ledger.open(tmp_path) as ledger:
        ids = _say(ledger, *(f"The alarm code of the shed is {n}." for n in ("7741", "9002", "1234")))
        sort_out(ledger)
        _again(ledger, OLD, 5.0)
        assert [_standing(ledger, i) for i in ids] == [Standing.PENDING, *[Standing.SUPERSEDED] * 2]
        assert ledger.successor(ids[2]) == ids[0]


def test_what_was_said_last_holds_when_all_of_it_waits(tmp_path: Path) -> None:
    """Said, changed and said again before anything was sorted out."""
    with Ledger.open(tmp_path) as ledger:
        old, new = _say(ledger, OLD, NEW)
        _again(ledger, OLD, 5.0)
        assert sort_out(ledger).superseded == ((new, old),)


def test_a_repeat_in_other_words_counts_as_said_again(tmp_path: Path) -> None:
    """It was skipped as saying the same; said once more, after the change, it brings back what it repeats."""
    with Ledger.open(tmp_path) as ledger:
        old, again = _say(ledger, OLD, OLD.upper())
        sort_out(ledger)
        (new,) = (o.id for o in ledger.observe(to_interactions(NEW, role=Role.USER, time=3.0)))
        sort_out(ledger)
        assert (_standing(ledger, old), _standing(ledger, again)) == (Standing.SUPERSEDED, Standing.SKIPPED)
        _again(ledger, OLD.upper(), 5.0)
        assert (_standing(ledger, old), _standing(ledger, new)) == (Standing.PENDING, Standing.SUPERSEDED)


def test_a_correction_by_hand_is_not_undone_by_a_repetition(tmp_path: Path) -> None:
    """A person has decided."""
    with Ledger.open(tmp_path) as ledger:
        (old,) = _say(ledger, OLD)
        new = ledger.supersede(old, to_interactions(NEW, role=Role.USER, time=1.0)[0])
        assert _again(ledger, OLD, 5.0) is Standing.SUPERSEDED
        assert _standing(ledger, new.id) is Standing.PENDING


def test_what_comes_in_late_does_not_replace_what_was_said_later(tmp_path: Path) -> None:
    """Its date counts, not its arrival; what was never changed is learned."""
    with Ledger.open(tmp_path) as ledger:
        (new,) = _say(ledger, NEW)
        ledger.set_standing([new], Standing.LEARNED)
        late, other = ledger.observe(
            [
                *to_interactions(OLD, role=Role.USER, time=-5.0),
                *to_interactions("Ada is late.", role=Role.USER, time=-4.0),
            ]
        )
        assert sort_out(ledger).superseded == ((late.id, new),)
        assert ledger.successor(late.id) == new
        assert (_standing(ledger, new), _standing(ledger, other.id)) == (Standing.LEARNED, Standing.PENDING)


def test_a_repeat_outlives_what_it_repeats(tmp_path: Path) -> None:
    """Forgetting one session does not forget what was said in another, too."""
    with Ledger.open(tmp_path) as ledger:
        old, again = _say(ledger, OLD, OLD.upper())
        sort_out(ledger)
        ledger.purge([old])
        assert _standing(ledger, again) is Standing.PENDING
        assert sort_out(ledger) == Sorted((), ())


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


def test_an_old_fact_said_again_replaces_the_newer_ones_shard(open_memory: Open) -> None:
    """What shared the newer one's shard is learned without it."""
    memory = open_memory(supersede=True)
    (old,) = memory.observe(OLD, session="one", time=1.0)
    memory.add_quiz([("Which code has the shed's alarm?", "7741")], interaction_ids=[old.id])
    memory.consolidate()
    new, other = memory.observe([NEW, "Tom Lind repaired the crane at Elm Quay."], session="two", time=2.0)
    memory.add_quiz([("What is the code of the shed's alarm now?", "9002")], interaction_ids=[new.id])
    memory.add_quiz([("Who repaired the crane?", "Tom Lind")], interaction_ids=[other.id])
    memory.consolidate()
    assert {i for s in memory.history()[0].manifest.shards for i in s.interaction_ids} == {new.id, other.id}
    memory.observe(OLD, session="three", time=3.0)
    memory.consolidate()
    assert {i for s in memory.history()[0].manifest.shards for i in s.interaction_ids} == {old.id, other.id}


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
