"""Recall from a note-writer's notes on held-out passages: closed book, one adapter per passage.

Graded by containment within `max_tokens` (as everywhere in the benchmarks) and by log-probability, like the reward. The
questions are the data set's, because the writer is trained on generated quizzes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.policy.context import PolicyContext
from benchmarks.systems.on_base import reading
from benchmarks.tasks.base import Question, Unit
from seal_memory import prompts
from seal_memory.answering import best_of_n
from seal_memory.answering.best_of_n import SampleOptions
from seal_memory.config import Settings
from seal_memory.engines.base import Decoding, Prompt
from seal_memory.language.metrics import contains, mean, token_f1
from seal_memory.learning.candidates import Candidates, Study, candidate_id
from seal_memory.policy.rest_em import RoundPlan, write_sets
from seal_memory.policy.rewards import recall
from seal_memory.records import TrainingItem
from seal_memory.self_edits.generator import Arm, make_self_edit

Answers = list[dict[str, Any]]
ONCE = SampleOptions(1, 1.0)


def own_notes(here: PolicyContext, units: Sequence[Unit], *, writer: str | None, plan: RoundPlan) -> Answers:
    """Train on the writer's notes (none without `plan.genres`) and ask; one record per question."""
    studies = here.studies(units)
    notes: list[tuple[TrainingItem, ...]] = [() for _ in studies]
    if plan.genres:
        written = write_sets(studies, here.candidates, writer=writer, plan=plan, seed=here.settings.seed)
        notes = [s.items for s in written]
    return with_notes(here, units, studies, notes, arm=plan.arm)


def with_notes(
    here: PolicyContext, units: Sequence[Unit], studies: Sequence[Study], notes: Sequence[tuple[TrainingItem, ...]],
    *, arm: Arm, settings: Settings | None = None, sampling: Sequence[SampleOptions] = (ONCE,),
) -> Answers:  # fmt: skip
    """Train on given notes under any arm, with the arm's model-free items, and ask; one record per question and way.

    `settings`: of the training; None: the run's. Each question is asked with all options of `sampling`
    (`seal_memory.answering.best_of_n`).
    """
    settings = settings or here.settings
    unit_of = {f"e-{u.id}": u for u in units}
    found: Answers = []
    for turn in range(here.options.eval_seeds):
        edits = [
            make_self_edit(
                s.episode, s.statements, own, (), arm=arm, settings=settings.learning,
                held_out=[i.question for i in s.held_out], seed=here.settings.seed + turn,
                id=here.candidates.make_id(),
            )
            for s, own in zip(studies, notes, strict=True)
        ]  # fmt: skip
        size = settings.learning.stack_size
        for at in range(0, len(edits), size):
            batch = edits[at : at + size]
            here.candidates.train(batch)
            asked = [(unit_of[e.episode_id], candidate_id(e)) for e in batch]
            for way in sampling:
                told = {"turn": turn, "recitations": way.count}
                found += [{**r, **told} for r in _ask(here.candidates, asked, here, way)]
            for edit in batch:
                here.engine.drop(candidate_id(edit))
    counts = {f"e-{u.id}": 0 for u in units} | {s.episode.id: len(n) for s, n in zip(studies, notes, strict=True)}
    return [{**r, "notes": counts[f"e-{r['unit']}"]} for r in found]


def with_the_text(here: PolicyContext, units: Sequence[Unit]) -> Answers:
    """The oracle: the untouched model with the passage in its prompt."""
    questions = [(unit, q) for unit in units for q in unit.questions]
    wanted = [Prompt(reading([c.text for c in unit.chunks], q.text)) for unit, q in questions]
    return [{**r, "turn": 0, "notes": 0} for r in _answered(here.candidates, questions, wanted, here, ONCE)]


def _ask(
    candidates: Candidates, asked: Sequence[tuple[Unit, str]], here: PolicyContext, sampling: SampleOptions
) -> Answers:
    questions = [(unit, q, adapter) for unit, adapter in asked for q in unit.questions]
    wanted = [Prompt(prompts.direct(q.text), adapter) for _, q, adapter in questions]
    return _answered(candidates, [(unit, q) for unit, q, _ in questions], wanted, here, sampling)


def _answered(
    candidates: Candidates,
    questions: Sequence[tuple[Unit, Question]],
    wanted: Sequence[Prompt],
    here: PolicyContext,
    sampling: SampleOptions,
) -> Answers:
    asked = [(p, q.text) for p, (_, q) in zip(wanted, questions, strict=True)]
    answers = best_of_n.complete(asked, candidates.engine, Decoding(here.options.max_tokens), sampling)
    scores = candidates.engine.score([(p, q.answers[0]) for p, (_, q) in zip(wanted, questions, strict=True)])
    return [
        {
            "unit": unit.id,
            "question": q.id,
            "correct": float(any(contains(a.text, gold) for gold in q.answers)),
            "f1": max(token_f1(a.text, gold) for gold in q.answers),
            "recall": recall(s),
        }
        for (unit, q), a, s in zip(questions, answers, scores, strict=True)
    ]


def by_unit(answers: Answers, figure: str) -> dict[str, float]:
    """The mean of a figure over each passage's questions and seeds, for paired comparisons."""
    groups: dict[str, list[float]] = {}
    for record in answers:
        groups.setdefault(record["unit"], []).append(record[figure])
    return {unit: mean(values) for unit, values in groups.items()}
