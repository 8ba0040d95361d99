"""Steps of a policy run: bootstrap, rounds, bandit, and the recall of each way on the held-out passages.

Steps are split into chunks, journalled as they finish: after a kill, or out of budget, the same command resumes. A
promotion committed before a kill is found in the ledger by its round. Not here: parsing, figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from benchmarks.harness.journal import Journal, finished
from benchmarks.policy.context import PolicyContext
from benchmarks.policy.measuring import ONCE, Answers, own_notes, with_notes, with_the_text
from benchmarks.tasks.base import Unit
from seal_memory._internal.progress import Progress, silent
from seal_memory.answering.best_of_n import sample_options
from seal_memory.config import Settings
from seal_memory.learning.candidates import candidate_id
from seal_memory.policy.arms import BanditArms
from seal_memory.policy.bandit import arm_name
from seal_memory.policy.note_writer import BootstrapPlan, bootstrap
from seal_memory.policy.refining import exploration_from_record
from seal_memory.policy.rest_em import explore, improve, reward_reliability, select, write_sets
from seal_memory.records import Genre, PolicyExample, PolicyVersion
from seal_memory.self_edits.generator import ARMS
from seal_memory.self_edits.genres import MODEL_GENRES
from seal_memory.self_edits.statements import statements_of

Record = dict[str, Any]


class OutOfTime(Exception):
    """The time budget is spent; finished steps are kept."""


class Run:
    """One run over its context and journal. `deadline`: seconds of the monotonic clock, None: no limit."""

    def __init__(
        self, here: PolicyContext, journal: Journal, *, deadline: float | None = None, tick: Progress = silent
    ) -> None:
        self.here, self.options, self.journal, self.deadline, self.tick = here, here.options, journal, deadline, tick
        self._known = {r["step"]: r["figures"] for r in finished(journal.path) if r["kind"] == "figures"}

    def all(self) -> Record:
        """Run every unfinished step, then return the figures of all. Raises `OutOfTime` between steps."""
        options = self.options
        answers: dict[str, Answers] = {}
        if "text-only" in options.ways:
            answers["text-only"] = self._recall("text-only", None, genres=())
        if "before" in options.ways:
            answers["before"] = self._recall("before", None)
        if "genres" in options.ways:
            for genre in MODEL_GENRES:
                answers[f"before: {genre}"] = self._genre_recall(genre, "before", None)
        if "bandit" in options.ways:
            answers |= self._bandit()
        steps = [*self._bootstraps(), *[self._round(n) for n in range(1, options.rounds + 1)]]
        if "after" in options.ways:
            for found in steps:
                name = self._after(found["round"])
                answers[name] = self._recall(name, found["writer"])
            if "genres" in options.ways:
                for genre in MODEL_GENRES:
                    answers[f"after: {genre}"] = self._genre_recall(genre, "after", steps[-1]["writer"])
        last = steps[-1]["writer"] if steps else None
        writers = {"recipe": ("recipe: after", last), "recipe-before": ("recipe: before", None)}
        if asked := [by for way, by in writers.items() if way in options.ways]:
            answers |= self._recipe(asked)
        return {"answers": answers, "steps": steps, "bandit": self._known.get("bandit/learned")}

    # -- steps ------------------------------------------------------------------------------------

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """The figures of a step, computed now or read from the journal."""
        if name in self._known:
            return self._known[name]
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTime(name)
        figures = work()
        self.journal.add(name, [{"kind": "figures", "figures": figures}])
        self._known[name] = next(
            r["figures"] for r in finished(self.journal.path) if r["kind"] == "figures" and r["step"] == name
        )
        return self._known[name]

    def _chunks(self, name: str, units: Sequence[Unit], work: Callable[[Sequence[Unit]], list[Any]]) -> list[Any]:
        """Apply `work` to the units in chunks, each a step."""
        found, size = [], self.options.chunk
        for at in range(0, len(units), size):
            part = units[at : at + size]
            found += self.step(f"{name}/{at}", lambda part=part: work(part))  # type: ignore[misc]
            self.tick(name, min(at + size, len(units)), len(units))
        return found

    def _genre_recall(self, genre: Genre, when: str, writer: str | None) -> Answers:
        units = self.here.units["held_out"][: self.options.genre_passages]
        return self._recall(f"{when}-{genre}", writer, genres=(genre,), units=units)

    def _recall(
        self,
        name: str,
        writer: str | None,
        *,
        genres: tuple[Genre, ...] = MODEL_GENRES,
        units: Sequence[Unit] | None = None,
    ) -> Answers:
        plan = replace(self.options.plan, genres=genres)
        units = self.here.units["held_out"] if units is None else units
        return self._chunks(f"ask/{name}", units, lambda part: own_notes(self.here, part, writer=writer, plan=plan))

    def _bootstraps(self) -> list[Record]:
        """Rejection sampling instead of inner loops; the last time is round 0, earlier ones are -1, -2, ..."""
        if not self.options.bootstrap_samples:
            return [{"round": 0, "writer": self._writer()}]
        times, found = self.options.bootstrap_rounds, list[Record]()
        for turn in range(times):
            writer = found[-1]["writer"] if found else None  # not the current one: a killed step may have promoted
            found.append(self._bootstrap(turn, turn + 1 - times, writer))
        return found

    def _after(self, number: int) -> str:
        """The name of the way after a round; several bootstraps are numbered."""
        times = self.options.bootstrap_rounds
        if number > 0:
            return f"after round {number}"
        return "after bootstrap" if times == 1 else f"after bootstrap {number + times}"

    def _bootstrap(self, turn: int, number: int, writer: str | None) -> Record:
        """One round of rejection sampling: train a writer on the sampled notes that survive the round trip."""

        def work() -> Record:
            studies = self.here.studies(self.here.units["train"])
            more = [statements_of(self.here.episode(u)) for u in self.here.units["bootstrap"]]
            found = bootstrap(
                [*(s.statements for s in studies), *more],
                self.here.engine,
                plan=BootstrapPlan(samples=self.options.bootstrap_samples),
                held_out=[*([i.question for i in s.held_out] for s in studies), *([] for _ in more)],
                seed=self.here.settings.seed + turn,
                adapter=writer,
            )
            yields = {"sampled": found.sampled, "checked": found.checked, "answered": found.answered}
            return {**self._round_version(number, list(found.examples)), **yields}

        return self._round_record("bootstrap" if turn == 0 else f"bootstrap{turn + 1}", work)

    def _round(self, number: int) -> Record:
        writer, seed = self._writer(), self.here.settings.seed + 100 * number

        def explored(part: Sequence[Unit]) -> list[Record]:
            studies = self.here.studies(part)
            plan = self.options.plan
            return [asdict(e) for e in explore(studies, self.here.candidates, writer=writer, plan=plan, seed=seed)]

        def work() -> Record:
            kept = select(tried, margin=self.options.plan.margin)
            reliable = reward_reliability(tried, seed=seed)
            sets = sum(len(e.sets) for e in tried)
            return {
                **self._round_version(number, kept),
                "sets": sets,
                "interactions": len(tried),
                "reward": _mean([x for e in tried for own in e.rewards for x in own]),
                "baseline": _mean([x for e in tried for x in e.baseline]),
                "reliability": asdict(reliable) if reliable is not None else None,
            }

        if f"round{number}/improve" in self._known:
            return self._round_record(f"round{number}/improve", work)
        found = self._chunks(f"round{number}/explore", self._round_passages(number), explored)
        tried = [exploration_from_record(r) for r in found]
        return self._round_record(f"round{number}/improve", work)

    def _round_passages(self, number: int) -> list[Unit]:
        """The training passages of a round."""
        units, size = self.here.units["train"], self.options.per_round or len(self.here.units["train"])
        return [units[((number - 1) * size + n) % len(units)] for n in range(min(size, len(units)))]

    def _round_record(self, name: str, work: Callable[[], Record]) -> Record:
        found: Record = self.step(name, work)
        return found

    def _round_version(self, number: int, kept: Sequence[PolicyExample]) -> Record:
        """The policy version of a round; reuses one that a killed run left in the ledger."""
        version = next((v for v in self.here.ledger.policy.versions() if v.measures.get("round") == number), None)
        if version is None:
            version = improve(
                kept,
                self.here.interaction_ids(self.here.units["train"]),
                self.here.studies(self.here.units["judges"]),
                self.here.candidates,
                self.here.writers,
                plan=self.options.plan,
                seed=self.here.settings.seed + 100 * max(0, number),
                number=number,
            )
        return {"round": number, **_shown(version), "writer": self._writer()}

    def _writer(self) -> str | None:
        version = self.here.writers.current()
        return version.adapter_id if version is not None else None

    # -- the whole recipe -------------------------------------------------------------------------

    def _recipe(self, writers: Sequence[tuple[str, str | None]]) -> dict[str, Answers]:
        """Model-free items and notes at default settings, right shard given, and the text in the prompt.

        Asked as in the product (best of n), and greedily.
        """
        here, units = self.here, self.here.units["recipe"]
        settings = Settings.load(None, seed=self.options.seed)
        plan = replace(self.options.plan, per_statement=self.options.recipe_per_statement)
        ways = tuple(
            {r.count: r for r in (sample_options(settings.answering), ONCE)}.values()
        )  # one, where the setting is 1
        found = {"recipe: oracle": self._chunks("ask/recipe oracle", units, partial(with_the_text, here))}
        for name, by in writers:

            def ask(part: Sequence[Unit], by: str | None = by) -> Answers:
                studies = here.studies(part)
                sets = write_sets(studies, here.candidates, writer=by, plan=plan, seed=settings.seed)
                notes = [s.items for s in sets]
                return with_notes(here, part, studies, notes, arm=ARMS[0], settings=settings, sampling=ways)

            answers = self._chunks(f"ask/{name}", units, ask)
            found[name] = [a for a in answers if a["recitations"] == settings.answering.samples]
            found[f"{name}, greedily"] = [a for a in answers if a["recitations"] == 1]
        return found

    # -- the bandit -------------------------------------------------------------------------------

    def _bandit(self) -> dict[str, Answers]:
        """Arms learned on the training passages with the untouched base's notes, compared with the initial arm."""
        here = self.here
        arms = BanditArms(here.memory.workbench)
        if "bandit/learned" not in self._known:
            units = here.units["train"][: self.options.bandit_passages]
            self._chunks("bandit/learn", units, partial(self._learn_arms, arms))
        best = arms.bandit().best()
        learned = self.step("bandit/learned", lambda: {"arm": arm_name(best), "rewards": _by_arm(arms)})
        best = next(a for a in arms.arms if arm_name(a) == learned["arm"])
        found = {}
        for name, arm in (("default arm", ARMS[0]), ("bandit only", best)):

            def ask(part: Sequence[Unit], arm: Any = arm) -> Answers:
                studies = here.studies(part)
                sets = write_sets(
                    studies, here.candidates, writer=None, plan=self.options.plan, seed=here.settings.seed
                )
                return with_notes(here, part, studies, [s.items for s in sets], arm=arm)

            found[name] = self._chunks(f"ask/{name}", here.units["held_out"], ask)
        return found

    def _learn_arms(self, arms: BanditArms, units: Sequence[Unit]) -> list[Record]:
        """Try several arms per passage and reward each candidate; rewards are stored in the ledger."""
        here = self.here
        making = here.making(here.settings, self.tick)
        making.arms = lambda episode_id: arms.choose(episode_id, self.options.arms)
        for unit in units:
            studies = making.study([here.episode(unit)])
            edits = [e for s in studies for e in s.edits]
            making.train(edits)
            arms.learn(studies)
            for edit in edits:
                here.engine.drop(candidate_id(edit))
        return []


def _by_arm(arms: BanditArms) -> Record:
    bandit = arms.bandit()
    return {arm_name(a): {"tried": bandit.posterior(a).tried, "mean": bandit.posterior(a).mean} for a in arms.arms}


def _shown(version: PolicyVersion) -> Record:
    return {
        "version": version.version,
        "promoted": version.promoted,
        "reasons": list(version.reasons),
        "measures": dict(version.measures),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
