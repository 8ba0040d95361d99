"""Refining the edit policy, one round: explores arms and improves the note-writer on published episodes.

Bounded: no further episode is explored once the round has trained `MAX_TOKENS` tokens (training and validating the
writer come on top). Every explored episode is recorded at once, so a killed round goes on where it was; its version,
promoted or kept as evidence, is one transaction. While there is no writer, a round is rejection sampling with the round
trip as its reward; later rounds reward notes by inner loops. Not here: when a round is due (`schedule`), the lease
(`training`).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seal_memory.language.metrics import mean
from seal_memory.learning.candidates import Candidates, Study, candidate_id
from seal_memory.learning.workbench import Workbench
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.policy.arms import BanditArms
from seal_memory.policy.note_writer import BootstrapPlan, bootstrap, deduplicated, train_note_writers
from seal_memory.policy.rest_em import NOTHING_GAINED, Exploration, RoundPlan, explore, improve, select
from seal_memory.policy.schedule import MIN_VALIDATION_EPISODES, training_shards, validation_shards
from seal_memory.policy.trials import with_usable_quiz
from seal_memory.policy.versions import NoteWriters
from seal_memory.records import Episode, Genre, PolicyExample, PolicyTrial, PolicyVersion, ShardEntry

NOTES, ARMS = "notes", "arms"
REFINE = "refine"  # phase of the progress reported between two explored episodes
MAX_TOKENS = 400_000  # trained tokens after which a round explores no further episode: set by hand
ARMS_PER_EPISODE = 2  # the best arm known, and another
EPISODES_PER_STACK = 2  # episodes of one stack: each is the other's rival
MAX_VALIDATION_EPISODES = 24  # fewer err by as much as a writer gains (lab log, P14, P28 to P30)
MAX_SAMPLED = 64  # shards that one round of rejection sampling reads, whatever the budget is: nothing is trained
SAMPLINGS = 2  # before the first writer is validated: one is too small a step to show (lab log, P28 to P30)
SAMPLED = "sampled"
SAMPLING_WRITER = "candidate:sampling-writer"  # the writer trained on one sampling, which writes in the next
SEED_STEP = 100  # between the seeds of two rounds
NOTHING_SURVIVED = "No question that was sampled survived the checks and the round trip."

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefineReport:
    """Result of a round. `version` is None where only arms were explored, or nothing could be.

    `explored` counts episodes, `tokens` those trained for candidates, without the writers' own training.
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
        """Run round `number`, from where it was left; a finished round is not run again."""
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
        """Train several arms per episode and reward each candidate; the rewards go to the ledger."""
        bench = self.bench.with_settings(self.settings.changed(seed=self._seed(number)))
        bandit = BanditArms(bench)
        making = Candidates(bench, arms=lambda episode_id: bandit.choose(episode_id, ARMS_PER_EPISODE))
        for episodes in self._affordable(number, ARMS):
            studies = making.study(episodes)
            edits = [e for s in studies for e in s.edits]
            _held = making.train(edits)  # keeps the adapters alive: a stack may be larger than the engine's cache
            try:
                bandit.learn(studies)
            finally:
                for edit in edits:
                    making.engine.drop(candidate_id(edit))
            self._record(number, ARMS, episodes, {}, making)

    # -- notes ------------------------------------------------------------------------------------

    def _improve(self, number: int) -> PolicyVersion | None:
        shards = training_shards(self.ledger)
        validation = with_usable_quiz(self._validation_studies())
        if not shards or len(validation) < MIN_VALIDATION_EPISODES:
            logger.info(
                "refine round %d: %d episodes can validate, %d are needed",
                number,
                len(validation),
                MIN_VALIDATION_EPISODES,
            )
            return None
        samples = self._is_sampling_round(number)
        kept, figures = self._sample_notes(number, shards) if samples else self._explore_notes(number)
        return improve(
            kept,
            {i for s in shards for i in s.interaction_ids},
            validation,
            self.candidates,
            self.writers,
            plan=self.plan,
            seed=self._seed(number),
            number=number,
            figures=figures,
            reason_if_none=NOTHING_SURVIVED if samples else NOTHING_GAINED,
        )

    def _is_sampling_round(self, number: int) -> bool:
        """Whether this is a round of rejection sampling: there is no writer yet, so inner loops would be wasted.

        A round that has begun keeps its kind, even if the writer was lost or made meanwhile.
        """
        kinds = {t.kind for t in self.ledger.policy.trials(number)} - {ARMS}
        if kinds:
            return NOTES not in kinds
        return SAMPLINGS > 0 and self.writers.current() is None

    def _sample_notes(self, number: int, shards: Sequence[ShardEntry]) -> tuple[list[PolicyExample], dict[str, float]]:
        """Rejection sampling: survivors of the round trip, each sampling by a writer trained on the last one's.

        All samplings are one round: one alone is too small a step to validate (lab log, P28 to P30).
        """
        drawn = random.Random(f"{self.settings.seed}:{number}").sample(shards, min(len(shards), MAX_SAMPLED))
        for turn in range(SAMPLINGS):
            untried = list(self._untried(number, f"{SAMPLED}-{turn}", drawn))
            kept, _ = self._survivors(number, turn)
            if not untried or (turn and not kept):
                continue
            writer = self._train_writer(kept, number) if turn else None  # kept alive here: the engine keeps few
            if writer is not None:
                self.candidates.engine.put(SAMPLING_WRITER, writer)
            try:
                for episodes in untried:
                    self._sample(number, turn, episodes, SAMPLING_WRITER if writer is not None else None)
            finally:
                self.candidates.engine.drop(SAMPLING_WRITER)
        return self._survivors(number, SAMPLINGS)

    def _sample(self, number: int, turn: int, episodes: Sequence[Episode], writer: str | None) -> None:
        """Sample a writer's notes about some episodes and record the survivors."""
        found = {}
        for study in self.candidates.make_quizzes(episodes):
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
        """The examples of the first `turns` samplings, and how many drafts passed each stage."""
        kinds = {f"{SAMPLED}-{turn}" for turn in range(turns)}
        found = [t.found for t in self.ledger.policy.trials(number) if t.kind in kinds and t.found]
        figures = {name: float(sum(f[name] for f in found)) for name in (SAMPLED, "checked", "answered")}
        return [example_from_record(e) for f in found for e in f["examples"]], figures

    def _train_writer(self, kept: Sequence[PolicyExample], number: int) -> LoraAdapter:
        making = self.candidates
        (adapter,) = train_note_writers(
            [deduplicated(kept)],
            making.engine,
            making.settings.learning,
            seed=self._seed(number),
            progress=making.progress,
        )
        return adapter

    def _explore_notes(self, number: int) -> tuple[list[PolicyExample], dict[str, float]]:
        """Try and record note sets of as many episodes as the budget allows; the examples of the best."""
        writer = self.writers.current()
        for episodes in self._affordable(number, NOTES):
            studies = self.candidates.make_quizzes(episodes)
            found = explore(
                studies,
                self.candidates,
                writer=writer.adapter_id if writer is not None else None,
                plan=self.plan,
                seed=self._seed(number),
            )
            self._record(number, NOTES, episodes, {e.episode_id: asdict(e) for e in found}, self.candidates)
        tried = [
            exploration_from_record(t.found) for t in self.ledger.policy.trials(number) if t.kind == NOTES and t.found
        ]
        figures = {
            "reward": mean(x for e in tried for own in e.rewards for x in own),
            "baseline": mean(x for e in tried for x in e.baseline),
            "interactions": float(len(tried)),
        }
        return select(tried, margin=self.plan.margin), figures

    def _validation_studies(self) -> list[Study]:
        shards = validation_shards(self.ledger)
        count = min(len(shards), MAX_VALIDATION_EPISODES)
        chosen = [shards[n * len(shards) // count] for n in range(count)]  # evenly spaced
        return self.candidates.make_quizzes([self._episode(s) for s in chosen])

    # -- steps ------------------------------------------------------------------------------------

    def _affordable(self, number: int, kind: str) -> Iterator[list[Episode]]:
        """Untried episodes while the budget lasts, a stack's worth at a time, in the round's own random order."""
        shards = training_shards(self.ledger)
        random.Random(f"{self.settings.seed}:{number}").shuffle(shards)
        for episodes in self._untried(number, kind, shards):
            tried = [t for t in self.ledger.policy.trials(number) if t.kind == kind]
            if sum(t.tokens for t in tried) >= MAX_TOKENS:
                return
            yield episodes

    def _untried(self, number: int, kind: str, shards: Sequence[ShardEntry]) -> Iterator[list[Episode]]:
        """Episodes of these shards that were not tried yet, a stack's worth at a time."""
        known = {t.episode_id for t in self.ledger.policy.trials(number) if t.kind == kind}
        for at in range(0, len(shards), EPISODES_PER_STACK):
            untried = [self._episode(s) for s in shards[at : at + EPISODES_PER_STACK] if s.episode_id not in known]
            if untried:
                yield untried

    def _record(
        self, number: int, kind: str, episodes: Sequence[Episode], found: Mapping[str, Any], making: Candidates
    ) -> None:
        """Record the episodes as tried; their tokens are counted with the first of them."""
        tokens = making.take_tokens()
        self.ledger.policy.add_trials(
            [
                PolicyTrial(number, kind, e.id, e.interaction_ids, found.get(e.id, {}), 0 if n else tokens)
                for n, e in enumerate(episodes)
            ]
        )
        done = sum(t.kind == kind for t in self.ledger.policy.trials(number))
        making.progress(REFINE, done, len(training_shards(self.ledger)))  # the worker may preempt here

    def _episode(self, shard: ShardEntry) -> Episode:
        seen = tuple(self.ledger.interactions(ids=shard.interaction_ids))
        titles = {i.title for i in seen if i.title}
        return Episode(shard.episode_id, titles.pop() if len(titles) == 1 else None, seen)

    def _seed(self, number: int) -> int:
        return (self.settings.seed + SEED_STEP * number) % (1 << 32)


def exploration_from_record(record: Mapping[str, Any]) -> Exploration:
    """The exploration of a recorded dict (`dataclasses.asdict`)."""
    sets = tuple(tuple(example_from_record(e) for e in own) for own in record["sets"])
    rewards = tuple(tuple(r) for r in record["rewards"])
    return Exploration(record["episode_id"], sets, rewards, tuple(record["bonus"]), tuple(record["baseline"]))


def example_from_record(record: Mapping[str, Any]) -> PolicyExample:
    """The example of a recorded dict (`dataclasses.asdict`)."""
    return PolicyExample(
        **{**record, "genre": Genre(record["genre"]), "interaction_ids": tuple(record["interaction_ids"])}
    )
