"""Drift: the fixed text and the unrelated prompts, read as the published memory would read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from seal_memory.engines.base import Prompt
from seal_memory.language.text import content_words
from seal_memory.learning import drift
from seal_memory.records import Hit, Interaction, Manifest, Role, ShardEntry, Status
from seal_memory.routing.rankers import CoverageRanker
from seal_memory.routing.router import Router, SearchRouter


def _greedy_router(threshold: float, core: str | None = None) -> Router:
    """A router over one shard whose only interaction holds every word of every drift text."""
    words = {w for t in (*drift.fixed_paragraphs(), *drift.unrelated_questions()) for w in content_words(t)}
    everything = Interaction(
        "i", "default", " ".join(words), Role.USER, None, None, None, 0.0, {}, "", Status.LEARNED, None, 1
    )
    manifest = Manifest((ShardEntry("a-shard", "e", ("i",)),), core)
    return SearchRouter(manifest, lambda query, limit: [Hit(everything, 1.0)], CoverageRanker(), threshold=threshold)


def _nothing(query: str, limit: int) -> Sequence[Hit]:
    return []


def test_the_shipped_texts_are_there() -> None:
    """Enough of both to measure by."""
    assert len(drift.fixed_paragraphs()) >= 5
    assert len(drift.unrelated_questions()) >= 20
    assert len(set(drift.unrelated_questions())) == len(drift.unrelated_questions())


def test_nothing_routed_is_no_drift_and_costs_no_scoring(fake_engine: Callable[..., Any]) -> None:
    """The base is the base."""

    def refuse(prompt: Prompt, target: str) -> float:
        raise AssertionError("scored")

    router = SearchRouter(Manifest(), _nothing, CoverageRanker(), threshold=0.3)
    assert drift.routed_perplexity_increase(fake_engine(likely=refuse), router) == 0.0
    assert drift.misrouted_share(router) == 0.0


@pytest.mark.parametrize(("asked", "read"), [(None, len(drift.fixed_paragraphs())), (3, 3), (999, 10)])
def test_of_the_fixed_text_as_many_paragraphs_are_read_as_asked(
    fake_engine: Callable[..., Any], asked: int | None, read: int
) -> None:
    """Spread over the whole; more than there are is all of them."""
    seen = []

    def likely(prompt: Prompt, target: str) -> float:
        seen.append(target)
        return -2.0

    assert drift.fixed_text_logprobs(fake_engine(likely=likely), ["a"], paragraphs=asked) == [pytest.approx(-2.0)]
    assert len(seen) == len(set(seen)) == read
    assert seen[0] == drift.fixed_paragraphs()[0]


def test_what_is_routed_is_measured(fake_engine: Callable[..., Any]) -> None:
    """Under the adapter every token is half as likely: perplexity doubles; every prompt is misrouted."""
    engine = fake_engine(likely=lambda prompt, target: -2.0 - (math.log(2) if prompt.adapter == "a-shard" else 0))
    router = _greedy_router(0.9)
    assert drift.routed_perplexity_increase(engine, router) == pytest.approx(1.0)
    assert drift.misrouted_share(router) == 1.0


def test_a_core_that_sees_everything_is_not_misrouting(fake_engine: Callable[..., Any]) -> None:
    """But its perplexity counts."""
    engine = fake_engine(likely=lambda prompt, target: -3.0 if prompt.adapter == "a-core" else -2.0)
    router = SearchRouter(Manifest((), "a-core"), _nothing, CoverageRanker(), threshold=0.3)
    assert drift.misrouted_share(router) == 0.0
    assert drift.routed_perplexity_increase(engine, router) == pytest.approx(math.e - 1)


def test_perplexity_weighs_tokens_not_paragraphs(fake_engine: Callable[..., Any]) -> None:
    """A long paragraph counts for more than a short one."""
    first = drift.fixed_paragraphs()[0]
    engine = fake_engine(likely=lambda prompt, target: -5.0 if target == first else -1.0)
    lengths = [len(p.split()) for p in drift.fixed_paragraphs()]
    expected = math.exp((5 * lengths[0] + sum(lengths[1:])) / sum(lengths))
    assert drift.perplexity(engine, [None] * len(lengths)) == pytest.approx(expected)
