"""One round of refining the edit policy on what the ledger holds: arms explored, and the note-writer improved.

Bounded: no further episode is explored once the round has trained `MOST_TOKENS` tokens (the writer's own training and
its trial by the judges come on top). Every explored episode is on record at once, so a round that is killed goes on
where it was; its version, promoted or kept as evidence, is one transaction. While there is no writer a round is one of
rejection sampling, the round trip being the reward; then inner loops decide what is worth keeping. Not here: when a
round is due (`schedule`), the lease (`training`).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seal_memory.learning.candidates import Candidates, Study, candidate_id
from seal_memory.learning.workbench import Workbench
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.policy.arms import BanditArms
from seal_memory.policy.note_writer import BootstrapPlan, bootstrap, different, train_note_writers
from seal_memory.policy.rest_em import NOTHING_GAINED, Exploration, RoundPlan, explore, improve, select
from seal_memory.policy.schedule import LEAST_JUDGES, judging_shards, training_shards
from seal_memory.policy.trials import judged
from seal_memory.policy.versions import NoteWriters
from seal_memory.quizzes.metrics import mean
from seal_memory.records import Episode, Genre, PolicyExample, PolicyTrial, PolicyVersion, ShardEntry

NOTES, ARMS = "notes", "arms"
REFINE = "refine"  # the phase that is told between two explored episodes
MOST_TOKENS = 400_000  # trained, after which a round explores no further episode: set by hand
TOGETHER = 2  # episodes of one stack: each is the other's rival
MOST_JUDGES = 24  # what a writer gains is as small as what a few judges err by (lab log, P14, P28 to P30)
MOST_SAMPLED = 64  # shards that one round of rejection sampling reads, whatever the budget is: nothing is trained
SAMPLINGS = 2  # before the first writer is judged: one is too small a step for the judges (LOG, P28 to P30)
SAMPLED = "sampled"
SAMPLING_WRITER = "candidate:sampling-writer"  # what one sampling taught, and the next one asks
SEED_STEP = 100  # between the seeds of two rounds
NOTHING_SURVIVED = "No question that was sampled survived the checks and the round trip."

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefineReport:
    """What a round did. `version` is None where only arms were explored, or nothing could be.

    `explored` are episodes, `tokens` those of the candidates tried, without the writers' own training.
    """

    round: int
    version: PolicyVersion | None
    explored: int
    tokens: int


class Refiner:
    """Refines one memory's edit policy, under its lease."""

    def __init__(self, bench: Workbench, *, plan: RoundPlan | None = None) -> None:
        self.bench, self.ledger, self.settings = bench, bench.ledger, bench.settings
        self.candidates, self.writers = Candidates(bench), NoteWriters(bench)
        self.plan = plan if plan is not None else RoundPlan()

    def run(self, number: int) -> RefineReport:
        """Round `number`, from the beginning or from where it was left; again once it is done: nothing."""
        done = next((v for v in self.ledger.policy.versions() if v.measures.get("round") == number), None)
        if done is None and self.settings.policy.refine in ("arms", "both"):
            self._explore_arms(number)
        if done is None and self.settings.policy.refine in ("notes", "both"):
            done = self._improve(number)
        trials = self.ledger.policy.trials(number)
        self.ledger.policy.blank_trials(number)
        return RefineReport(number, done, len({t.episode_id for t in trials}), sum(t.tokens for t in trials))

    # -- arms -------------------------------------------------------------------------------------

    def _explore_arms(self, number: int) -> None:
        """Several arms per episode, each candidate rewarded; what they earned is in the ledger."""
        seed = self._seed(number)
        settings = self.settings.changed(learning={"candidates": max(2, self.settings.learning.candidates)}, seed=seed)
        bench = self.bench.with_settings(settings)
        bandit = BanditArms(bench)
        making = Candidates(bench, arms=bandit)
        for episodes in self._affordable(number, ARMS):
            studies = making.study(episodes)
            edits = [e for s in studies for e in s.edits]
            _held = making.train(edits)  # a stack may be larger than what the engine keeps by itself
            try:
                bandit.learn(studies)
            finally:
                for edit in edits:
                    making.engine.drop(candidate_id(edit))
            self._record(number, ARMS, episodes, {}, making)

    # -- notes ------------------------------------------------------------------------------------

    def _improve(self, number: int) -> PolicyVersion | None:
        shards = training_shards(self.ledger)
        judges = judged(self._judges())
        if not shards or len(judges) < LEAST_JUDGES:
            logger.info("refine round %d: %d interactions can judge, %d are needed", number, len(judges), LEAST_JUDGES)
            return None
        samples = self._samples(number)
        kept, figures = self._sampled(number, shards) if samples else self._explored(number)
        return improve(
            kept,
            {i for s in shards for i in s.interaction_ids},
            judges,
            self.candidates,
            self.writers,
            plan=self.plan,
            seed=self._seed(number),
            number=number,
            figures=figures,
            in_vain=NOTHING_SURVIVED if samples else NOTHING_GAINED,
        )

    def _samples(self, number: int) -> bool:
        """Whether this is a round of rejection sampling: no inner loop is spent on a model that cannot write yet.

        A round that has begun goes on as it is, whatever became of the writer meanwhile.
        """
        kinds = {t.kind for t in self.ledger.policy.trials(number)} - {ARMS}
        if kinds:
            return NOTES not in kinds
        return SAMPLINGS > 0 and self.writers.current() is None

    def _sampled(self, number: int, shards: Sequence[ShardEntry]) -> tuple[list[PolicyExample], dict[str, float]]:
        """Survivors of the round trip: ReST-EM without an inner loop, each sampling by the writer that the last taught.

        All samplings are one round: one alone is too small a step for the judges (lab log, P28 to P30).
        """
        drawn = random.Random(f"{self.settings.seed}:{number}").sample(shards, min(len(shards), MOST_SAMPLED))
        for turn in range(SAMPLINGS):
            left = list(self._left(number, f"{SAMPLED}-{turn}", drawn))
            kept, _ = self._survivors(number, turn)
            if not left or (turn and not kept):
                continue
            taught = self._taught(kept, number) if turn else None  # held here: the engine lets go of what nobody holds
            if taught is not None:
                self.candidates.engine.put(SAMPLING_WRITER, taught)
            try:
                for episodes in left:
                    self._sample(number, turn, episodes, SAMPLING_WRITER if taught is not None else None)
            finally:
                self.candidates.engine.drop(SAMPLING_WRITER)
        return self._survivors(number, SAMPLINGS)

    def _sample(self, number: int, turn: int, episodes: Sequence[Episode], writer: str | None) -> None:
        """What a writer notes about some episodes and survives, on record."""
        found = {}
        for study in self.candidates.quizzed(episodes):
            one = bootstrap(
                [study.statements],
                self.candidates.engine,
                plan=BootstrapPlan(),
                held_out=[[i.question for i in study.held_out]],
                seed=self._seed(number) + turn,
                adapter=writer,
            )
            found[study.episode.id] = asdict(one)
            self.candidates.progress("sample", len(found), len(episodes))
        self._record(number, f"{SAMPLED}-{turn}", episodes, found, self.candidates)

    def _survivors(self, number: int, turns: int) -> tuple[list[PolicyExample], dict[str, float]]:
        """The examples of so many samplings, and how many drafts got how far."""
        kinds = {f"{SAMPLED}-{turn}" for turn in range(turns)}
        found = [t.found for t in self.ledger.policy.trials(number) if t.kind in kinds and t.found]
        figures = {name: float(sum(f[name] for f in found)) for name in (SAMPLED, "checked", "answered")}
        return [example_from(e) for f in found for e in f["examples"]], figures

    def _taught(self, kept: Sequence[PolicyExample], number: int) -> LoraAdapter:
        making = self.candidates
        (adapter,) = train_note_writers(
            [different(kept)],
            making.engine,
            making.settings.learning,
            seed=self._seed(number),
            progress=making.progress,
        )
        return adapter

    def _explored(self, number: int) -> tuple[list[PolicyExample], dict[str, float]]:
        """Note sets of as many episodes as the budget allows, tried and on record; the best of them."""
        writer = self.writers.current()
        for episodes in self._affordable(number, NOTES):
            studies = self.candidates.quizzed(episodes)
            found = explore(
                studies,
                self.candidates,
                writer=writer.adapter_id if writer is not None else None,
                plan=self.plan,
                seed=self._seed(number),
            )
            self._record(number, NOTES, episodes, {e.episode_id: asdict(e) for e in found}, self.candidates)
        tried = [explored_from(t.found) for t in self.ledger.policy.trials(number) if t.kind == NOTES and t.found]
        figures = {
            "reward": mean(x for e in tried for own in e.rewards for x in own),
            "baseline": mean(x for e in tried for x in e.baseline),
            "interactions": float(len(tried)),
        }
        return select(tried, margin=self.plan.margin), figures

    def _judges(self) -> list[Study]:
        shards = judging_shards(self.ledger)
        count = min(len(shards), MOST_JUDGES)
        chosen = [shards[n * len(shards) // count] for n in range(count)]  # evenly spaced
        return self.candidates.quizzed([self._episode(s) for s in chosen])

    # -- steps ------------------------------------------------------------------------------------

    def _affordable(self, number: int, kind: str) -> Iterator[list[Episode]]:
        """Episodes that are not tried yet, some at a time, in an order of the round's own, while the budget lasts."""
        shards = training_shards(self.ledger)
        random.Random(f"{self.settings.seed}:{number}").shuffle(shards)
        for episodes in self._left(number, kind, shards):
            tried = [t for t in self.ledger.policy.trials(number) if t.kind == kind]
            if sum(t.tokens for t in tried) >= MOST_TOKENS:
                return
            yield episodes

    def _left(self, number: int, kind: str, shards: Sequence[ShardEntry]) -> Iterator[list[Episode]]:
        """Episodes of these shards that are not tried yet, some at a time."""
        known = {t.episode_id for t in self.ledger.policy.trials(number) if t.kind == kind}
        for at in range(0, len(shards), TOGETHER):
            left = [self._episode(s) for s in shards[at : at + TOGETHER] if s.episode_id not in known]
            if left:
                yield left

    def _record(
        self, number: int, kind: str, episodes: Sequence[Episode], found: Mapping[str, Any], making: Candidates
    ) -> None:
        """The episodes as tried; their tokens count with the first of them."""
        tokens = making.take_tokens()
        self.ledger.policy.add_trials(
            [
                PolicyTrial(number, kind, e.id, e.interaction_ids, found.get(e.id, {}), 0 if n else tokens)
                for n, e in enumerate(episodes)
            ]
        )
        done = sum(t.kind == kind for t in self.ledger.policy.trials(number))
        making.progress(REFINE, done, len(training_shards(self.ledger)))  # where who is in a hurry may step in

    def _episode(self, shard: ShardEntry) -> Episode:
        seen = tuple(self.ledger.interactions(ids=shard.interaction_ids))
        titles = {i.title for i in seen if i.title}
        return Episode(shard.episode_id, titles.pop() if len(titles) == 1 else None, seen)

    def _seed(self, number: int) -> int:
        return (self.settings.seed + SEED_STEP * number) % (1 << 32)


def explored_from(record: Mapping[str, Any]) -> Exploration:
    """What was recorded of one interaction (`dataclasses.asdict`), made whole again."""
    sets = tuple(tuple(example_from(e) for e in own) for own in record["sets"])
    rewards = tuple(tuple(r) for r in record["rewards"])
    return Exploration(record["episode_id"], sets, rewards, tuple(record["bonus"]), tuple(record["baseline"]))


def example_from(record: Mapping[str, Any]) -> PolicyExample:
    """A recorded example, made whole again."""
    return PolicyExample(
        **{**record, "genre": Genre(record["genre"]), "interaction_ids": tuple(record["interaction_ids"])}
    )
