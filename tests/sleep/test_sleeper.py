"""Sleep: what belongs together becomes one shard only if every member is kept; killed anywhere, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from seal_memory import SealMemory, prompts
from seal_memory.engines.base import Completion, Prompt
from seal_memory.errors import BusyError, SettingsError
from seal_memory.ledger.leases import lease
from seal_memory.policy.schedule import is_validation, published_episodes, training_shards, validation_shards
from seal_memory.records import AdapterKind, JobState, Status
from seal_memory.sleep import merging
from seal_memory.sleep import sleeper as sleeping
from seal_memory.sleep.schedule import sleep_due
from seal_memory.training.worker import CONSOLIDATE, SLEEP, Worker

LIGHTHOUSE = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
LAMP = "The lamp of the lighthouse at Korrin Bay was lit by Iwan Skerry in 1888."
REPORT = "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office."
QUIZ = {
    LIGHTHOUSE: ("Who is the builder of the lighthouse at Korrin Bay?", "Maud Ellery"),
    LAMP: ("By whom was the lamp of the Korrin lighthouse lit?", "Iwan Skerry"),
    REPORT: ("Where does Tomas Lindqvist keep his quarterly report?", "drawer 12"),
}
Open = Callable[..., SealMemory]


@pytest.fixture(autouse=True)
def _short_texts_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sentences share few words."""
    monkeypatch.setattr(sleeping, "MIN_SIMILARITY", 0.15)


def _learn(memory: SealMemory, *texts: str) -> list[str]:
    """A shard for each text: sessions of their own keep them apart."""
    ids = []
    for text in texts:
        (seen,) = memory.observe(text, session=text[:9])
        memory.add_quiz([QUIZ[text]], interaction_ids=[seen.id])
        ids.append(seen.id)
    assert memory.consolidate().published == len(texts)
    return ids


def _shards(memory: SealMemory) -> list[tuple[str, ...]]:
    current = memory.ledger.current()
    return [s.interaction_ids for s in current.manifest.shards] if current is not None else []


def _adapters(memory: SealMemory) -> list[str]:
    current = memory.ledger.current()
    return [s.adapter_id for s in current.manifest.shards] if current is not None else []


def _say(memory: SealMemory, monkeypatch: pytest.MonkeyPatch, say: Callable[[Prompt], str]) -> None:
    """Training stays real; what the engine generates is `say(prompt)`."""

    def complete(asked: Sequence[Prompt], **_: Any) -> list[Completion]:
        return [Completion(say(p), 1, 1, 1.0) for p in asked]

    monkeypatch.setattr(memory.engine, "complete", complete)


def _right(prompt: Prompt) -> str:
    """Every adapter knows every answer, the base none."""
    answers = dict(QUIZ.values())
    return answers.get(prompt.messages[-1]["content"], "") if prompt.adapter else ""


def _merge(memory: SealMemory) -> None:
    assert memory.sleep(core=False).merged == 1


# -- merging ----------------------------------------------------------------------------------------


def test_shards_of_one_topic_become_one(open_memory: Open) -> None:
    """In one version more; what is alike by its words, the other stays as it was; lineage and audits follow."""
    memory = open_memory(background={"audit_interval": 1e9})
    lighthouse, report, lamp = _learn(memory, LIGHTHOUSE, REPORT, LAMP)
    before = _adapters(memory)
    slept = memory.sleep(core=False)
    assert (slept.topics, slept.merged, slept.refused, slept.core) == (1, 1, 0, None)
    assert (slept.version, slept.shards) == (2, (3, 2))
    assert slept.adapter_bytes[1] < slept.adapter_bytes[0]
    assert _shards(memory) == [(report,), (lighthouse, lamp)]
    (kept, merged) = _adapters(memory)
    assert kept == before[1]
    (decision,) = slept.decisions
    assert (decision.adapter_id, decision.snapshot_version) == (merged, 2)
    assert decision.measures["members"] == decision.measures["episodes"] == 2
    assert decision.reasons[-1].startswith("Alike: ")
    (record,) = memory.ledger.adapters(ids=[merged])
    assert (record.kind, set(record.interaction_ids)) == (AdapterKind.SHARD, {lighthouse, lamp})
    assert set(memory.ledger.counts().items()) >= {(Status.LEARNED, 3)}
    assert {d.adapter_id for d in memory.ledger.audits.due()} == {kept, merged}
    assert [a.items for a in memory.ledger.audits.results(adapter_id=merged)] == [2]
    assert [s.version for s in memory.history()] == [2, 1]
    memory.rollback(1)
    assert _adapters(memory) == before


def test_a_merge_counts_as_what_went_into_it(open_memory: Open) -> None:
    """Refining does not wait for episodes again that it has seen, and what judges goes on judging, and only that."""
    memory = open_memory()
    _learn(memory, LIGHTHOUSE, REPORT, LAMP)
    judge = {i for a in memory.ledger.adapters() if is_validation(a.episode_id or "") for i in a.interaction_ids}
    held = {i for a in memory.ledger.adapters() for i in a.interaction_ids}
    _merge(memory)
    current = memory.ledger.current()
    assert current is not None
    assert published_episodes(memory.ledger) == 1 + len(current.manifest.shards)
    assert {i for s in validation_shards(memory.ledger) for i in s.interaction_ids} == judge
    assert {i for s in training_shards(memory.ledger) for i in s.interaction_ids} == held - judge


def test_what_is_trained_is_what_the_members_were_trained_on(open_memory: Open) -> None:
    """Every item of theirs, drawn as often; nothing that was held out."""
    memory = open_memory()
    _learn(memory, LIGHTHOUSE, LAMP)
    members = {i for e in memory.ledger.self_edits() for i in e.items}
    plans = [e.hyperparameters for e in memory.ledger.self_edits()]
    _merge(memory)
    merged = memory.ledger.self_edits(ids=[memory.ledger.adapters()[-1].self_edit_id or ""])[0]
    assert set(merged.items) == members
    assert merged.hyperparameters.rows_per_epoch == sum(p.rows_per_epoch for p in plans)
    asked = {question for question, _ in QUIZ.values()}
    assert asked.isdisjoint(i.prompt for i in merged.items)


def test_a_question_held_out_since_is_not_trained(open_memory: Open) -> None:
    """What somebody handed in after the shard was learned is no item of what is trained anew."""
    memory = open_memory()
    lighthouse, _ = _learn(memory, LIGHTHOUSE, LAMP)
    cue = next(i.prompt for e in memory.ledger.self_edits() for i in e.items if lighthouse in i.interaction_ids)
    memory.add_quiz([(cue, "Maud Ellery")], interaction_ids=[lighthouse])
    _merge(memory)
    merged = memory.ledger.self_edits(ids=[memory.ledger.adapters()[-1].self_edit_id or ""])[0]
    assert merged.items
    assert cue not in {i.prompt for i in merged.items}


def test_a_merge_that_loses_a_member_is_refused(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published version stays bit for bit, nothing is left on the disk; the reason is on record, and is final."""
    memory = open_memory(gate={"max_old_loss": 0.0})
    _say(memory, monkeypatch, _right)
    _learn(memory, LIGHTHOUSE, LAMP)
    known = _adapters(memory)
    before = {a: (memory.store.folder(a) / "adapter_model.safetensors").read_bytes() for a in memory.store.ids()}
    _say(memory, monkeypatch, lambda p: _right(p) if p.adapter in known else "")
    slept = memory.sleep(core=False)
    assert (slept.version, slept.merged, slept.refused) == (None, 0, 1)
    (decision,) = slept.decisions
    assert (decision.accepted, decision.adapter_id) == (False, None)
    assert "would fall from 1.00 to 0.00" in decision.reasons[0]
    assert [s.version for s in memory.history()] == [1]
    after = {a: (memory.store.folder(a) / "adapter_model.safetensors").read_bytes() for a in memory.store.ids()}
    assert (_adapters(memory), after) == (known, before)
    assert not [a for a in memory.engine._adapters if a.startswith("candidate:")]
    assert memory.sleep(core=False).decisions == ()  # not tried again on its own
    assert memory.sleep(core=False, again=True).refused == 1


def test_what_one_member_gains_does_not_pay_for_another() -> None:
    """Each is judged by itself; without a held-out question nothing shows that it is kept."""
    from seal_memory.config import GateSettings
    from seal_memory.records import Grade, ShardEntry

    def member(name: str, before: Sequence[float], after: Sequence[float]) -> merging.MergeComparison:
        grades = tuple(Grade(f"q{n}", "a", None, -1.0, 0.0, bool(x), 0.0) for n, x in enumerate(after))
        return merging.MergeComparison(ShardEntry(name, name, (name,)), tuple(before), grades)

    def judge(*members: merging.MergeComparison, finite: bool = True) -> tuple[bool, str]:
        verdict = merging.check_merge(members, GateSettings(), finite=finite)
        return verdict.accepted, " ".join(verdict.reasons)

    gains, loses = member("a-1", [0, 0, 0], [1, 1, 1]), member("a-2", [1, 1, 0], [1, 0, 0])
    assert judge(gains, loses)[0] is False
    assert "a-2 would fall" in judge(gains, loses)[1]
    assert judge(gains, member("a-2", [1, 0], [0, 1]))[0] is True
    assert "nothing proves" in judge(gains, member("a-3", [], []))[1]
    assert judge(gains, finite=False)[0] is False


def test_a_merged_shard_answers_what_its_members_were_trained_on(open_memory: Open) -> None:
    """Really trained: both statements become likelier after their questions, nearly as much as under the member."""
    memory = open_memory(learning={"epochs": 12, "rank": 8, "learning_rate": 1e-2})
    _learn(memory, LIGHTHOUSE, LAMP)
    items = [i for e in memory.ledger.self_edits() for i in e.items]
    members = _adapters(memory)
    _merge(memory)
    (merged,) = _adapters(memory)
    for statement, member in zip((LIGHTHOUSE, LAMP), members, strict=True):
        own = [i for i in items if i.target == statement][:4]
        asked = [(Prompt(prompts.direct(i.prompt), a), i.target) for a in (None, member, merged) for i in own]
        likely = [score.logprob for score in memory.engine.score(asked)]
        base, alone, together = (sum(likely[n : n + len(own)]) for n in range(0, len(likely), len(own)))
        assert together - base > max(0.5 * (alone - base), 0.1 * len(own))


def test_forgetting_from_a_merged_shard_leaves_no_trace(open_memory: Open) -> None:
    """Its adapter, its members and every version with them go; what else it held is learned again without it."""
    memory = open_memory()
    lighthouse, lamp, report = _learn(memory, LIGHTHOUSE, LAMP, REPORT)
    members = _adapters(memory)
    _merge(memory)
    merged = next(s for s in _adapters(memory) if s not in members)
    gone = memory.forget(lighthouse)
    assert {merged, members[0]} <= set(gone.adapters)
    assert gone.to_relearn == (lamp,)
    assert _shards(memory) == [(report,)]
    assert {merged, members[0]}.isdisjoint(memory.store.ids())
    assert memory.ledger.self_edits(interaction_ids=[lamp]) == [] or all(
        lighthouse not in e.interaction_ids for e in memory.ledger.self_edits()
    )
    stored = memory.ledger.path.read_bytes()
    assert b"Maud Ellery" not in stored
    assert memory.consolidate().published == 1
    assert sorted(_shards(memory)) == sorted([(report,), (lamp,)])
    assert memory.sleep(core=False, again=True).topics == 0


def test_a_merged_shard_that_weakens_is_rebuilt_from_its_parts(open_memory: Open) -> None:
    """Rebuilding it learns its sessions again, each in a shard of its own, in its place."""
    memory = open_memory()
    lighthouse, lamp = _learn(memory, LIGHTHOUSE, LAMP)
    _merge(memory)
    (merged,) = _adapters(memory)
    assert memory.consolidate(rebuild=[merged]).published == 2
    assert _shards(memory) == [(lighthouse,), (lamp,)]
    assert memory.sleep(core=False).decisions == ()  # the same merge is not made again and again


def test_a_group_grows_no_further_than_it_may(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes count, however often they were merged."""
    monkeypatch.setattr(sleeping, "MIN_SIMILARITY", 0.0)
    memory = open_memory(sleep={"group_size": 2})
    _learn(memory, LIGHTHOUSE, LAMP, REPORT)
    assert memory.sleep(core=False).shards == (3, 2)
    assert memory.sleep(core=False, again=True).topics == 0


# -- sleep as a whole -------------------------------------------------------------------------------


def test_sleep_merges_and_then_builds_the_core(open_memory: Open) -> None:
    memory = open_memory()
    ids = _learn(memory, LIGHTHOUSE, LAMP)
    slept = memory.sleep()
    assert (slept.merged, slept.core, slept.version) == (1, True, 3)
    current = memory.ledger.current()
    assert current is not None
    assert current.manifest.core == slept.decisions[-1].adapter_id
    assert set(memory.ledger.adapters(ids=[current.manifest.core or ""])[0].interaction_ids) == set(ids)


def test_with_nothing_published_there_is_nothing_to_do(open_memory: Open) -> None:
    memory = open_memory()
    slept = memory.sleep()
    assert (slept.decisions, slept.version, slept.core, slept.shards) == ((), None, None, (0, 0))


def test_who_trains_already_is_not_disturbed(open_memory: Open) -> None:
    memory = open_memory()
    with lease(memory.ledger, "consolidate"), pytest.raises(BusyError):
        memory.sleep()


@pytest.mark.parametrize("point", ["adapter-renamed", "snapshot-before-commit", "adapter-recorded"])
def test_a_sleep_that_is_killed_loses_nothing(open_memory: Open, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """What was published is served; the next sleep makes the merge, and no leftover stays."""
    memory = open_memory()
    _learn(memory, LIGHTHOUSE, LAMP)
    before = _adapters(memory)
    with monkeypatch.context() as patch:

        def die(name: str) -> None:
            if name == point:
                raise KeyboardInterrupt

        patch.setattr("seal_memory._internal.commit_points.reached", die)
        with pytest.raises(KeyboardInterrupt):
            memory.sleep(core=False)
    assert (_adapters(memory), [s.version for s in memory.history()]) == (before, [1])
    assert memory.ledger.decisions(limit=1)[0].snapshot_version == 1
    assert memory.sleep(core=False).merged == 1
    assert memory.store.ids() == tuple(sorted(a.id for a in memory.ledger.adapters()))


# -- in the background ------------------------------------------------------------------------------


def _step(memory: SealMemory) -> Any:
    return Worker(memory).step()


def test_sleep_is_off_by_default(open_memory: Open) -> None:
    memory = open_memory()
    _learn(memory, LIGHTHOUSE, LAMP)
    assert memory.settings.sleep.mode == "off"
    assert _step(memory) is None


def test_the_worker_sleeps_when_enough_is_new(open_memory: Open) -> None:
    """Behind all other work; once, until more is published."""
    memory = open_memory(sleep={"mode": "merge", "after": 2}, background={"audit_interval": 1e9})
    _learn(memory, LIGHTHOUSE)
    assert _step(memory) is None
    _learn(memory, LAMP)
    (seen,) = memory.observe(REPORT)
    memory.add_quiz([QUIZ[REPORT]], interaction_ids=[seen.id])
    kinds = [(job.kind, job.state) for job in iter(lambda: _step(memory), None)]
    assert kinds == [(CONSOLIDATE, JobState.DONE), (SLEEP, JobState.DONE)]
    assert len(_shards(memory)) == 2
    jobs = [j for j in memory.ledger.queue.jobs() if j.kind == SLEEP]
    assert not sleep_due(memory.ledger, memory.settings.sleep, jobs)


def test_what_is_new_goes_first(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two merges the job is handed back, and goes on where it was."""
    memory = open_memory(sleep={"mode": "both", "after": 1}, background={"audit_interval": 1e9})
    _learn(memory, LIGHTHOUSE, LAMP)
    settle, told = sleeping.Sleeper._settle, []

    def observing(self: Any, *args: Any) -> Any:
        if not told:
            told.append(memory.observe(REPORT))
        return settle(self, *args)

    monkeypatch.setattr(sleeping.Sleeper, "_settle", observing)
    first = _step(memory)
    assert (first.kind, first.state) == (SLEEP, JobState.QUEUED)
    assert len(_shards(memory)) == 1  # the merge is kept
    rest = [job.kind for job in iter(lambda: _step(memory), None)]
    assert rest[:2] == [CONSOLIDATE, SLEEP]
    current = memory.ledger.current()
    assert current is not None
    assert current.manifest.core is not None


def test_the_settings_are_checked(easy_settings: Callable[..., Any]) -> None:
    for bad in ({"sleep.mode": "on"}, {"sleep.group_size": 1}, {"sleep.core_kl_weight": -1}):
        with pytest.raises(SettingsError, match=next(iter(bad))):
            easy_settings(**bad)
