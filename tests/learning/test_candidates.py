"""Candidates, with the tiny model: their quiz, and what is asked of them for the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory._internal.progress import silent
from seal_memory.engines.base import Prompt
from seal_memory.learning.candidates import Candidates, Study, TrainedCandidate
from seal_memory.learning.episodes import group_episodes
from seal_memory.quizzes.generator import make_quiz
from seal_memory.quizzes.reading import MIN_SHARE, ReadingTest
from seal_memory.records import Genre, QuizItem
from seal_memory.self_edits import self_study
from seal_memory.self_edits.generator import ARMS, READER_ARM
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
    return candidates, studies


def test_only_the_quiz_is_asked_of_the_candidate_and_the_base(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every item is held out; all candidates answer in one call, and the base's scores are known from the filter."""
    candidates, studies = _study(open_memory())
    watched = Watched(candidates.engine, monkeypatch)
    found = candidates.train_and_grade(studies)
    own = [(i.question, t.temporary_id) for s, t in zip(studies, found, strict=True) for i in s.held_out]
    base = [(i.question, None) for s in studies for i in s.held_out]
    assert watched.scored == [own]
    assert watched.generated == [own, base]
    assert all(s.quiz == s.held_out for s in studies)


@pytest.mark.parametrize(("reads", "notes"), [(True, 1), (True, 0), (False, 1)])
def test_a_model_that_reads_studies_documents_by_itself_and_nothing_else(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch, reads: bool, notes: int
) -> None:
    """Dialogue is learned as before, and so is everything where the model may not write; then it is not tested.

    A base is tested once.
    """
    asked: list[object] = []

    def tested(engine: object) -> ReadingTest:
        asked.append(engine)
        return ReadingTest(MIN_SHARE if reads else MIN_SHARE - 0.1, 24)

    monkeypatch.setattr("seal_memory.learning.candidates.reading_test", tested)
    memory = open_memory(learning={"notes_per_statement": notes})
    memory.observe(TEXTS[0], session="1")
    memory.observe(TEXTS[1], role="document", title="The report")
    candidates = Candidates(memory.workbench)
    pending = memory.ledger.interactions()
    said, document = candidates.study(group_episodes(pending, max_tokens=120, count_tokens=memory.engine.count_tokens))
    assert len(asked) == bool(notes)
    Candidates(memory.workbench).study([document.episode])
    assert len(asked) == bool(notes)
    assert said.arms == (ARMS[0],)
    assert document.is_self_study == (reads and notes > 0)
    assert document.arms == ((READER_ARM,) if document.is_self_study else (ARMS[0],))
    assert bool(document.facts) == document.is_self_study
    assert (Genre.PASSAGE in {i.genre for i in document.edits[0].items}) != document.is_self_study


@pytest.mark.parametrize("repeats", [1, 90])
def test_a_document_without_facts_or_too_long_for_the_prompt_is_left_to_the_rules(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch, repeats: int
) -> None:
    monkeypatch.setattr(self_study, "condense", lambda pairs, statements: ([], []))
    monkeypatch.setattr("seal_memory.learning.candidates.reading_test", lambda engine: ReadingTest(1.0, 24))
    memory = open_memory(learning={"notes_per_statement": 1})
    monkeypatch.setattr(memory.engine, "max_length", 512)
    memory.observe("Maud Ellery met Tomas Lindqvist. " * repeats, role="document")
    candidates = Candidates(memory.workbench)
    studies = candidates.study(
        group_episodes(memory.ledger.interactions(), max_tokens=120, count_tokens=memory.engine.count_tokens)
    )
    assert [s.arms for s in studies] == [(ARMS[0],)] * len(studies)
    assert all(s.edits[0].items for s in studies)


def test_the_same_seed_trains_the_same_candidate(open_memory: Open, tmp_path: Any) -> None:
    """With the same recalls and grades, in another folder and with a fresh engine."""

    def run(name: str) -> list[TrainedCandidate]:
        candidates, studies = _study(open_memory(tmp_path / name, seed=5))
        return candidates.train_and_grade(studies)

    for one, other in zip(run("one"), run("other"), strict=True):
        assert one.edit.seed == other.edit.seed
        assert (one.base.recall, one.base.logprob) == (other.base.recall, other.base.logprob)
        assert (one.result.recall, one.result.logprob) == (other.result.recall, other.result.logprob)


def test_the_ledger_gets_one_grade_of_base_and_shard_per_held_out_item(open_memory: Open) -> None:
    """And every item is held out."""
    memory = open_memory()
    for n, text in enumerate(TEXTS):
        memory.observe(text, session=str(n))
    assert memory.consolidate().published == 2
    shards = {tuple(a.interaction_ids): a.id for a in memory.ledger.adapters()}
    items = memory.ledger.quiz_items()
    assert items
    assert all(i.held_out for i in items)
    for item in items:
        grades = memory.ledger.grades(quiz_item_ids=[item.id])
        shard = shards[item.interaction_ids]
        assert [(g.adapter_id, g.snapshot_version) for g in grades] == [(None, None), (shard, 1)]
        assert grades[0].logprob == item.logprob_without  # measured once, by the quiz gate


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
