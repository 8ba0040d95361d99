"""The router's mixes: the judge's order is kept, weights are a share, and one shard alone is as it always was."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.config import Settings
from seal_memory.engines.mixes import parts_of
from seal_memory.errors import SettingsError
from seal_memory.records import Hit, Interaction, Manifest, Role, ShardEntry, Standing
from seal_memory.routing.router import LEAST_WEIGHT, Router, mix_weights

scores = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8)


def _hit(id: str, text: str) -> Hit:
    seen = Interaction(id, "n", text, Role.USER, None, None, None, 0.0, {}, id, Standing.LEARNED, None, 1)
    return Hit(seen, 1.0)


def _router(hits: Sequence[Hit], *, core: str | None = None, mix: int = 1, temperature: float = 0.1) -> Router:
    shards = tuple(ShardEntry(f"a-{h.interaction.id}", f"e-{h.interaction.id}", (h.interaction.id,)) for h in hits)
    return Router(
        Manifest(shards, core), lambda query, limit: hits[:limit], threshold=0.3, mix=mix, temperature=temperature
    )


LIGHTHOUSE = _hit("1", "The lighthouse at Korrin Bay was built by Maud Ellery.")
HARBOUR = _hit("2", "The harbour master of Korrin Bay keeps a lighthouse lamp.")
DRAWER = _hit("3", "The drawer")
QUESTION = "Who built the Korrin lighthouse?"


@given(scores, st.floats(0.01, 10.0))
def test_weights_are_shares_that_keep_the_order(found: list[float], temperature: float) -> None:
    """They sum to 1, never rise, and nobody is in a mix for nothing."""
    weights = mix_weights(found, temperature)
    assert sum(weights) == pytest.approx(1.0)
    assert 1 <= len(weights) <= len(found)
    assert all(a >= b for a, b in pairwise(weights))
    assert weights[-1] >= LEAST_WEIGHT


@given(scores)
def test_heat_weighs_all_alike_and_cold_follows_the_judge(found: list[float]) -> None:
    weights = mix_weights(found, 1e3)
    assert weights == pytest.approx([1 / len(found)] * len(found), abs=1e-2)
    assert mix_weights([0.9, 0.6], 0.1) == pytest.approx([0.953, 0.047], abs=0.001)
    assert mix_weights([0.9, 0.4], 0.01) == [1.0]


def test_one_shard_is_the_route_it_always_was() -> None:
    """With router_mix 1, and where nobody else comes near."""
    (alone, first) = (_router([LIGHTHOUSE, HARBOUR], mix=n).route(QUESTION) for n in (1, 2))
    assert (alone.mix, alone.applied, [p.adapter_id for p in alone.parts]) == ((), "a-1", ["a-1"])
    assert first.adapter_id == "a-1"
    sure = _router([LIGHTHOUSE, DRAWER], mix=3).route(QUESTION)
    assert (sure.mix, sure.applied) == ((), "a-1")


def test_the_best_few_answer_together() -> None:
    """The route is still the best one's; all parts and their evidence are named, best first."""
    route = _router([LIGHTHOUSE, HARBOUR, DRAWER], mix=2, temperature=1.0).route(QUESTION)
    assert (route.adapter_id, route.episode_id, route.interaction_ids) == ("a-1", "e-1", ("1",))
    assert [p.adapter_id for p in route.parts] == ["a-1", "a-2"]
    assert [p.interaction_ids for p in route.parts] == [("1",), ("2",)]
    assert route.applied is not None
    assert [a for a, _ in parts_of(route.applied)] == ["a-1", "a-2"]
    assert sum(w for _, w in parts_of(route.applied)) == pytest.approx(1.0, abs=1e-3)


def test_it_abstains_as_before() -> None:
    """Below the threshold nothing is mixed: the core, or the base."""
    for core in (None, "a-core"):
        route = _router([DRAWER, HARBOUR], core=core, mix=3).route("What is the zeppelin captain called?")
        assert (route.adapter_id, route.applied, route.mix) == (core, core, ())


def test_the_settings_are_checked() -> None:
    for bad in ({"router_mix": 0}, {"router_mix": 9}, {"router_mix_temperature": 0.0}):
        with pytest.raises(SettingsError, match="router_mix"):
            Settings(**bad)
