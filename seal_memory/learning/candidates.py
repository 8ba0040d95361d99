"""Candidates: quizzes and self-edits for episodes, and adapters trained on them in one stack.

Not here: whether a candidate may be published (`gate`), publishing (`consolidate`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from seal_memory._internal.progress import Progress, silent
from seal_memory.config import LearningSettings
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.profile import suited
from seal_memory.learning import grading
from seal_memory.learning.grading import Result
from seal_memory.learning.inner_loop import TrainingJob, train
from seal_memory.learning.plans import encode_item, plan_steps
from seal_memory.learning.workbench import Workbench
from seal_memory.lora.adapter import LoraAdapter, LoraConfig
from seal_memory.quizzes.generator import QuizPlan, make_late_quiz, make_quiz
from seal_memory.quizzes.reading import MIN_SHARE, TEST_VERSION, reading_test
from seal_memory.records import Episode, Grade, QuizItem, Role, SelfEdit
from seal_memory.self_edits import self_study
from seal_memory.self_edits.generator import ARMS, READER_ARM, Arm, make_self_edit
from seal_memory.self_edits.self_study import Reading
from seal_memory.self_edits.statements import Statement, statements_of
from seal_memory.self_edits.writer import Written, write_items


@dataclass(slots=True)
class Study:
    """One episode with its statements, quiz and self-edits."""

    episode: Episode
    statements: list[Statement]
    quiz: list[QuizItem] = field(default_factory=list)
    edits: list[SelfEdit] = field(default_factory=list)
    arms: tuple[Arm, ...] = ()  # one per self-edit
    is_self_study: bool = False  # its arm is `READER_ARM`, whatever a bandit would choose
    facts: list[Statement] = field(default_factory=list)  # found in self-study, and trained instead of the statements

    @property
    def is_document(self) -> bool:
        return all(i.role is Role.DOCUMENT for i in self.episode.interactions)

    @property
    def text(self) -> str:
        return "\n".join(i.text for i in self.episode.interactions)

    @property
    def held_out(self) -> list[QuizItem]:
        return [i for i in self.quiz if i.held_out]


@dataclass(frozen=True, slots=True)
class TrainedCandidate:
    """A trained candidate with its held-out results, beside the base's."""

    study: Study
    edit: SelfEdit
    adapter: LoraAdapter
    base: Result
    result: Result

    @property
    def temporary_id(self) -> str:
        return candidate_id(self.edit)


PROMPT_ROOM = 256  # tokens around a text that the model studies: prompt, question, answer
ChooseArms = Callable[[str], Sequence[Arm]]  # episode id -> the arms of its self-edits, one each


def default_arms(episode_id: str) -> Sequence[Arm]:
    """One self-edit an episode, under the first arm."""
    return ARMS[:1]


def candidate_id(edit: SelfEdit) -> str:
    """The id under which the engine holds a candidate that has no name on disk yet."""
    return _candidate_id(edit.id)


def _candidate_id(edit_id: str) -> str:
    return f"candidate:{edit_id}"


def data_hash(edit: SelfEdit) -> str:
    """Hash of a self-edit's items: the same data, the same hash."""
    digest = hashlib.sha256()
    for i in edit.items:
        digest.update(f"{i.genre}\x00{i.prompt}\x00{i.target}\x01".encode())
    return digest.hexdigest()


def train_edits(
    edits: Sequence[SelfEdit],
    engine: TransformersEngine,
    settings: LearningSettings,
    *,
    batch_size: int,
    progress: Progress = silent,
) -> tuple[dict[str, LoraAdapter], int]:
    """Train one adapter per self-edit, all in one stack.

    Returns the adapters by self-edit id, which the engine holds too, and the number of tokens trained.
    """
    jobs = {edit.id: training_job(edit, engine, settings, batch_size=batch_size) for edit in edits}
    return {edit_id: job.adapter for edit_id, job in jobs.items()}, run_jobs(jobs, engine, settings, progress=progress)


def training_job(
    edit: SelfEdit, engine: TransformersEngine, settings: LearningSettings, *, batch_size: int
) -> TrainingJob:
    """The job for a self-edit: a new adapter, its rows and its optimizer steps (`plans`)."""
    chosen = edit.hyperparameters
    config = LoraConfig(chosen.rank, chosen.alpha, settings.target_modules)
    rows = [encode_item(engine, i) for i in edit.items]
    steps = plan_steps(edit, batch_size=batch_size)
    return TrainingJob(engine.stack.create(config, seed=edit.seed), rows, steps, chosen.learning_rate)


def run_jobs(
    jobs: Mapping[str, TrainingJob],
    engine: TransformersEngine,
    settings: LearningSettings,
    *,
    progress: Progress = silent,
) -> int:
    """Train jobs, by self-edit id, in one stack and put each adapter into the engine; returns the tokens trained."""
    train(
        engine.stack,
        list(jobs.values()),
        token_budget=settings.token_budget,
        pad_id=engine.pad_id,
        progress=lambda done, total: progress("train", done, total),
        turn=engine.lock.step,
    )
    for edit_id, job in jobs.items():
        engine.put(_candidate_id(edit_id), job.adapter)
    return sum(job.tokens for job in jobs.values())


class Candidates:
    """Makes and trains the candidates of one memory; quizzes and self-edits are written to the ledger."""

    def __init__(self, bench: Workbench, *, arms: ChooseArms = default_arms, note_writer: str | None = None) -> None:
        self.bench, self.ledger, self.engine = bench, bench.ledger, bench.engine
        self.settings = suited(bench.settings, self.engine.profile)
        self.clock, self.make_id, self.progress = bench.clock, bench.make_id, bench.progress
        self.arms = arms
        self._tokens = 0
        self.note_writer = note_writer  # adapter that writes notes; None: the untouched base

    def study(self, episodes: Sequence[Episode]) -> list[Study]:
        """Statements, quiz and self-edits of every episode that states something."""
        studies = self.make_quizzes(episodes)
        self._self_edits(studies)
        return studies

    def make_quizzes(self, episodes: Sequence[Episode]) -> list[Study]:
        """Statements and quiz of every episode that states something, without self-edits (`policy` writes its own)."""
        studies = [Study(e, statements_of(e)) for e in episodes]
        studies = [s for s in studies if s.statements]
        self._quizzes(studies)
        return studies

    def _quizzes(self, studies: Sequence[Study]) -> None:
        settings = self.settings
        plan = QuizPlan(settings.gate.quiz_per_statement, settings.learning.notes_per_statement > 0)
        known = [self.ledger.quiz_items(interaction_ids=s.episode.interaction_ids) for s in studies]
        asked = {id for items in known for i in items if i.origin == "generated" for id in i.interaction_ids}
        # interactions with a quiz keep its items: held out is held out for good
        fresh = [s for study in studies for s in study.statements if s.interaction_id not in asked]
        made = make_quiz(fresh, self.engine, plan=plan, seed=settings.seed, make_id=self.make_id)
        made += self._late_items(studies, {i for items in known for q in items for i in q.interaction_ids}, made)
        for n, study in enumerate(studies):
            ids = set(study.episode.interaction_ids)
            own = [i for i in made if ids.issuperset(i.interaction_ids)]
            fresh_items = _without_known(own, known[n])
            self.ledger.add_quiz_items(fresh_items)
            study.quiz = [*known[n], *fresh_items]
        self.progress("quiz", len(studies), len(studies))

    def _late_items(self, studies: Sequence[Study], known: set[str], made: Sequence[QuizItem]) -> list[QuizItem]:
        """More questions for episodes that would have none: without a question nothing proves that they are known."""
        asked = known.union(i for item in made for i in item.interaction_ids)
        without = [s for s in studies if asked.isdisjoint(s.episode.interaction_ids)]
        statements = [s for study in without for s in study.statements]
        return make_late_quiz(statements, self.engine, seed=self.settings.seed, make_id=self.make_id)

    def _self_edits(self, studies: Sequence[Study]) -> None:
        settings = self.settings
        by_model = settings.learning.notes_per_statement > 0
        for study in studies:
            study.is_self_study = by_model and self._can_study(study)
        written = self._write(studies) if by_model else {}
        for study in studies:
            items, yields = written.get(study.episode.id, ([], []))
            study.arms = (READER_ARM,) if study.is_self_study else tuple(self.arms(study.episode.id))
            study.edits = [
                make_self_edit(
                    study.episode,
                    study.facts or study.statements,
                    items,
                    yields,
                    arm=arm,
                    settings=settings.learning,
                    held_out=[i.question for i in study.held_out],
                    seed=settings.seed + k,
                    id=self.make_id(),
                )
                for k, arm in enumerate(study.arms)
            ]
            self.ledger.add_self_edits(study.edits)
        self.progress("self-edits", len(studies), len(studies))

    def _can_study(self, study: Study) -> bool:
        """Whether the model reads, and this document fits its prompt."""
        room = self.engine.max_length - PROMPT_ROOM
        return study.is_document and self.engine.count_tokens(study.text) <= room and self._reads()

    def _reads(self) -> bool:
        """Whether the base passes the reading test; the ledger keeps its share, so that a base is asked once."""
        key = f"reading test {TEST_VERSION} of {self.engine.fingerprint}"
        known = self.ledger.meta_get(key)
        if known is None:
            known = repr(reading_test(self.engine).share)
            self.ledger.meta_set(key, known)
        return float(known) >= MIN_SHARE

    def _write(self, studies: Sequence[Study]) -> dict[str, Written]:
        """Items that the model writes, by episode id: about facts of its own finding, or notes on each statement."""
        own = [s for s in studies if s.is_self_study]
        noted = [s for s in studies if not s.is_self_study]
        notes, seed = self.settings.learning.notes_per_statement, self.settings.seed
        readings = [Reading(s.text, s.statements, [i.question for i in s.held_out]) for s in own]
        written = {}
        for study, found in zip(
            own,
            self_study.study(readings, self.engine, per_span=notes, seed=seed, adapter=self.note_writer),
            strict=True,
        ):
            study.facts, study.is_self_study = found.facts, bool(found.facts)
            written[study.episode.id] = (found.items, found.yields)
        done = write_items(
            [s.statements for s in noted],
            self.engine,
            per_statement=notes,
            held_out=[[i.question for i in s.held_out] for s in noted],
            seed=seed,
            adapter=self.note_writer,
        )
        return written | {s.episode.id: items for s, items in zip(noted, done, strict=True)}

    def train(self, edits: Sequence[SelfEdit], *, batch_size: int | None = None) -> dict[str, LoraAdapter]:
        """Train one adapter per self-edit, all in one stack; by self-edit id. The engine holds them, too."""
        size = self.settings.learning.batch_size if batch_size is None else batch_size
        adapters, tokens = train_edits(
            edits, self.engine, self.settings.learning, batch_size=size, progress=self.progress
        )
        self._tokens += tokens
        return adapters

    def add_tokens(self, tokens: int) -> None:
        """Count tokens that were trained elsewhere for these candidates."""
        self._tokens += tokens

    def take_tokens(self) -> int:
        """Tokens trained since the last call, without padding; resets the count."""
        taken, self._tokens = self._tokens, 0
        return taken

    def train_and_grade(self, studies: Sequence[Study]) -> list[TrainedCandidate]:
        """Train the first self-edit of every study, all in one stack, and ask its held-out items."""
        edits = [study.edits[0] for study in studies]
        adapters = self.train(edits)
        pairs: list[tuple[QuizItem, str | None]] = []
        for study, edit in zip(studies, edits, strict=True):
            pairs.extend((item, None) for item in study.held_out)
            pairs.extend((item, candidate_id(edit)) for item in study.held_out)
        grades = self._grade(pairs)
        found = []
        for study, edit in zip(studies, edits, strict=True):
            own = {item.id for item in study.held_out}
            base, result = (
                grading.summarise([g for g in grades if g.quiz_item_id in own and g.adapter_id == adapter])
                for adapter in (None, candidate_id(edit))
            )
            found.append(TrainedCandidate(study, edit, adapters[edit.id], base, result))
        return found

    def _grade(self, pairs: Sequence[tuple[QuizItem, str | None]]) -> list[Grade]:
        return grading.grade(
            pairs,
            self.engine,
            max_tokens=self.settings.gate.quiz_answer_tokens,
            snapshot_version=None,
            clock=self.clock,
        )


def _without_known(made: Sequence[QuizItem], known: Sequence[QuizItem]) -> list[QuizItem]:
    """The generated items, without those whose question is known, in any case and spacing."""
    asked = {" ".join(i.question.lower().split()) for i in known}
    return [i for i in made if " ".join(i.question.lower().split()) not in asked]
