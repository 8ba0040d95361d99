"""Forget, correct and rollback while a consolidation runs: each is done at once, and nothing of it is published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory.errors import ChangedError
from seal_memory.records import Status

FACTS = {
    "lighthouse": ("Maud Ellery built the lighthouse at Korrin Bay in 1887.", "Who built the lighthouse?", "Maud"),
    "report": ("Tomas Lindqvist keeps the report in drawer 12.", "Where is the report?", "drawer 12"),
    "kettle": ("Ines Karmak sold the kettle to Pelle Grandin.", "Who sold the kettle?", "Ines Karmak"),
}

Open = Callable[..., SealMemory]
Edit = Callable[[SealMemory, str], object]

EDITS: dict[str, Edit] = {
    "forget": lambda memory, id: memory.forget(id),
    "correct": lambda memory, id: memory.correct(id, "Maud Ellery built the harbour at Korrin Bay in 1888."),
}


def observe(memory: SealMemory, name: str) -> str:
    text, question, answer = FACTS[name]
    (seen,) = memory.observe(text, session=name)
    memory.add_quiz([(question, answer)], interaction_ids=[seen.id])
    return seen.id


def held(memory: SealMemory) -> set[str]:
    current = memory.ledger.current()
    return {i for s in current.manifest.shards for i in s.interaction_ids} if current is not None else set()


def once_at(memory: SealMemory, monkeypatch: pytest.MonkeyPatch, point: str, act: Callable[[], object]) -> list[str]:
    """Call `act` at the first progress of a phase, or before files are written ("write") or committed ("commit")."""
    done: list[str] = []

    def first() -> None:
        if not done:
            done.append(point)
            act()

    if point == "write":
        store = memory.store.write

        def writing(*args: Any, **options: Any) -> Any:
            first()
            return store(*args, **options)

        monkeypatch.setattr(memory.store, "write", writing)
    elif point == "commit":
        monkeypatch.setattr(
            "seal_memory.learning.consolidate.commit_points.reached",
            lambda name: first() if name == "snapshot-before-commit" else None,
        )
    else:
        memory.progress = lambda phase, made, total: first() if phase == point else None
    return done


@pytest.mark.parametrize("edit", list(EDITS))
@pytest.mark.parametrize("point", ["quiz", "train", "commit"])
def test_what_is_edited_while_it_is_learned_is_not_published_and_the_rest_is(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch, point: str, edit: str
) -> None:
    """No error on either side, no text, no adapter and no file is left of it."""
    memory = open_memory()
    gone, stays = observe(memory, "lighthouse"), observe(memory, "report")
    done = once_at(memory, monkeypatch, point, lambda: EDITS[edit](memory, gone))
    memory.consolidate()
    assert done == [point]
    assert held(memory) == {stays}
    assert memory.ledger.adapters_trained_on([gone]) == []
    assert set(memory.store.ids()) == {a.id for a in memory.ledger.adapters()}
    assert memory.ledger.interactions(ids=[stays])[0].status is Status.LEARNED
    assert [d.accepted for d in memory.ledger.decisions()] == [True]
    if edit == "correct":
        (new,) = [i for i in memory.ledger.interactions() if i.id not in (gone, stays)]
        assert new.status is Status.PENDING


@pytest.mark.parametrize("edit", list(EDITS))
@pytest.mark.parametrize("point", ["train", "write"])
def test_what_was_learned_before_is_not_published_again(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch, point: str, edit: str
) -> None:
    """A new shard is trained beside an old one that goes meanwhile."""
    memory = open_memory()
    old = observe(memory, "lighthouse")
    memory.consolidate()
    new = observe(memory, "report")
    once_at(memory, monkeypatch, point, lambda: EDITS[edit](memory, old))
    report = memory.consolidate()
    assert held(memory) == {new}
    assert report.published == 1
    assert len(report.decisions) == 1
    assert all(old not in s.interaction_ids for v in memory.history() for s in v.manifest.shards)


def test_a_rollback_during_training_is_not_undone_by_what_is_published_next(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = open_memory()
    observe(memory, "lighthouse")
    memory.consolidate()
    new = observe(memory, "report")
    once_at(memory, monkeypatch, "commit", lambda: memory.rollback(0))
    memory.consolidate()
    assert held(memory) == {new}


def test_a_core_that_was_trained_on_what_is_forgotten_is_not_published(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be told apart into what may stay, so it is trained again by the next call."""
    memory = open_memory()
    gone, _ = observe(memory, "lighthouse"), observe(memory, "report")
    memory.consolidate()
    once_at(memory, monkeypatch, "train", lambda: memory.forget(gone))
    with pytest.raises(ChangedError):
        memory.sleep(merge=False)
    current = memory.ledger.current()
    assert current is not None
    assert current.manifest.core is None
    assert memory.ledger.adapters_trained_on([gone]) == []
    memory.progress = lambda phase, made, total: None
    assert memory.sleep(merge=False) is not None
