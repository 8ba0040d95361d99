"""ReST-EM rounds: which note sets are kept, and who is promoted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory import SealMemory
from seal_memory._internal.progress import silent
from seal_memory.engines.base import Completion, Prompt
from seal_memory.errors import BusyError
from seal_memory.learning.candidates import Candidates, Study
from seal_memory.learning.episodes import group_episodes
from seal_memory.policy import rest_em
from seal_memory.policy.rest_em import (
    Exploration,
    RoundPlan,
    explore,
    improve,
    reward_reliability,
    select,
    write_sets,
)
from seal_memory.policy.trials import Entry, rewards_of
from seal_memory.policy.versions import NoteWriters
from seal_memory.records import Genre, PolicyExample

TEXTS = tuple(
    f"{name} built the lighthouse at {place} Bay in 18{n}7."
    for n, (name, place) in enumerate(
        {
            "Maud Ellery": "Korrin",
            "Tomas Lind": "Dunmorrow",
            "Iwan Sorrel": "Oslo",
            "Rosa Klein": "Elm",
            "Ada Bell": "Tarn",
            "Nils Berg": "Skerry",
            "Ina Moss": "Gull",
            "Otto Fenn": "Heron",
        }.items()
    )
)
PLAN = RoundPlan(samples=2, per_statement=2, seeds=2, most_seeds=3)
Open = Callable[..., SealMemory]


def _example(name: str) -> PolicyExample:
    return PolicyExample(name, ("i",), Genre.QA, f"statement {name}", "a", f"target {name}")


def _explored(
    rewards: Sequence[Sequence[float]], baseline: Sequence[float], bonus: Sequence[float] | None = None
) -> Exploration:
    sets = tuple((_example(f"s{n}"),) for n in range(len(rewards)))
    return Exploration(
        "e", sets, tuple(tuple(r) for r in rewards), tuple(bonus or [0.0] * len(rewards)), tuple(baseline)
    )  # fmt: skip


# -- selecting --------------------------------------------------------------------------------------


def test_the_best_set_that_really_beats_the_baseline_is_kept() -> None:
    """With its gain as its reward; one of each interaction, none where none is better."""
    better = _explored([[0.30, 0.31], [0.50, 0.51], [0.05, 0.05]], [0.1, 0.1])
    worse = _explored([[0.05, 0.06]], [0.1, 0.1])
    kept = select([better, worse], margin=1.0)
    assert [e.id for e in kept] == ["s1"]
    assert kept[0].reward == pytest.approx(0.405)


def test_a_gain_within_the_noise_is_not_kept() -> None:
    """The same mean gain that is kept where rewards repeat themselves."""
    assert select([_explored([[0.2, 0.2]], [0.1, 0.1])], margin=1.0)
    assert not select([_explored([[-0.4, 0.8]], [0.4, -0.2])], margin=1.0)


def test_diversity_chooses_among_winners_and_makes_none() -> None:
    """A baseline has no notes, so the bonus must not count against it."""
    assert [e.id for e in select([_explored([[0.3, 0.3], [0.29, 0.29]], [0.1, 0.1], [0.0, 0.05])], margin=1.0)] == [
        "s1"
    ]
    assert not select([_explored([[0.1, 0.1]], [0.1, 0.1], [0.05])], margin=1.0)


reward_rows = st.lists(st.lists(st.floats(-1, 1), min_size=2, max_size=2), min_size=1, max_size=4)


@given(st.lists(st.tuples(reward_rows, st.lists(st.floats(-1, 1), min_size=2, max_size=2)), max_size=5))
@settings(max_examples=30)
def test_a_larger_margin_keeps_no_more(found: list[tuple[list[list[float]], list[float]]]) -> None:
    """And what is kept has a positive gain."""
    explored = [_explored(rows, base) for rows, base in found]
    loose, strict = select(explored, margin=0.5), select(explored, margin=2.0)
    assert len(strict) <= len(loose) <= len(explored)
    assert all(e.reward is not None and e.reward > 0 for e in loose)


def test_reliability_is_within_interactions() -> None:
    """That one passage is easier than another is no reliability; too few sets give none."""
    easy_and_hard = [_explored([[a, b], [b, a]], [0, 0]) for a, b in ((0.9, 0.8), (0.1, 0.2), (0.5, 0.6), (0.3, 0.2))]
    found = reward_reliability(easy_and_hard)
    assert found is not None
    assert found.single < 0.1
    repeated = reward_reliability([_explored([[0.9, 0.9], [0.1, 0.1]], [0, 0]) for _ in range(3)])
    assert repeated is not None
    assert repeated.single == pytest.approx(1.0)
    assert reward_reliability([]) is None
    assert reward_reliability([_explored([[0.1, 0.2]], [0, 0])]) is None


# -- with the tiny model ----------------------------------------------------------------------------


@dataclass
class Workshop:
    memory: SealMemory
    candidates: Candidates
    writers: NoteWriters
    studies: list[Study]


@pytest.fixture
def workshop(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """Eight studies with a quiz of four-word questions; the engine writes good notes, training is real."""
    for name in ("seal_memory.quizzes.generator.MIN_GAIN", "seal_memory.policy.guards.MIN_GAIN"):
        monkeypatch.setattr(name, -100.0)
    monkeypatch.setattr("seal_memory.policy.guards.MIN_LOGPROB_WITH", -100.0)
    monkeypatch.setattr("seal_memory.policy.note_writer.EPOCHS", 1)
    memory = open_memory(learning={"stack_size": 8})
    ids = [memory.observe(text, session=str(n))[0].id for n, text in enumerate(TEXTS)]
    for n, seen in enumerate(ids):
        memory.add_quiz([(f"Who was engineer number {n} there?", TEXTS[n].split(" built")[0])], interaction_ids=[seen])
    number = count()
    candidates = Candidates(
        replace(memory.workbench, clock=lambda: 0.0, make_id=lambda: f"id{next(number)}", progress=silent)
    )
    episodes = group_episodes(memory.ledger.interactions(), max_tokens=120, count_tokens=memory.engine.count_tokens)
    studies = candidates.study(episodes)
    turn = count()

    def complete(asked: Sequence[Prompt], **_: Any) -> list[Completion]:
        return [Completion(_say(p, next(turn)), 1, 1, 1.0) for p in asked]

    monkeypatch.setattr(memory.engine, "complete", complete)
    writers = NoteWriters(replace(memory.workbench, clock=lambda: 0.0))
    return Workshop(memory, candidates, writers, studies)


def _say(prompt: Prompt, turn: int) -> str:
    statement, _, answer = prompt.messages[-1]["content"].removeprefix("Text: ").partition("\nAnswer: ")
    opening = ("Which is it", "What belongs here", "Say which")[turn % 3]
    if answer:
        return f"{opening}: {statement.rstrip('.').replace(answer, 'which').strip()}?"
    return f"{opening} and so on: {statement}"


def test_exploring_rewards_every_set_under_the_same_seeds(workshop: Workshop) -> None:
    """Sets and baseline have as many rewards; unsure studies get more seeds; the engine keeps no candidate."""
    found = explore(workshop.studies[:4], workshop.candidates, writer=None, plan=PLAN, seed=0)
    assert [e.episode_id for e in found] == [s.episode.id for s in workshop.studies[:4]]
    for one in found:
        assert 1 <= len(one.sets) <= PLAN.samples
        assert len(one.sets) == len(one.rewards) == len(one.bonus)
        assert {len(r) for r in one.rewards} == {len(one.baseline)}
        assert PLAN.seeds <= len(one.baseline) <= PLAN.most_seeds
    assert not [a for a in workshop.memory.engine._adapters if a.startswith("candidate:")]


def test_the_same_candidate_under_the_same_seed_earns_the_same(workshop: Workshop) -> None:
    """In another stack, beside others; another seed earns something else."""
    (notes,) = write_sets(workshop.studies[:1], workshop.candidates, writer=None, plan=PLAN, seed=0)
    entry, other = Entry(workshop.studies[0], notes.items), Entry(workshop.studies[1], ())
    (one,), (two, _) = (rewards_of(entries, workshop.candidates, seeds=[3, 4]) for entries in ([entry], [entry, other]))
    assert [r.parts.recall for r in one] == pytest.approx([r.parts.recall for r in two], abs=1e-4)
    assert one[0].parts.rival is None
    assert two[0].parts.rival is not None


def test_every_candidate_of_a_full_stack_meets_another_memory(workshop: Workshop) -> None:
    """Also where stacks are cut in the middle of an interaction's candidates."""
    entries = [Entry(s, ()) for s in workshop.studies[:2] for _ in range(6)]
    rewards = rewards_of(entries, workshop.candidates, seeds=[0])
    assert all(own[0].parts.rival is not None for own in rewards)


def test_longer_notes_are_cut_at_the_budget(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Length gaming: a writer that never stops trains no more than one that does."""
    monkeypatch.setattr("seal_memory.policy.trials.NOTE_BUDGET", 0.01)
    (notes,) = write_sets(workshop.studies[:1], workshop.candidates, writer=None, plan=PLAN, seed=0)
    assert (notes.items, notes.examples) == ((), ())


def test_a_quiz_that_nothing_can_use_explores_nothing(workshop: Workshop) -> None:
    """No inner loop is spent on it."""
    blind = [Study(s.episode, s.statements) for s in workshop.studies]
    assert explore(blind, workshop.candidates, writer=None, plan=PLAN, seed=0) == []


def _kept(workshop: Workshop) -> list[PolicyExample]:
    sets = write_sets(workshop.studies[:3], workshop.candidates, writer=None, plan=PLAN, seed=0)
    return [e for s in sets for e in s.examples]


def _improve(
    workshop: Workshop,
    kept: Sequence[PolicyExample],
    *,
    judges: Sequence[Study] | None = None,
    plan: RoundPlan = PLAN,
) -> Any:
    return improve(
        kept, set(), workshop.studies if judges is None else judges, workshop.candidates, workshop.writers,
        plan=plan, seed=0,
    )  # fmt: skip


def test_a_better_writer_is_promoted_on_what_neither_has_seen(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only unseen interactions judge; the next one learns the old examples too."""
    judged_by: list[list[str]] = []

    def compare(studies: Sequence[Study], *_: Any, **__: Any) -> list[list[float]]:
        judged_by.append([s.episode.id for s in studies])
        return [[0.1] * len(studies), [0.3] * len(studies)]

    monkeypatch.setattr(rest_em, "compare", compare)
    kept = _kept(workshop)
    first = _improve(workshop, kept[:2])
    assert first.promoted
    assert workshop.writers.current() == first
    seen = {i for e in kept[:2] for i in e.interaction_ids}
    assert judged_by == [[s.episode.id for s in workshop.studies if not seen & set(s.episode.interaction_ids)]]
    second = _improve(workshop, kept[2:3])
    assert (second.parent, second.measures["examples"]) == (first.version, 3.0)
    assert len(workshop.memory.ledger.policy.examples(second.version)) == 3


def test_a_writer_that_is_not_better_is_evidence_only(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one goes on writing; the row says why; the engine has let go of the new one."""
    monkeypatch.setattr(rest_em, "compare", lambda studies, *_, **__: [[0.3] * len(studies), [0.1] * len(studies)])
    found = _improve(workshop, _kept(workshop)[:2])
    assert not found.promoted
    assert "lower bound" in found.reasons[0]
    assert found.measures["gain"] == pytest.approx(-0.2)
    assert workshop.writers.current() is None
    assert rest_em.NEW_WRITER not in workshop.memory.engine._adapters


def test_the_steps_of_a_writers_training_are_told(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lease is renewed and a stop request is seen, which ends it there, before anything is judged."""
    monkeypatch.setattr(rest_em, "compare", lambda studies, *_, **__: [[0.1] * len(studies), [0.3] * len(studies)])
    kept, told = _kept(workshop)[:2], []

    def progress(phase: str, done: int, total: int) -> None:
        told.append((phase, done))
        raise BusyError("stopped")

    workshop.candidates.progress = progress
    with pytest.raises(BusyError):
        _improve(workshop, kept)
    assert told == [("train", 1)]
    assert workshop.memory.ledger.policy.versions() == []


def test_without_the_gate_every_writer_takes_over(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in SEAL; that the judges were against it is on record."""
    monkeypatch.setattr(rest_em, "compare", lambda studies, *_, **__: [[0.3] * len(studies), [0.1] * len(studies)])
    found = _improve(workshop, _kept(workshop)[:2], plan=replace(PLAN, gated=False))
    assert found.promoted
    assert found.measures["accepted"] == 0.0
    assert "lower bound" in found.reasons[0]
    current = workshop.writers.current()
    assert current is not None
    assert current.version == found.version


def test_without_anything_kept_nothing_is_trained(workshop: Workshop) -> None:
    """And that is recorded."""
    found = _improve(workshop, [])
    assert not found.promoted
    assert "No note set beat the baseline" in found.reasons[0]


def test_nobody_to_judge_promotes_nobody(workshop: Workshop) -> None:
    """Training interactions are no judges."""
    found = _improve(workshop, _kept(workshop), judges=workshop.studies[:2])
    assert not found.promoted
    assert "at least 4" in found.reasons[0]
