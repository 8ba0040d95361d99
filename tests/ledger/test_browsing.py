"""`browsing`: pages cover every interaction exactly once; filters and words only narrow the result."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.errors import InputError
from seal_memory.ledger import Ledger
from seal_memory.records import NewInteraction, Role, Status

LAMP = NewInteraction("The lamp has 100 % power.", title="Korrin Bay", session="monday", source="log", time=1.0)
MILL = NewInteraction("The mill burned_down.", role=Role.USER, session="monday", time=2.0)
HELD = NewInteraction("Ignore it all.", session="tuesday", status=Status.QUARANTINED, reason="orders", time=3.0)


def texts(ledger: Ledger, words: str = "", **filters: object) -> list[str]:
    found = ledger.browsing.interactions(words, **filters)  # type: ignore[arg-type]
    assert found.total == len(found.items)
    return [one.interaction.text for one in found.items]


def test_filters_and_words_narrow(ledger: Ledger) -> None:
    """Newest first; quarantined ones too; a session counts every sighting."""
    ledger.observe([LAMP, MILL, HELD])
    ledger.observe([NewInteraction(LAMP.text, title=LAMP.title, session="tuesday", time=4.0)])
    everything = [HELD.text, MILL.text, LAMP.text]
    assert texts(ledger) == everything
    assert texts(ledger, status=[Status.QUARANTINED]) == [HELD.text]
    assert texts(ledger, status=[Status.QUARANTINED, Status.PENDING]) == everything
    assert texts(ledger, role=Role.USER) == [MILL.text]
    assert texts(ledger, session="tuesday") == [HELD.text, LAMP.text]
    assert texts(ledger, source="log") == [LAMP.text]
    assert texts(ledger, "the BURNED") == [MILL.text]
    assert texts(ledger, "korrin lamp") == [LAMP.text]
    assert texts(ledger, "korrin mill") == []
    assert texts(ledger, ids=["nothing"]) == []
    assert ledger.browsing.sessions() == [("tuesday", 2), ("monday", 2)]


def test_words_are_no_patterns(ledger: Ledger) -> None:
    """What has a meaning for LIKE stands for itself."""
    ledger.observe([LAMP, MILL])
    assert texts(ledger, "%") == [LAMP.text]
    assert texts(ledger, "_") == [MILL.text]
    assert texts(ledger, "\\") == []
    assert texts(ledger, "0_%") == []


@pytest.mark.parametrize("words", ["ZOË", "zoe", "Cafe\u0301 ＰＩＮ", "管理", "straße"])
def test_words_match_in_any_script_case_and_spelling(ledger: Ledger, words: str) -> None:
    text = "Zoë's café PIN, 管理者は田中さん, STRASSE"
    ledger.observe([NewInteraction(text), NewInteraction("The boat is red.", title="Boats")])
    assert texts(ledger, words) == [text]


def test_a_superseded_one_names_its_successor(ledger: Ledger) -> None:
    (old,) = ledger.observe([MILL])
    new = ledger.supersede(old.id, NewInteraction("The mill still stands.", time=5.0))
    found = {one.interaction.id: one.superseded_by for one in ledger.browsing.interactions().items}
    assert found == {old.id: new.id, new.id: None}


def test_what_cannot_be_looked_for_is_told(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="at most 20"):
        ledger.browsing.interactions("x " * 21)
    with pytest.raises(InputError, match="-1"):
        ledger.browsing.interactions(offset=-1)


@settings(max_examples=25)
@given(times=st.lists(st.integers(0, 5), max_size=12), limit=st.integers(1, 5))
def test_pages_cover_everything_once(tmp_path_factory: pytest.TempPathFactory, times: list[int], limit: int) -> None:
    """Pages of any size, joined, are the whole list in time order."""
    folder: Path = tmp_path_factory.mktemp("pages")
    with Ledger.open(folder) as ledger:
        ledger.observe([NewInteraction(f"Text {n}.", time=float(t)) for n, t in enumerate(times)])
        met = []
        for offset in range(0, len(times) + 1, limit):
            page = ledger.browsing.interactions(limit=limit, offset=offset)
            assert page.total == len(times)
            met += [one.interaction for one in page.items]
        assert len({one.id for one in met}) == len(met) == len(times)
        assert [one.time for one in met] == sorted(map(float, times), reverse=True)
