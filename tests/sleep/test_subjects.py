"""Subjects: what is told of one name on several days becomes one topic, whole, and within the room there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory import SealMemory
from seal_memory.engines.base import Completion, Prompt
from seal_memory.ledger import Ledger
from seal_memory.policy.schedule import published_episodes, training_shards, validation_shards
from seal_memory.records import Manifest, NewInteraction, Role, ShardEntry
from seal_memory.sleep.merging import with_merged
from seal_memory.sleep.subjects import subject_topics
from seal_memory.sleep.topics import Topic

PETRA = ("Petra Varley keeps bees.", "The home of Petra Varley is in Nardmoor.", "Petra Varley sings on Sundays.")
NILO = ("Nilo Ferrow works as a saddler.", "Nilo Ferrow is allergic to celery.")
LUNCH, RAIN = "For lunch there was barley stew.", "It rained all day."
WORDS = {text: len(text.split()) for text in (*PETRA, *NILO, LUNCH, RAIN)}


def _words(text: str) -> int:
    return len(text.split())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path) as opened:
        yield opened


def _days(ledger: Ledger, *days: Sequence[str], role: Role = Role.USER) -> list[ShardEntry]:
    """A shard for each day."""
    shards = []
    for n, texts in enumerate(days):
        seen = ledger.observe([NewInteraction(t, session=f"day-{n}", role=role) for t in texts])
        shards.append(ShardEntry(f"a-{n}", f"e-{n}", tuple(o.id for o in seen)))
    return shards


def _texts(ledger: Ledger, topic: Topic) -> set[str]:
    return {i.text for i in ledger.interactions(ids=list(topic.interaction_ids))}


def _found(ledger: Ledger, shards: Sequence[ShardEntry], room: int = 17) -> list[tuple[set[str], list[str]]]:
    topics = subject_topics(shards, ledger, max_tokens=room, count_tokens=_words)
    assert all(t.split for t in topics)
    return [(_texts(ledger, t), [s.adapter_id for s in t.shards]) for t in topics]


def test_what_is_told_of_one_name_comes_together(ledger: Ledger) -> None:
    """Each subject whole in one topic, what names nobody with it where there is room."""
    shards = _days(ledger, (PETRA[0], NILO[0]), (PETRA[1], LUNCH), (PETRA[2], NILO[1]))
    assert _found(ledger, shards) == [
        (set(PETRA), ["a-0", "a-1", "a-2"]),
        ({*NILO}, ["a-0", "a-2"]),
    ]
    assert _found(ledger, shards, room=18)[1] == ({*NILO, LUNCH}, ["a-0", "a-1", "a-2"])


def test_days_about_nothing_that_others_know_stay(ledger: Ledger) -> None:
    shards = _days(ledger, PETRA, NILO, (LUNCH, RAIN))
    assert _found(ledger, shards) == []


def test_a_document_stays_one(ledger: Ledger) -> None:
    """It is about one thing already, whatever else it names."""
    told, read = _days(ledger, PETRA[:1]), _days(ledger, PETRA[1:], role=Role.DOCUMENT)
    assert _found(ledger, [*told, *read]) == []


def test_a_single_word_stands_for_the_one_longer_name(ledger: Ledger) -> None:
    """Only where one person is called so."""
    shards = _days(ledger, PETRA[:1], ("By now Petra sings well.",))
    assert [shown for _, shown in _found(ledger, shards)] == [["a-0", "a-1"]]
    shards = _days(ledger, ("By now Nilo sings.",), ("Nilo Ferrow paints.",), ("Nilo Quist dances.",))
    assert _found(ledger, shards) == []


def test_a_subject_too_large_is_cut_in_the_order_of_time(ledger: Ledger) -> None:
    shards = _days(ledger, PETRA[:1], PETRA[1:2], PETRA[2:])
    room = WORDS[PETRA[0]] + WORDS[PETRA[1]]
    assert _found(ledger, shards, room=room) == [({*PETRA[:2]}, ["a-0", "a-1"])]


names = st.sampled_from(["Petra Varley", "Nilo Ferrow", "Ulric Bexley", "nobody"])
days = st.lists(st.lists(st.tuples(names, st.integers(0, 6)), min_size=1, max_size=4), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None)
@given(told=days, room=st.integers(4, 40))
def test_regrouping_loses_nothing_and_is_done_once(told: list[list[tuple[str, int]]], room: int) -> None:
    """No statement twice, none too many in one place; all that is asked has a shard; a second time finds nothing."""
    with TemporaryDirectory() as folder, Ledger.open(Path(folder)) as ledger:
        texts = [
            [f"{w} said {d}-{n} {'very ' * k}loudly." for n, (w, k) in enumerate(own)] for d, own in enumerate(told)
        ]
        manifest = Manifest(tuple(_days(ledger, *texts)))
        held = {i for s in manifest.shards for i in s.interaction_ids}
        topics = subject_topics(manifest.shards, ledger, max_tokens=room, count_tokens=_words)
        seen = [i for t in topics for i in t.interaction_ids]
        assert len(seen) == len(set(seen))
        for n, topic in enumerate(topics):
            assert {i for s in topic.shards for i in s.interaction_ids}.issuperset(topic.interaction_ids)
            sizes = [_words(t) for t in _texts(ledger, topic)]
            assert sum(sizes) <= room or len(sizes) == 1
            assert set(topic.shards) <= set(manifest.shards)
            manifest = with_merged(manifest, topic, ShardEntry(f"m-{n}", f"m-{n}", topic.interaction_ids))
        assert {i for s in manifest.shards for i in s.interaction_ids} == held
        assert subject_topics(manifest.shards, ledger, max_tokens=room, count_tokens=_words) == []


# -- asleep -----------------------------------------------------------------------------------------

QUIZ = {
    PETRA[0]: ("Which animals does Petra Varley keep?", "bees"),
    PETRA[1]: ("In what town is Petra Varley at home?", "Nardmoor"),
    NILO[0]: ("What is the trade of Nilo Ferrow?", "saddler"),
    NILO[1]: ("What must Nilo Ferrow not eat?", "celery"),
}


def _learned(memory: SealMemory) -> None:
    """Two days, both about both."""
    for day in ((PETRA[0], NILO[0]), (PETRA[1], NILO[1])):
        for text in day:
            (seen,) = memory.observe(text, session=day[0])
            memory.add_quiz([QUIZ[text]], interaction_ids=[seen.id])
    assert memory.consolidate().published == 2


def _held(memory: SealMemory) -> list[set[str]]:
    current = memory.ledger.current()
    assert current is not None
    return [{i.text for i in memory.ledger.interactions(ids=list(s.interaction_ids))} for s in current.manifest.shards]


def _say(memory: SealMemory, monkeypatch: pytest.MonkeyPatch, say: Callable[[Prompt], str]) -> None:
    def complete(asked: Sequence[Prompt], **_: Any) -> list[Completion]:
        return [Completion(say(p), 1, 1, 1.0) for p in asked]

    monkeypatch.setattr(memory.engine, "complete", complete)


def test_asleep_subjects_leave_their_days(open_memory: Callable[..., SealMemory]) -> None:
    """Two days become two people, each published by itself; the days leave, and come back with a rollback."""
    memory = open_memory(sleep={"by": "subjects"}, learning={"episode_max_tokens": 48})
    _learned(memory)
    before = _held(memory)
    slept = memory.sleep(core=False)
    assert (slept.topics, slept.merged, slept.shards) == (2, 2, (2, 2))
    assert sorted(_held(memory), key=sorted) == sorted([{*PETRA[:2]}, {*NILO}], key=sorted)
    edits = {e.episode_id: e for e in memory.ledger.self_edits()}
    for decision in slept.decisions:
        assert decision.episode_id is not None
        edit = edits[decision.episode_id]
        assert {i for item in edit.items for i in item.interaction_ids} <= set(edit.interaction_ids)
        assert edit.hyperparameters.epochs == 2  # a day's shard has one here: what is alike takes longer
        assert "went from" in decision.reasons[0]
    assert memory.sleep(core=False).topics == 0
    memory.rollback(1)
    assert _held(memory) == before


def test_slept_on_again_it_trains_no_longer_than_the_first_time(open_memory: Callable[..., SealMemory]) -> None:
    """A third day joins the person's shard; what was trained twice as long is not trained four times as long."""
    memory = open_memory(sleep={"by": "subjects"}, learning={"episode_max_tokens": 80})
    _learned(memory)
    memory.sleep(core=False)
    (seen,) = memory.observe(PETRA[2], session="day 3")
    memory.add_quiz([("When does Petra Varley sing?", "Sundays")], interaction_ids=[seen.id])
    assert memory.consolidate().published == 1
    (decision,) = memory.sleep(core=False).decisions
    (edit,) = [e for e in memory.ledger.self_edits() if e.episode_id == decision.episode_id]
    assert seen.id in edit.interaction_ids
    assert edit.hyperparameters.epochs == 2


def test_statements_stay_on_their_side_and_days_are_counted_once(open_memory: Callable[..., SealMemory]) -> None:
    """Who judges a new note-writer was decided when it was first learned, statement by statement."""
    memory = open_memory(sleep={"by": "subjects"}, learning={"episode_max_tokens": 48})
    _learned(memory)

    def sides() -> list[set[str]]:
        found = (validation_shards(memory.ledger), training_shards(memory.ledger))
        return [{i for s in side for i in s.interaction_ids} for side in found]

    before = sides()
    assert memory.sleep(core=False).merged == 2
    assert sides() == before
    assert published_episodes(memory.ledger) == 2


def test_what_is_answered_worse_by_subject_stays_with_its_days(
    open_memory: Callable[..., SealMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked through the router, before and after: the shard that loses is refused, the reason on record."""
    memory = open_memory(sleep={"by": "subjects"}, learning={"episode_max_tokens": 48}, gate={"max_old_loss": 0.0})
    answers = dict(QUIZ.values())
    _say(memory, monkeypatch, lambda p: answers.get(p.messages[-1]["content"], "") if p.adapter else "")
    _learned(memory)
    before, known = _held(memory), set(memory.store.ids())
    _say(memory, monkeypatch, lambda p: answers.get(p.messages[-1]["content"], "") if p.adapter in known else "")
    slept = memory.sleep(core=False)
    assert (slept.merged, slept.refused) == (0, 2)
    assert "from 1.00 to 0.00" in slept.decisions[0].reasons[0]
    assert _held(memory) == before
    assert set(memory.store.ids()) == known
