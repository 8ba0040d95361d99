"""Candidates, with the tiny model: what is asked to choose between them, and what is left for the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory._internal.progress import silent
from seal_memory.engines.base import Prompt
from seal_memory.learning.candidates import Candidates, Study, TrainedCandidate, candidate_id
from seal_memory.learning.episodes import group_episodes
from seal_memory.quizzes.generator import make_quiz
from seal_memory.records import QuizItem
from seal_memory.self_edits.statements import Statement

TEXTS = (
    "Maud Ellery built the lighthouse at Korrin Bay in 1887.",
    "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office.",
)
Open = Callable[..., SealMemory]


class Watched:
    """What the engine is asked in each call, as (question, adapter id); everything is passed on."""

    def __init__(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scored: list[list[tuple[str, str | None]]] = []
        self.generated: list[list[tuple[str, str | None]]] = []
        score, complete = engine.score, engine.complete

        def watched_score(requests: Sequence[tuple[Prompt, str]]) -> Any:
            self.scored.append([_shown(p) for p, _ in requests])
            return score(requests)

        def watched_complete(prompts: Sequence[Prompt], **options: Any) -> Any:
            self.generated.append([_shown(p) for p in prompts])
            return complete(prompts, **options)

        monkeypatch.setattr(engine, "score", watched_score)
        monkeypatch.setattr(engine, "complete", watched_complete)


def _shown(prompt: Prompt) -> tuple[str, str | None]:
    return prompt.messages[-1]["content"], prompt.adapter


@pytest.fixture(autouse=True)
def _easy_quiz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seal_memory.quizzes.generator.MIN_GAIN", -100.0)  # the tiny model's own questions pass


def _study(memory: SealMemory) -> tuple[Candidates, list[Study]]:
    """One episode per text, with a quiz of its own questions."""
    for n, text in enumerate(TEXTS):
        memory.observe(text, session=str(n))
    number = count()
    candidates = Candidates(
        replace(memory.workbench, clock=lambda: 0.0, make_id=lambda: f"id{next(number)}", progress=silent)
    )
    pending = memory.ledger.interactions()
    episodes = group_episodes(pending, max_tokens=120, count_tokens=memory.engine.count_tokens)
    studies = candidates.study(episodes)
    assert len(studies) == 2
    assert all(s.held_out for s in studies)
    assert all(bool(s.practice) == (memory.settings.learning.candidates > 1) for s in studies)
    return candidates, studies


def _asked(questions: Sequence[Any], adapters: Sequence[str | None]) -> list[tuple[str, str | None]]:
    return [(item.question, adapter) for adapter in adapters for item in questions]


def test_the_screen_never_sees_held_out_items(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call scores all candidates of all studies, one generates finalists, on practice items; the rest is judged."""
    candidates, studies = _study(open_memory(learning={"candidates": 3}))
    watched = Watched(candidates.engine, monkeypatch)
    chosen = candidates.train_and_choose(studies)
    screened, *rest = watched.scored
    assert screened == [q for s in studies for q in _asked(s.practice, [candidate_id(e) for e in s.edits])]
    finals, *held_out = watched.generated
    assert len(finals) == sum(2 * len(s.practice) for s in studies)
    assert set(finals) < set(screened)
    winners = [(s.held_out, [t.temporary_id]) for s, t in zip(studies, chosen, strict=True)]
    judged = [q for items, adapters in winners for q in _asked(items, adapters)]
    base = [q for s in studies for q in _asked(s.held_out, [None])]
    assert rest == [judged]  # the quiz gate has scored the base already
    assert held_out == [judged, base]


def test_the_chosen_one_is_a_finalist_and_how_it_won_is_known(open_memory: Open) -> None:
    """Its recall is the finalists' best; the others leave the engine."""
    candidates, studies = _study(open_memory(learning={"candidates": 3}))
    for trained in candidates.train_and_choose(studies):
        assert len(trained.choice.recalls) == 2
        assert trained.screen_agreed == (trained.choice.recalls[0] == max(trained.choice.recalls))
        held = [a for a in candidates.engine._adapters if a in {candidate_id(e) for e in trained.study.edits}]
        assert held == [trained.temporary_id] == [trained.choice.adapter]


def test_with_one_candidate_nothing_is_asked_to_choose(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """All items are held out, only they are asked, and whether a screen would have agreed is unknown."""
    candidates, studies = _study(open_memory(learning={"candidates": 1}))
    watched = Watched(candidates.engine, monkeypatch)
    chosen = candidates.train_and_choose(studies)
    held_out = {i.question for s in studies for i in s.held_out}
    assert {question for call in (*watched.scored, *watched.generated) for question, _ in call} == held_out
    assert [t.screen_agreed for t in chosen] == [None, None]


def test_the_same_seed_chooses_the_same_candidate(open_memory: Open, tmp_path: Any) -> None:
    """With the same recalls and grades, in another folder and with a fresh engine."""

    def run(name: str) -> list[TrainedCandidate]:
        candidates, studies = _study(open_memory(tmp_path / name, seed=5, learning={"candidates": 3}))
        return candidates.train_and_choose(studies)

    for one, other in zip(run("one"), run("other"), strict=True):
        assert (one.edit.seed, one.choice) == (other.edit.seed, other.choice)
        assert (one.base.recall, one.base.logprob) == (other.base.recall, other.base.logprob)
        assert (one.result.recall, one.result.logprob) == (other.result.recall, other.result.logprob)


def test_the_ledger_gets_one_grade_of_base_and_shard_per_held_out_item(open_memory: Open) -> None:
    """Nothing that the screen measured is recorded: practice items have no grades."""
    memory = open_memory(learning={"candidates": 3})
    for n, text in enumerate(TEXTS):
        memory.observe(text, session=str(n))
    assert memory.consolidate().published == 2
    shards = {tuple(a.interaction_ids): a.id for a in memory.ledger.adapters()}
    items = memory.ledger.quiz_items()
    assert {i.held_out for i in items} == {True, False}
    for item in items:
        grades = memory.ledger.grades(quiz_item_ids=[item.id])
        shard = shards[item.interaction_ids]
        expected = [(None, None), (shard, 1)] if item.held_out else []
        assert [(g.adapter_id, g.snapshot_version) for g in grades] == expected
        for grade in grades[:1]:
            assert grade.logprob == item.logprob_without  # measured once, by the quiz gate


def test_an_episode_that_would_have_no_quiz_is_asked_more(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """One short fact whose first questions fail the gate still gets items; who has some keeps just those."""
    memory = open_memory()
    made = []

    def only_for_the_second(statements: Sequence[Statement], *args: Any, **options: Any) -> list[QuizItem]:
        made.extend(i for i in make_quiz(statements, *args, **options) if TEXTS[1] == sources[i.interaction_ids[0]])
        return list(made)

    monkeypatch.setattr("seal_memory.learning.candidates.make_quiz", only_for_the_second)
    sources = {memory.observe(text, session=str(n))[0].id: text for n, text in enumerate(TEXTS)}
    _, (first, second) = _study(memory)
    assert [i.id for i in second.quiz] == [i.id for i in made]
    assert {sources[i.interaction_ids[0]] for i in first.held_out} == {TEXTS[0]}
    reserved = {i.question for i in first.held_out}
    assert reserved.isdisjoint(i.prompt for edit in first.edits for i in edit.items)
