"""Refine rounds: bounded, resumable, off by default, and behind everything else that the worker has to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory.engines.base import Completion, Prompt
from seal_memory.policy import note_writer, refining, schedule, versions
from seal_memory.policy.note_writer import Bootstrap, train_note_writers
from seal_memory.policy.promotion import Promotion
from seal_memory.policy.rest_em import RoundPlan
from seal_memory.policy.schedule import is_validation, next_round
from seal_memory.policy.versions import NoteWriters
from seal_memory.records import Genre, JobState, PolicyExample, PolicyTrial
from seal_memory.training.worker import REFINE, Worker

NAMES = ("Maud", "Tomas", "Iwan", "Rosa", "Ada", "Nils", "Ina", "Otto", "Ebba", "Finn")
PLACES = ("Korrin", "Dunmorrow", "Oslo", "Elm", "Tarn", "Skerry", "Gull", "Heron", "Lark", "Moor")
TEXTS = tuple(
    f"{name} Ellery{n} built the lighthouse at {place} Bay in 18{n}7."
    for n, (name, place) in enumerate(zip(NAMES, PLACES, strict=True))
)
SMALL = RoundPlan(samples=1, per_statement=2, seeds=1, most_seeds=1)
Open = Callable[..., SealMemory]


@pytest.fixture
def learned(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> SealMemory:
    """Ten published episodes; every quiz counts, and what the model writes is well formed.

    Who judges follows from an episode's id: with ids of its own each run, every fiftieth had nobody to judge.
    """
    for name in ("seal_memory.quizzes.generator.MIN_GAIN", "seal_memory.policy.guards.MIN_GAIN"):
        monkeypatch.setattr(name, -100.0)
    monkeypatch.setattr("seal_memory.policy.guards.MIN_LOGPROB_WITH", -100.0)
    monkeypatch.setattr(refining, "MIN_VALIDATION_EPISODES", 1)  # of ten episodes three judge
    monkeypatch.setattr(refining, "RoundPlan", lambda: SMALL)
    monkeypatch.setattr(refining, "BootstrapPlan", lambda: _plan())
    monkeypatch.setattr(note_writer, "EPOCHS", 1)
    number = count()
    memory = open_memory(
        make_id=lambda: f"{next(number):032x}",
        policy={"refine": "both", "refine_after": 1}, background={"audit_interval": 1e9},
    )  # fmt: skip
    for n, text in enumerate(TEXTS):
        memory.observe(text, session=str(n))
    memory.consolidate()
    turns = count()

    def complete(asked: Sequence[Prompt], **_: Any) -> list[Completion]:
        return [Completion(_say(p, next(turns)), 1, 1, 1.0) for p in asked]

    monkeypatch.setattr(memory.engine, "complete", complete)
    return memory


def _plan() -> Any:
    from seal_memory.policy.note_writer import BootstrapPlan

    return BootstrapPlan(samples=1, min_logprob_with=-100.0, min_gain=-100.0)


def _say(prompt: Prompt, turn: int) -> str:
    statement, _, answer = prompt.messages[-1]["content"].removeprefix("Text: ").partition("\nAnswer: ")
    opening = ("Which is it", "What belongs here", "Say which")[turn % 3]
    if answer:
        return f"{opening}: {statement.rstrip('.').replace(answer, 'which').strip()}?"
    return f"{opening} and so on: {statement}"


def _done(memory: SealMemory) -> list[Any]:
    ended = []
    worker = Worker(memory, attempts=2)
    while (job := worker.step()) is not None:
        ended.append(job)
    return ended


def test_refining_is_off_by_default(open_memory: Open) -> None:
    """Until it is measured; and with too few published episodes nothing is due."""
    assert open_memory().settings.policy.refine == "off"
    memory = open_memory(policy={"refine": "both", "refine_after": 1})
    assert next_round(memory.ledger, memory.settings.policy, []) is None


def test_an_episode_never_changes_sides() -> None:
    """Who judges follows from the id; about a third do."""
    ids = [f"e-{n}" for n in range(300)]
    judges = [i for i in ids if is_validation(i)]
    assert judges == [i for i in ids if is_validation(i)]
    assert 60 < len(judges) < 140


def test_the_worker_refines_when_enough_is_new(learned: SealMemory) -> None:
    """First the writer is started, its version and the arms' rewards are on record; then nothing is due any more."""
    (job,) = _done(learned)
    assert (job.kind, job.state, job.payload) == (REFINE, JobState.DONE, {"round": 1, "episodes": 10, "version": 1})
    (version,) = learned.ledger.policy.versions()
    assert version.measures["round"] == 1.0
    assert version.measures["sampled"] > 0
    assert learned.ledger.policy.arm_rewards()
    status = learned.status()
    assert status.policy_versions == 1
    assert status.arms_tried == len(learned.ledger.policy.arm_rewards())
    assert _done(learned) == []
    assert all(not t.found for t in learned.ledger.policy.trials(1))
    assert not [a for a in learned.engine._adapters if a.startswith("candidate:")]


def test_a_round_that_is_killed_goes_on_where_it_was(learned: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was explored is not explored again; the round ends as one version."""
    monkeypatch.setattr(refining, "SAMPLINGS", 0)
    explore, calls = refining.explore, []

    def killed(studies: Any, *args: Any, **options: Any) -> Any:
        calls.append([s.episode.id for s in studies])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return explore(studies, *args, **options)

    monkeypatch.setattr(refining, "explore", killed)
    learned.settings.policy.__dict__["refine"] = "notes"
    with pytest.raises(KeyboardInterrupt):
        learned.refine(2)
    kept = {t.episode_id for t in learned.ledger.policy.trials(2)}
    assert kept == set(calls[0])
    found = learned.refine(2)
    assert found.version is not None
    assert found.version.measures["round"] == 2.0
    assert "baseline" in found.version.measures
    explored = [i for call in (calls[0], *calls[2:]) for i in call]
    assert len(explored) == len(set(explored)) == found.explored
    assert not any(is_validation(i) for i in explored)
    again = learned.refine(2)  # its job was killed after the commit
    assert (again.version, len(learned.ledger.policy.versions())) == (found.version, 1)


@pytest.mark.parametrize(
    ("before", "samples"),
    [
        ([], True),
        ([(False, True), (False, True)], True),  # nobody can write yet: no inner loop is spent on it
        ([(True, True)], False),
        ([(False, True), (True, True), (False, False)], False),
    ],
)
def test_a_round_samples_until_a_writer_is_promoted(
    learned: SealMemory, monkeypatch: pytest.MonkeyPatch, before: list[tuple[bool, bool]], samples: bool
) -> None:
    """Rounds before: (promoted, by sampling)."""
    (shard, *_) = learned.ledger.adapters()  # in the place of a writer
    for number, (promoted, sampled) in enumerate(before, start=1):
        measures = {"round": float(number), **({"sampled": 9.0} if sampled else {"reward": 0.1})}
        learned.ledger.policy.add_version(
            shard.id if promoted else None, [], parent=None, promoted=promoted, reasons=["."], measures=measures,
            base_fingerprint=learned.engine.fingerprint,
        )  # fmt: skip
    taken: list[str] = []
    for name in ("_sample_notes", "_explore_notes"):
        monkeypatch.setattr(refining.Refiner, name, lambda *_, name=name: (taken.append(name), ([], {}))[1])
    learned.settings.policy.__dict__["refine"] = "notes"
    learned.refine(len(before) + 1)
    assert taken == ["_sample_notes" if samples else "_explore_notes"]


def _watched_sampling(learned: SealMemory, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """(first statement, writer) of every sampling, in order; the fake text is the untouched model's in each."""
    bootstrap, asked = refining.bootstrap, []

    def seen(groups: Any, *args: Any, adapter: str | None, **options: Any) -> Any:
        held = learned.engine.adapter(adapter)
        assert held is None or any(bool(b.any()) for _, b in held.pairs.values())  # it was taught
        asked.append((groups[0][0].text, adapter))
        return bootstrap(groups, *args, adapter=None, **options)

    monkeypatch.setattr(refining, "bootstrap", seen)
    monkeypatch.setattr("seal_memory.policy.rest_em.promotion.decide", lambda *_, **__: Promotion(True, (), {}))
    learned.settings.policy.__dict__["refine"] = "notes"
    return asked


def test_the_second_sampling_is_by_the_writer_that_the_first_one_taught(
    learned: SealMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ReST-EM samples from the policy that it improves; what both found is learned, and the engine holds nothing on."""
    asked = _watched_sampling(learned, monkeypatch)
    version = learned.refine(1).version
    assert version is not None
    assert version.promoted
    half = len(asked) // 2
    assert [w for _, w in asked] == [None] * half + [refining.SAMPLING_WRITER] * half
    assert sorted(t for t, _ in asked[:half]) == sorted(t for t, _ in asked[half:])
    assert version.measures["sampled"] >= version.measures["checked"] >= version.measures["kept"] > 0
    assert learned.ledger.policy.examples(version.version)
    assert not [a for a in learned.engine._adapters if a.startswith("candidate:")]


@pytest.mark.parametrize("after", [1, 6])
def test_a_sampling_that_is_killed_goes_on_where_it_was(
    learned: SealMemory, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """In the first sampling or the second: no episode is asked about twice, and the same is learned."""
    asked = _watched_sampling(learned, monkeypatch)
    record, done = refining.Refiner._record, []

    def killed(self: Any, *args: Any) -> None:
        record(self, *args)
        done.append(args)
        if len(done) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(refining.Refiner, "_record", killed)
    with pytest.raises(KeyboardInterrupt):
        learned.refine(1)
    assert learned.ledger.policy.versions() == []
    assert learned.refine(1).version is not None
    assert len(set(asked)) == len(asked)


def test_no_writer_is_taught_that_nobody_could_judge(learned: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer judges than a verdict needs every new writer would be refused."""
    monkeypatch.setattr(refining, "MIN_VALIDATION_EPISODES", 99)
    learned.settings.policy.__dict__["refine"] = "notes"
    assert learned.refine(1).version is None
    assert learned.ledger.policy.versions() == []
    monkeypatch.setattr(schedule, "MIN_VALIDATION_EPISODES", 99)
    assert next_round(learned.ledger, learned.settings.policy, []) is None
    learned.settings.policy.__dict__["refine"] = "both"  # arms need no judges
    assert next_round(learned.ledger, learned.settings.policy, []) == 1


def test_what_has_no_usable_quiz_does_not_count_as_a_judge(
    learned: SealMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seal_memory.policy.trials.usable_quiz", lambda items: [])
    learned.settings.policy.__dict__["refine"] = "notes"
    assert learned.refine(1).version is None
    assert learned.ledger.policy.versions() == []


def test_a_sampling_of_which_nothing_survives_says_so(learned: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no baseline and no reward that it could have missed."""
    monkeypatch.setattr(refining, "bootstrap", lambda *_, **__: Bootstrap((), 8, 1, 0))
    learned.settings.policy.__dict__["refine"] = "notes"
    version = learned.refine(1).version
    assert version is not None
    assert (version.promoted, version.reasons) == (False, (refining.NOTHING_SURVIVED,))
    assert version.measures["sampled"] > 0


def test_a_round_begins_with_the_writer_that_a_forget_took(
    learned: SealMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is trained again on what is left; where only arms are refined, nobody trains it."""
    monkeypatch.setattr(versions, "MIN_EXAMPLES", 3)
    seen = [i.id for i in learned.ledger.interactions()][:2]
    examples = [
        PolicyExample(f"x{n}", (seen[n % 2],), Genre.QA, "A lighthouse stands there.", "1887", f"When, {n}?")
        for n in range(8)
    ]
    writers = NoteWriters(replace(learned.workbench, clock=lambda: 0.0))
    (adapter,) = train_note_writers([examples], learned.engine, learned.settings.learning, seed=0)
    lost = writers.promote(adapter, examples, seed=0, reasons=[], measures={"round": 1.0, "gain": 0.1, "accepted": 1.0})
    learned.forget([seen[0]])
    monkeypatch.setattr(refining.Refiner, "run", lambda self, number: writers.current())
    learned.settings.policy.__dict__["refine"] = "arms"
    assert learned.refine(2) is None  # type: ignore[comparison-overlap]
    learned.settings.policy.__dict__["refine"] = "notes"
    found: Any = learned.refine(2)
    assert (found.parent, found.promoted) == (lost.version, True)
    assert found.measures.keys() == {"round", "examples"}  # nobody judged what is left
    assert {e.interaction_ids for e in learned.ledger.policy.examples(found.version)} == {(seen[1],)}


def test_the_budget_ends_the_exploring(learned: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stack more than it allows at most; a larger budget explores more."""
    learned.settings.policy.__dict__["refine"] = "arms"
    monkeypatch.setattr(refining, "MAX_TOKENS", 1)
    small = learned.refine(1)
    assert 0 < small.explored <= refining.EPISODES_PER_STACK
    assert small.tokens > 1
    monkeypatch.setattr(refining, "MAX_TOKENS", 1 << 30)
    assert learned.refine(2).explored > small.explored


def test_what_is_new_goes_before_a_round(learned: SealMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round is handed back between two episodes, the text is learned, the round goes on."""
    learned.settings.policy.__dict__["refine"] = "arms"
    study, seen = refining.BanditArms.learn, []

    def learn(self: Any, studies: Any) -> None:
        study(self, studies)
        if not seen:
            seen.extend(learned.observe("Vera Holt moored the barge at Pike Lock in 1903.", session="new"))

    monkeypatch.setattr(refining.BanditArms, "learn", learn)
    kinds = [(job.kind, job.state) for job in _done(learned)]
    assert kinds[:3] == [(REFINE, JobState.QUEUED), ("consolidate", JobState.DONE), (REFINE, JobState.DONE)]


def test_a_forget_takes_what_a_round_has_noted(learned: SealMemory) -> None:
    """Trials quote notes about the text."""
    (one, *_) = learned.ledger.interactions()
    rows = learned.ledger.policy
    rows.add_trials([PolicyTrial(7, "notes", "e", (one.id,), {"sets": "Maud"}, 3)])
    rows.add_trials([PolicyTrial(7, "notes", "e", (one.id,), {"sets": "other"}, 9)])
    assert [t.found for t in rows.trials(7)] == [{"sets": "Maud"}]
    learned.forget([one.id])
    assert rows.trials(7) == []


def test_a_round_that_was_given_up_is_not_tried_for_ever(learned: SealMemory) -> None:
    """The next one is due when more is new."""
    queue = learned.ledger.queue
    queue.enqueue_job(REFINE, {"round": 4, "episodes": 10, "version": 1}, max_attempts=1)
    job = queue.lease_next_job([REFINE], owner="x", lease_seconds=9)
    assert job is not None
    queue.fail_job(job, "broken")
    assert next_round(learned.ledger, learned.settings.policy, queue.jobs()) is None
    assert next_round(learned.ledger, learned.settings.policy, []) == 1
