"""Topics: shards belong together by origin, by words or by confused questions, every two of a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seal_memory.config import AnsweringSettings
from seal_memory.ledger import Ledger
from seal_memory.records import Manifest, NewInteraction, QuizItem, ShardEntry
from seal_memory.routing.builtin import router_maker
from seal_memory.routing.rankers import CoverageRanker
from seal_memory.routing.router import Router, SearchRouter
from seal_memory.sleep import topics as room
from seal_memory.sleep.topics import Similarity, topics

TEXTS = (
    "Maud Ellery built the lighthouse at Korrin Bay.",
    "The lighthouse at Korrin Bay has a lamp of brass.",
    "Tomas Lindqvist keeps the quarterly report in the Oslo office.",
    "Petra grows pears.",
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path) as opened:
        yield opened


def _shards(ledger: Ledger, seen: Sequence[NewInteraction]) -> list[ShardEntry]:
    ids = [o.id for o in ledger.observe(seen)]
    return [ShardEntry(f"a-{n}", f"e-{n}", (i,)) for n, i in enumerate(ids)]


def _router(ledger: Ledger, shards: Sequence[ShardEntry]) -> Router:
    return router_maker(AnsweringSettings())(Manifest(tuple(shards)), ledger)


def _found(ledger: Ledger, shards: Sequence[ShardEntry], alike: float, largest: int = 4) -> list[tuple[list[str], str]]:
    made = topics(shards, ledger, _router(ledger, shards), min_similarity=alike, largest=largest, sizes={})
    return [([s.adapter_id for s in t.shards], t.why) for t in made]


def test_words_in_common_make_a_topic(ledger: Ledger) -> None:
    """Rare words count more; nobody else joins, and nobody has to."""
    shards = _shards(ledger, [NewInteraction(t) for t in TEXTS])
    ((members, why),) = _found(ledger, shards, 0.2)
    assert (members, why[:15]) == (["a-0", "a-1"], "words in common")
    assert _found(ledger, shards, 0.95) == []


def test_one_session_or_document_is_one_topic(ledger: Ledger) -> None:
    """Whatever the words; what has neither is of no document."""
    seen = [NewInteraction(t, session="s" if n in (0, 2) else None) for n, t in enumerate(TEXTS)]
    assert _found(ledger, _shards(ledger, seen), 1.0) == [(["a-0", "a-2"], "one session")]


def test_a_documents_parts_are_one_topic(ledger: Ledger) -> None:
    seen = [NewInteraction(t, title="Harbour", source="h.md" if n < 2 else f"{n}.md") for n, t in enumerate(TEXTS)]
    assert _found(ledger, _shards(ledger, seen), 1.0) == [(["a-0", "a-1"], "one document")]


def test_confused_questions_make_a_topic(ledger: Ledger) -> None:
    """Held-out questions about one shard that the router takes to another, as a share of its questions."""
    shards = _shards(ledger, [NewInteraction(t) for t in TEXTS])
    own = shards[3].interaction_ids
    ledger.add_quiz_items([QuizItem("q", own, "Who keeps the quarterly report in Oslo?", "Petra", True)])
    assert _found(ledger, shards, 0.9) == [(["a-2", "a-3"], "confused questions (1.00)")]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(2, 7),
    values=st.lists(st.floats(0, 1), min_size=21, max_size=21),
    alike=st.floats(0, 1),
    largest=st.integers(2, 4),
)
def test_every_two_of_a_group_are_alike(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, count: int, values: list[float], alike: float, largest: int
) -> None:
    """No shard is in two groups, no group is too large, whatever the similarities."""
    shards = [ShardEntry(f"a-{n}", f"e-{n}", ()) for n in range(count)]
    known = {p: Similarity(v, "so") for p, v in zip(combinations(range(count), 2), values, strict=False)}
    monkeypatch.setattr(room, "similarities", lambda *_: known)
    router = SearchRouter(Manifest(), lambda query, limit: [], CoverageRanker(), threshold=0.5)
    made = topics(shards, ledger, router, min_similarity=alike, largest=largest, sizes={"e-0": 2})
    members = [s.adapter_id for t in made for s in t.shards]
    assert len(members) == len(set(members))
    for topic in made:
        places = [shards.index(s) for s in topic.shards]
        assert all(known[p].value >= alike for p in combinations(places, 2))
        assert 2 <= len(places) + (0 in places) <= largest
