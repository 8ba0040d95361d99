"""Audits and rebuilding of shards of which a later one holds a part, too: each for what it answers for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from seal_memory.config import Settings
from seal_memory.engines.base import Completion, Prompt, Score
from seal_memory.forgetting.audits import Auditor
from seal_memory.learning.consolidate import reopen
from seal_memory.memory import SealMemory
from seal_memory.records import AdapterKind, AdapterRecord, Manifest, QuizItem, ShardEntry, Status
from seal_memory.routing.builtin import router_maker

Open = Callable[..., SealMemory]
BEES, HOME, FERRY = "Petra Varley keeps bees.", "Petra Varley lives in Nardmoor.", "The ferry leaves from pier nine."
SETTINGS = Settings(answering={"router_threshold": 0.1})


class Knows:
    """An engine whose every adapter gives one answer."""

    def complete(self, prompts: Sequence[Prompt], **_: object) -> list[Completion]:
        return [Completion("pier nine", 1, 1, 0.5) for _ in prompts]

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        return [Score(-1.0, 0.0, 1) for _ in requests]


@pytest.fixture
def memory(open_memory: Open) -> SealMemory:
    """A day of bees and the ferry; behind it what is told of Petra, the bees among it, in a shard of its own."""
    opened = open_memory()
    bees, home, ferry = (o.id for o in opened.observe([BEES, HOME, FERRY]))
    opened.ledger.set_status([bees, home, ferry], Status.LEARNED)
    shards = (ShardEntry("day", "e-day", (bees, ferry)), ShardEntry("petra", "e-petra", (bees, home)))
    for n, s in enumerate(shards):
        opened.ledger.add_adapter(
            AdapterRecord(
                s.adapter_id, AdapterKind.SHARD, s.episode_id, s.interaction_ids, None, "b", {}, 0, f"d{n}", "0", 1, 0.0
            )
        )
    quizzes = [(bees, "What does Petra keep?", "bees"), (ferry, "Where does the ferry leave?", "pier nine")]
    opened.ledger.add_quiz_items([QuizItem(f"q-{i}", (i,), q, gold, True) for i, q, gold in quizzes])
    opened.ledger.add_snapshot(Manifest(shards), parent=None, base_fingerprint="b")
    opened.ledger.audits.schedule(60.0)
    return opened


def test_a_shard_is_asked_about_what_it_answers_for(memory: SealMemory) -> None:
    """What the later shard forgot is not held against the day it was told on."""
    due = max(d.due for d in memory.ledger.audits.due())
    routers = router_maker(SETTINGS.answering)
    bench = replace(memory.workbench, settings=SETTINGS, routers=routers, clock=lambda: due + 1)
    found = Auditor(bench, Knows()).run()
    assert {f.audit.adapter_id: (f.audit.items, f.audit.recall) for f in found} == {"day": (1, 1.0), "petra": (1, 0.0)}


def test_rebuilding_a_day_leaves_what_went_elsewhere_where_it_is(memory: SealMemory) -> None:
    """Else the new day, the newest shard, would take its questions back."""
    assert reopen(memory.ledger, ["day"]) > 0
    pending = memory.ledger.interactions(status=Status.PENDING)
    assert [i.text for i in pending] == [FERRY]
    assert reopen(memory.ledger, ["nobody"]) == 0
