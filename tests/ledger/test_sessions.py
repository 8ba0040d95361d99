"""Sessions: conversations are recognised by their history, and a sighting belongs to its session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory.errors import UnknownIdError
from seal_memory.ledger import Ledger
from seal_memory.ledger.sessions import KEPT_SECONDS
from seal_memory.records import NewInteraction


def test_a_history_that_two_conversations_had_leads_to_the_one_that_nobody_continued(ledger: Ledger) -> None:
    ledger.sessions.note("one", ["hello"])
    ledger.sessions.note("two", ["hello"])
    assert ledger.sessions.continued_by(["unknown", "hello"]) == "one"
    ledger.sessions.note("one", ["hello, more"])
    assert ledger.sessions.continued_by(["hello"]) == "two"
    ledger.sessions.note("two", ["hello, other"])
    assert ledger.sessions.continued_by(["hello"]) == "two"  # a turn that is asked again
    assert ledger.sessions.continued_by(["hello, more", "hello"]) == "one"
    assert ledger.sessions.continued_by(["unknown"]) is None


def test_a_text_seen_in_two_sessions_stays_with_the_other_when_one_is_left(ledger: Ledger, tmp_path: Path) -> None:
    metadata = {"chunk": 0, "chunks": 2, "room": "zqxroom"}
    ledger.observe([NewInteraction("shared", session="zqxone", source="s", time=1.0, metadata=metadata)])
    ledger.observe([NewInteraction("shared", session="b", source="t", time=2.0), NewInteraction("own", session="b")])
    ledger.observe([NewInteraction("alone", session="zqxone")])
    ledger.sessions.note("zqxone", ["zqxkey"])
    assert len(ledger.sessions.seen_only_there(session="zqxone", source=None)) == 1
    assert ledger.sessions.leave(session="zqxone", source=None) == 1
    [shared] = [i for i in ledger.interactions() if i.text == "shared"]
    assert (shared.session, shared.source, shared.time, shared.sightings) == ("b", "t", 2.0, 1)
    assert shared.metadata == {"chunk": 0, "chunks": 2}
    assert ledger.sessions.continued_by(["zqxkey"]) is None
    ledger.purge([i.id for i in ledger.interactions(session="zqxone")])
    ledger.close()
    assert b"zqx" not in b"".join(file.read_bytes() for file in tmp_path.glob("*") if file.is_file())


def test_a_history_is_not_kept_longer_where_the_clock_was_set_back(ledger: Ledger, clock: Any) -> None:
    ledger.sessions.note("one", ["hello"])
    clock.now -= 3 * 365 * 86400
    ledger.sessions.note("two", ["other"])
    assert ledger.sessions.continued_by(["hello"]) == "one"
    clock.now += KEPT_SECONDS + 1
    ledger.sessions.note("two", ["more"])
    assert ledger.sessions.continued_by(["hello"]) is None


def test_sources_are_left_like_sessions_and_both_together_mean_one_sighting(ledger: Ledger) -> None:
    ledger.observe([NewInteraction("x", session="a", source="s")])
    ledger.observe([NewInteraction("x", session="b", source="t")])
    assert ledger.sessions.seen_there_too(session="a", source="t") == []
    assert ledger.sessions.leave(session=None, source="s") == 1
    assert [(i.session, i.source, i.sightings) for i in ledger.interactions()] == [("b", "t", 1)]


def test_other_namespaces_with_the_same_session_are_untouched(ledger: Ledger, tmp_path: Path) -> None:
    with Ledger.open(tmp_path, namespace="other") as other:
        for one in (ledger, other):
            for session in ("a", "b"):
                one.observe([NewInteraction("x", session=session)])
            one.sessions.note("a", ["k"])
        ledger.sessions.leave(session="a", source=None)
        assert [i.sightings for i in other.interactions()] == [2]
        assert other.sessions.continued_by(["k"]) == "a"


def test_a_purge_takes_the_histories_that_may_hold_the_text(ledger: Ledger) -> None:
    [seen] = ledger.observe([NewInteraction("x", session="a")])
    ledger.sessions.note("a", ["k"])
    ledger.purge([seen.id])
    assert ledger.sessions.continued_by(["k"]) is None


def test_a_session_of_which_nothing_could_be_recorded_can_be_forgotten(tmp_path: Path) -> None:
    """Its name is in the ledger all the same."""
    with SealMemory.open(tmp_path) as memory:
        memory.ledger.sessions.note("zqxone", ["key"])
        report = memory.forget(session="zqxone")
        assert (report.interactions, report.wiped) == (0, True)
        assert b"zqx" not in b"".join(file.read_bytes() for file in tmp_path.glob("*") if file.is_file())
        with pytest.raises(UnknownIdError):
            memory.forget(session="zqxone")
