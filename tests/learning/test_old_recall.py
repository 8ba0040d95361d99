"""What the gate asks about the old: a question that is drawn away is a loss, one about a changed fact is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from seal_memory.config import Settings
from seal_memory.engines.base import Completion, Prompt, Score
from seal_memory.learning.old_recall import AUDIT_ITEMS, OldRecall, audit_old
from seal_memory.learning.workbench import Workbench
from seal_memory.memory import SealMemory
from seal_memory.records import AdapterKind, AdapterRecord, Manifest, QuizItem, ShardEntry, Snapshot
from seal_memory.routing.builtin import router_maker

Open = Callable[..., SealMemory]

OWNER = "The Merry Whistle Gallery has a new owner, whose name is Petra Varley."
NEXT_OWNER = "The Merry Whistle Gallery has a new owner, whose name is Silvan Yarwood."
STRANGER = "Who the new owner of the Merry Whistle Gallery may be, ask the harbour master, the baker and the mayor."
QUESTION = "Who is the new owner of the Merry Whistle Gallery?"
SETTINGS = Settings(answering={"router_threshold": 0.1})


class Says:
    """An engine whose adapters each know one answer."""

    def __init__(self, answers: dict[str | None, str]) -> None:
        self.answers, self.asked = answers, 0

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        self.asked += len(prompts)
        return [Completion(self.answers.get(p.adapter, ""), 1, 1, 0.5) for p in prompts]

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        return [Score(-1.0, 0.0, 1) for _ in requests]


def _bench(memory: SealMemory, engine: Says) -> Workbench:
    return replace(memory.workbench, open_engine=lambda: engine, settings=SETTINGS, clock=lambda: 0.0)  # type: ignore[arg-type,return-value]


def _published(memory: SealMemory, *texts: str) -> tuple[Snapshot, list[ShardEntry]]:
    """A snapshot of one shard per text; what the shards are made of does not matter here."""
    ids = [o.id for o in memory.observe(list(texts))]
    shards = []
    for n, interaction in enumerate(ids):
        record = AdapterRecord(
            f"shard-{n}", AdapterKind.SHARD, f"e{n}", (interaction,), None, "base", {}, 0, f"data-{n}", "0", 1, 0.0
        )
        memory.ledger.add_adapter(record)
        shards.append(ShardEntry(record.id, f"e{n}", (interaction,)))
    return memory.ledger.add_snapshot(Manifest(tuple(shards[:1])), parent=None, base_fingerprint="base"), shards


def _kept(memory: SealMemory, engine: Says, *texts: str) -> OldRecall:
    """The first text is published, with a held-out question; the others are about to be."""
    current, shards = _published(memory, *texts)
    memory.ledger.add_quiz_items([QuizItem("q", shards[0].interaction_ids, QUESTION, "Petra Varley", True)])
    old = router_maker(SETTINGS.answering)(current.manifest, memory.ledger)
    new = router_maker(SETTINGS.answering)(Manifest(tuple(shards)), memory.ledger)
    return audit_old(current, old, new, _bench(memory, engine))


def test_a_changed_fact_is_no_loss(open_memory: Open) -> None:
    """The newer statement of one thing takes the question over: the item is left out and counted."""
    engine = Says({"shard-0": "Petra Varley", "shard-1": "Silvan Yarwood"})
    assert _kept(open_memory(), engine, OWNER, NEXT_OWNER) == OldRecall((), (), 1)
    assert engine.asked == 0


def test_a_question_that_a_stranger_draws_away_is_a_loss(open_memory: Open) -> None:
    """A text that only covers the question says nothing anew: its shard answers, and wrongly."""
    engine = Says({"shard-0": "Petra Varley", "shard-1": "the mayor"})
    memory = open_memory()
    current, shards = _published(memory, OWNER, STRANGER)
    memory.ledger.add_quiz_items([QuizItem("q", shards[0].interaction_ids, QUESTION, "Petra Varley", True)])
    old = router_maker(SETTINGS.answering)(current.manifest, memory.ledger)
    only_new = router_maker(SETTINGS.answering)(
        Manifest(tuple(shards[1:])), memory.ledger
    )  # as if it won every question
    found = audit_old(current, old, only_new, _bench(memory, engine))
    assert found == OldRecall((1.0,), (0.0,))


def test_a_shard_trained_again_has_to_answer_what_the_replaced_one_does(open_memory: Open) -> None:
    """The same statement in another shard is no change of fact."""
    memory = open_memory()
    current, (old, again) = _published(memory, OWNER, "The ferry to Malmen leaves at noon from pier nine.")
    held = (*old.interaction_ids, *again.interaction_ids)
    shards = (replace(old, interaction_ids=held), replace(again, interaction_ids=old.interaction_ids))
    current = replace(current, manifest=Manifest(shards[:1]))
    memory.ledger.add_quiz_items([QuizItem("q", old.interaction_ids, QUESTION, "Petra Varley", True)])
    found = audit_old(
        current,
        router_maker(SETTINGS.answering)(current.manifest, memory.ledger),
        router_maker(SETTINGS.answering)(Manifest(shards[1:]), memory.ledger),
        _bench(memory, Says({"shard-0": "Petra Varley", "shard-1": "the mayor"})),
    )
    assert found == OldRecall((1.0,), (0.0,))


def test_what_another_shard_still_answers_is_kept(open_memory: Open) -> None:
    """A text about something else leaves the question where it was."""
    engine = Says({"shard-0": "Petra Varley"})
    assert _kept(open_memory(), engine, OWNER, "The ferry to Malmen leaves at noon from pier nine.") == OldRecall(
        (1.0,), (1.0,)
    )


def test_a_grade_in_the_ledger_is_not_asked_again(open_memory: Open) -> None:
    """Adapters are immutable: what one answered once, it answers."""
    memory, engine = open_memory(), Says({"shard-0": "Petra Varley"})
    _kept(memory, engine, OWNER)
    assert engine.asked == 1  # one question, one route before and after


def test_nothing_published_is_nothing_to_keep(open_memory: Open) -> None:
    """The first consolidation has no audit."""
    memory = open_memory()
    router = router_maker(SETTINGS.answering)(Manifest(), memory.ledger)
    found = audit_old(None, router, router, _bench(memory, Says({})))
    assert found == OldRecall()


@pytest.mark.parametrize("count", [AUDIT_ITEMS - 1, AUDIT_ITEMS + 20])
def test_a_large_memory_is_audited_by_a_sample(open_memory: Open, count: int) -> None:
    """At most so many items are asked, however much is remembered."""
    memory = open_memory()
    current, shards = _published(memory, OWNER)
    items = [QuizItem(f"q{n}", shards[0].interaction_ids, f"{QUESTION} ({n})", "Petra", True) for n in range(count)]
    memory.ledger.add_quiz_items(items)
    router = router_maker(SETTINGS.answering)(current.manifest, memory.ledger)
    engine = Says({"shard-0": "Petra Varley"})
    found = audit_old(current, router, router, _bench(memory, engine))
    assert len(found.before) == min(count, AUDIT_ITEMS)
    assert set(found.before + found.after) == {1.0}


def test_all_is_asked_of_what_gets_another_shard(open_memory: Open) -> None:
    """However much is remembered: of what stays where it is a sample will do."""
    memory = open_memory()
    current, shards = _published(memory, OWNER)
    items = [QuizItem(f"q{n}", shards[0].interaction_ids, f"{QUESTION} ({n})", "Petra", True) for n in range(50)]
    memory.ledger.add_quiz_items(items)
    router = router_maker(SETTINGS.answering)(current.manifest, memory.ledger)
    found = audit_old(
        current,
        router,
        router,
        _bench(memory, Says({})),
        moved=frozenset(shards[0].interaction_ids),
    )
    assert len(found.before) == 50 > AUDIT_ITEMS
