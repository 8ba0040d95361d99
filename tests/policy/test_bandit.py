"""The bandit: it finds the better arm, starves none, and does not mind the order of rewards."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory import SealMemory
from seal_memory.config import LearningSettings
from seal_memory.engines.base import Score
from seal_memory.errors import InputError
from seal_memory.learning.candidates import Candidates, Study
from seal_memory.learning.episodes import group_episodes
from seal_memory.learning.plans import trained_tokens
from seal_memory.policy.arms import BanditArms
from seal_memory.policy.bandit import POLICY_ARMS, Bandit, arm_name
from seal_memory.policy.old_quizzes import attracted_items, losses
from seal_memory.policy.rewards import measure
from seal_memory.records import Episode
from seal_memory.self_edits.generator import ARMS, make_self_edit

ROUNDS = 120
rewards = st.lists(st.tuples(st.integers(0, len(POLICY_ARMS) - 1), st.floats(-1, 1)), max_size=30)


def _simulate(means: list[float], *, seed: int, rounds: int = ROUNDS, floor: float = 0.1) -> list[int]:
    """The arm chosen in each round, where arm n earns `means[n]` and noise of 0.15."""
    rng = random.Random(seed)
    bandit = Bandit(POLICY_ARMS[: len(means)], floor=floor)
    chosen = []
    for n in range(rounds):
        (arm,) = bandit.choose(1, seed=f"{seed}:{n}")
        place = bandit.arms.index(arm)
        bandit.add(arm_name(arm), rng.gauss(means[place], 0.15))
        chosen.append(place)
    return chosen


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("better", [0, 3])
def test_a_clearly_better_arm_is_chosen_most_of_the_time(seed: int, better: int) -> None:
    """In the second half of the rounds, wherever it stands."""
    means = [0.1] * 4
    means[better] = 0.4
    late = _simulate(means, seed=seed)[ROUNDS // 2 :]
    assert Counter(late)[better] >= 0.7 * len(late)


@pytest.mark.parametrize("seed", range(4))
def test_no_arm_starves(seed: int) -> None:
    """Not even one that is hopeless: each is tried early, and again in the second half."""
    chosen = _simulate([0.9, 0.0, 0.0, 0.0], seed=seed, floor=0.2)
    assert set(chosen[: ROUNDS // 4]) == set(range(4))
    assert len(set(chosen[ROUNDS // 2 :])) == 4


@given(rewards, st.randoms())
@settings(max_examples=40)
def test_the_order_of_updates_changes_nothing(found: list[tuple[int, float]], rng: random.Random) -> None:
    """Every posterior and every choice is the same to the last bit."""
    named = [(arm_name(POLICY_ARMS[n]), x) for n, x in found]
    shuffled = named.copy()
    rng.shuffle(shuffled)
    one, other = Bandit(rewards=named), Bandit(rewards=shuffled)
    assert [one.posterior(a) for a in one.arms] == [other.posterior(a) for a in other.arms]
    assert one.choose(3, seed="s") == other.choose(3, seed="s")
    assert one.best() == other.best()


@given(rewards, st.integers(1, 20))
@settings(max_examples=40)
def test_arms_repeat_only_when_all_were_given(found: list[tuple[int, float]], size: int) -> None:
    """A stack of candidates tries as many arms as it has places."""
    bandit = Bandit(rewards=[(arm_name(POLICY_ARMS[n]), x) for n, x in found])
    chosen = bandit.choose(size, seed="s")
    assert len(chosen) == size
    assert len(set(chosen)) == min(size, len(POLICY_ARMS))


def test_more_rewards_make_surer() -> None:
    """And pull the mean to what was seen; an arm without rewards is believed to be average."""
    name = arm_name(ARMS[0])
    few, many = Bandit(rewards=[(name, 0.5)] * 2), Bandit(rewards=[(name, 0.5)] * 50)
    assert many.posterior(ARMS[0]).weight > few.posterior(ARMS[0]).weight
    assert many.posterior(ARMS[0]).mean == pytest.approx(0.5)
    assert many.posterior(ARMS[1]).mean == pytest.approx(0.5)
    assert many.posterior(ARMS[1]).tried == 0


def test_without_rewards_the_first_arm_is_best() -> None:
    """What was the plan before there was a bandit."""
    assert Bandit().best() == ARMS[0]


def test_rewards_of_arms_that_are_gone_are_ignored() -> None:
    """A later version may offer others."""
    assert Bandit(rewards=[("gone", 9.0)]).posterior(ARMS[0]).mean == 0.0


def test_bad_arms_and_rewards_are_refused() -> None:
    """With what was expected."""
    with pytest.raises(InputError, match="0 arms"):
        Bandit(())
    with pytest.raises(InputError, match="2 arms, 1 of them different"):
        Bandit((ARMS[0], ARMS[0]))
    with pytest.raises(InputError, match="nan"):
        Bandit().add(arm_name(ARMS[0]), math.nan)
    with pytest.raises(InputError, match="0 arms were asked"):
        Bandit().choose(0, seed="s")


def test_an_arm_turns_steps_rank_and_learning_rate() -> None:
    """Of the settings' plan; the scale of the update stays."""
    episode = Episode("e", None, ())
    plain, settings_ = (
        ARMS[0],
        LearningSettings(rank=8, alpha=16.0, document_epochs=2, document_readings=4, min_steps=1),
    )
    turned = replace(plain, learning_rate_factor=0.5, steps_factor=2.0, rank_factor=2.0)
    one, other = (
        make_self_edit(episode, (), (), (), arm=a, settings=settings_, held_out=(), seed=0, id="x").hyperparameters
        for a in (plain, turned)
    )
    assert (one.rank, one.alpha, one.epochs, one.passes) == (8, 16.0, 2, 4)
    assert (other.rank, other.alpha, other.epochs, other.passes) == (16, 32.0, 4, 8)
    assert other.learning_rate == pytest.approx(one.learning_rate / 2)


# -- in a consolidation -----------------------------------------------------------------------------

Open = Callable[..., SealMemory]


@pytest.fixture
def _easy_quiz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seal_memory.quizzes.generator.MIN_GAIN", -100.0)
    monkeypatch.setattr("seal_memory.policy.guards.MIN_GAIN", -100.0)
    monkeypatch.setattr("seal_memory.policy.guards.MIN_LOGPROB_WITH", -100.0)


def _trained(memory: SealMemory, arms: BanditArms, count_of_arms: int) -> tuple[Candidates, list[Study]]:
    """Two episodes with so many candidates each, all of them trained."""
    number = count()
    bench = replace(memory.workbench, clock=lambda: 0.0, make_id=lambda: f"id{next(number)}")
    made = Candidates(bench, arms=lambda episode_id: arms.choose(episode_id, count_of_arms))
    for n, text in enumerate(("Maud Ellery built the lighthouse at Korrin Bay in 1887.", "Tomas keeps drawer 12.")):
        memory.observe(text, session=str(n))
    episodes = group_episodes(memory.ledger.interactions(), max_tokens=120, count_tokens=memory.engine.count_tokens)
    studies = made.study(episodes)
    made.train([e for s in studies for e in s.edits])
    return made, studies


@pytest.mark.usefixtures("_easy_quiz")
def test_every_candidate_teaches_the_bandit(open_memory: Open) -> None:
    """Its arm and a finite reward, once, in the ledger; the first candidate has the best arm known."""
    memory = open_memory()
    arms = BanditArms(memory.workbench)
    _, studies = _trained(memory, arms, 3)
    assert all(s.arms[0] == ARMS[0] and len(set(s.arms)) == 3 for s in studies)
    arms.learn(studies)
    kept = memory.ledger.policy.arm_rewards()
    assert {r.edit_id for r in kept} == {e.id for s in studies for e in s.edits if s.held_out}
    assert [r.arm for r in kept[:3]] == [arm_name(a) for a in studies[0].arms]
    again = BanditArms(memory.workbench)
    assert again.bandit().best() == max(again.arms, key=lambda a: again.bandit().posterior(a).mean)
    assert again.choose("e", 3) == again.choose("e", 3)


@pytest.mark.usefixtures("_easy_quiz")
def test_one_candidate_gets_the_best_arm_and_is_not_rewarded(open_memory: Open) -> None:
    """There is nothing to compare it with."""
    memory = open_memory()
    arms = BanditArms(memory.workbench)
    _, studies = _trained(memory, arms, 1)
    arms.learn(studies)
    assert [s.arms for s in studies] == [(ARMS[0],)] * len(studies)
    assert memory.ledger.policy.arm_rewards() == []
    memory.ledger.policy.add_arm_rewards([("x", arm_name(ARMS[2]), 0.9), ("y", arm_name(ARMS[0]), 0.1)])
    assert arms.choose("e", 1) == (ARMS[2],)


@pytest.mark.parametrize(("bandit", "place"), [(True, 2), (False, 0)])
def test_a_consolidation_trains_under_the_best_arm_known(open_memory: Open, bandit: bool, place: int) -> None:
    """With the bandit; without it under the first arm. One self-edit an episode."""
    memory = open_memory(policy={"bandit": bandit})
    memory.ledger.policy.add_arm_rewards([("x", arm_name(ARMS[2]), 0.9), ("y", arm_name(ARMS[0]), 0.1)])
    memory.observe("Maud Ellery built the lighthouse at Korrin Bay in 1887.")
    memory.consolidate()
    (edit,) = memory.ledger.self_edits()
    assert sorted(edit.hyperparameters.genre_mix) == sorted(ARMS[place].mix)


@pytest.mark.usefixtures("_easy_quiz")
def test_an_arm_that_trains_longer_pays_for_it(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each candidate's effort is measured against the cheapest of its episode."""
    memory, seen = open_memory(), list[Any]()

    def measured(trials: Any, engine: Any) -> Any:
        seen.extend(trials)
        return measure(trials, engine)

    monkeypatch.setattr("seal_memory.policy.arms.measure", measured)
    arms = BanditArms(memory.workbench)
    candidates, studies = _trained(memory, arms, 3)
    arms.learn(studies)
    tokens = [
        trained_tokens(e, memory.engine, batch_size=memory.settings.learning.batch_size) for e in studies[0].edits
    ]
    assert [t.effort for t in seen[:3]] == pytest.approx([t / min(tokens) - 1 for t in tokens])
    assert candidates.take_tokens() >= sum(tokens)
    assert candidates.take_tokens() == 0


@pytest.mark.usefixtures("_easy_quiz")
def test_a_candidate_pays_for_an_old_question_that_it_attracts(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where the router would send it there, and only for what the old shard knew of it."""
    memory = open_memory()
    (old,) = memory.observe("Maud Ellery built the lighthouse at Korrin Bay.", session="old")
    memory.add_quiz([("Who repaired the lighthouse at Korrin Bay in 1911?", "Maud")], interaction_ids=[old.id])
    memory.consolidate()
    (new,) = memory.observe("Tom Lind repaired the lighthouse at Korrin Bay in 1911.", session="new")
    (other,) = memory.observe("The ferry sails on Sunday.", session="other")
    assert memory.ledger.audits.results()
    shown: dict[str | None, float] = {"new": 0.0, "other": 0.0}
    monkeypatch.setattr(
        "seal_memory.policy.old_quizzes.base_cache.score",
        lambda engine, asked: [Score(math.log(shown.get(p.adapter, 0.9) or 1e-9), 0.0, 1) for p, _ in asked],
    )
    episodes = [Episode(f"e-{i.id}", None, tuple(memory.ledger.interactions(ids=[i.id]))) for i in (new, other)]
    old = attracted_items(episodes, memory.workbench)
    asked = [("new", old[episodes[0].id]), ("other", old[episodes[1].id])]
    assert [len(own.items) for _, own in asked] == [1, 0]
    lost = losses(asked, memory.engine)
    assert 0.0 < lost[0] <= 1.0
    assert lost[1] == 0.0
    shown["new"] = 1.0  # it knows the answer as well
    assert losses(asked, memory.engine) == [0.0, 0.0]
