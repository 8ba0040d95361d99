"""Properties that hold for any sequence of calls and any text: the ledger against a plain model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.errors import InputError
from seal_memory.ledger import Ledger
from seal_memory.ledger.encoding import normalise
from seal_memory.records import NewInteraction, Status

QUICK = settings(max_examples=40, deadline=None)
fresh = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One file for all examples, each in a namespace of its own: creating files is the slow part."""
    path = tmp_path_factory.mktemp("properties")
    with Ledger.open(path):
        yield path


def anew(folder: Path) -> Ledger:
    return Ledger.open(folder, namespace=f"example-{next(fresh)}")


any_text = st.text(max_size=60)
storable = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(lambda text: normalise(text))


@QUICK
@given(documents=st.lists(storable, max_size=5), query=any_text)
def test_search_never_raises(folder: Path, documents: list[str], query: str) -> None:
    with anew(folder) as ledger:
        ledger.observe([NewInteraction(text) for text in documents])
        hits = ledger.search(query, limit=3)
        assert len(hits) <= 3
        assert all(hit.score > 0 for hit in hits)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@QUICK
@given(text=storable)
def test_a_text_observed_twice_is_one_memory_with_two_sightings(folder: Path, text: str) -> None:
    with anew(folder) as ledger:
        first = ledger.observe([NewInteraction(text)])[0]
        second = ledger.observe([NewInteraction(f"\n{text} ")])[0]
        assert (first.new, second.new, second.id) == (True, False, first.id)
        found = ledger.interactions()
        assert [(seen.text, seen.sightings) for seen in found] == [(text, 2)]


@dataclass
class Memory:
    status: Status
    sightings: int


@dataclass
class Model:
    """What the ledger should hold: text → status and sightings."""

    memories: dict[str, Memory] = field(default_factory=dict)

    def observe(self, texts: list[str]) -> list[bool]:
        new = []
        for text in texts:
            new.append(text not in self.memories)
            self.memories.setdefault(text, Memory(Status.PENDING, 0)).sightings += 1
        return new

    def set_status(self, text: str, status: Status) -> None:
        if self.memories[text].status is not Status.SUPERSEDED:
            self.memories[text].status = status

    def supersede(self, old: str, new: str) -> bool:
        if old == new or self.memories[old].status is Status.SUPERSEDED:
            return False
        self.observe([new])
        if self.memories[new].status is Status.SUPERSEDED:
            self.memories[new].status = Status.PENDING
        self.memories[old].status = Status.SUPERSEDED
        return True


WORDS = ["ash", "birch", "cedar", "elm", "fir"]
word = st.sampled_from(WORDS)
call = st.one_of(
    st.tuples(st.just("observe"), st.lists(word, min_size=1, max_size=3)),
    st.tuples(st.just("status"), word, st.sampled_from([Status.LEARNED, Status.REFUSED])),
    st.tuples(st.just("supersede"), word, word),
    st.tuples(st.just("purge"), word),
)


def apply(ledger: Ledger, model: Model, ids: dict[str, str], step: tuple[object, ...]) -> None:
    """Do one call to both; ids maps a text to its interaction."""
    match step:
        case ("observe", list(texts)):
            seen = ledger.observe([NewInteraction(text) for text in texts])
            assert [s.new for s in seen] == model.observe(texts)
            ids.update(zip(texts, (s.id for s in seen), strict=True))
        case ("status", str(text), Status() as status) if text in ids:
            ledger.set_status([ids[text]], status)
            model.set_status(text, status)
        case ("supersede", str(old), str(new)) if old in ids:
            superseded = model.supersede(old, new)
            if superseded:
                ids[new] = ledger.supersede(ids[old], NewInteraction(new)).id
            elif old == new or ledger.successor(ids[old]) is not None:
                with pytest.raises(InputError):
                    ledger.supersede(ids[old], NewInteraction(new))
        case ("purge", str(text)) if text in ids:
            ledger.purge([ids.pop(text)])
            del model.memories[text]


@QUICK
@given(steps=st.lists(call, max_size=12))
def test_any_sequence_of_calls_agrees_with_the_model(folder: Path, steps: list[tuple[object, ...]]) -> None:
    model, ids = Model(), dict[str, str]()
    with anew(folder) as ledger:
        for step in steps:
            apply(ledger, model, ids, step)
        found = {seen.text: Memory(seen.status, seen.sightings) for seen in ledger.interactions()}
        assert found == model.memories
        for text in WORDS:
            known = text in found and found[text].status is not Status.SUPERSEDED
            assert [hit.interaction.text for hit in ledger.search(text)] == ([text] if known else [])
