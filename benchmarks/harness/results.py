"""Results file of a run: every figure of `report/FORMAT.md`, computed from the journals.

Not here: running (`experiments`), charts and pages (`report`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import metrics
from benchmarks.harness.journal import SUFFIX, Record, finished
from benchmarks.tasks.base import Question, Task
from seal_memory.errors import InputError
from seal_memory.forgetting import retention
from seal_memory.language.metrics import contains, exact_match, token_f1

FORMAT = 1
COSTLY = ("core",)  # ways that are trained when they are asked
Judged = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """The finished records of all journals of one experiment, and the task they are about."""

    experiment: str
    task: Task
    per_session: int
    heads: tuple[Record, ...]
    records: tuple[Record, ...]  # each with its journal's "seed"
    wall_seconds: float


def read_run(folder: Path, experiment: str, task: Task, per_session: int) -> Run:
    """Every journal in `folder`."""
    heads: list[Record] = []
    records: list[Record] = []
    wall = 0.0
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        head, *rest = finished(path)
        heads.append(head)
        records += [{**r, "seed": head["seed"]} for r in rest if r["kind"] not in ("done", "took")]
        wall += sum(r["seconds"] for r in rest if r["kind"] == "took")
    return Run(experiment, task, per_session, tuple(heads), tuple(records), wall)


def results(run: Run, ways: Sequence[str]) -> dict[str, Any]:
    """The results file of a run; `ways` gives the order of the rows."""
    judged = judge(run)
    found = {r["way"] for r in run.records if r.get("way")}
    newest = max(run.heads, key=lambda h: h["provenance"]["started"])
    return {
        "format": FORMAT,
        "experiment": run.experiment,
        "task": run.task.name,
        "questions": len({j["question"] for j in judged}),
        "units": len(run.task.units),
        "max_tokens": newest["options"]["max_tokens"],
        "latency_sample": newest["options"]["latency"],
        "provenance": {
            **newest["provenance"],
            "flags": {
                "task": run.task.options,
                **newest["options"],
                "systems": {h["system"]: h["settings"] for h in run.heads},
            },
            "data_sha256": run.task.data_sha256,
            "seeds": sorted({h["seed"] for h in run.heads}),
            "wall_seconds": run.wall_seconds,
        },
        "ways": {w: _way(w, run, judged) for w in (*ways, *sorted(found - set(ways))) if w in found},
    }


_SAME = ("experiment", "task", "max_tokens", "units")
_SAME_PROVENANCE = ("data_sha256", "seeds")
_SAME_FLAGS = ("task", "per_session", "sizes", "most_questions", "forget_every")


def beside(found: dict[str, Any], earlier: Mapping[str, Any], ways: Sequence[str]) -> dict[str, Any]:
    """Add to a run's results the ways of systems that only an earlier results file has; `ways` gives the order.

    Raises `InputError` if the two runs differ in questions or model.
    """
    for what, here, there in _pairs(found, earlier):
        if here != there:
            raise InputError(
                f"The file of --beside has {what} {there!r}, this run {here!r}; expected a run with the same value."
            )
    own = {w["system"] for w in found["ways"].values()}
    taken = {name: way for name, way in earlier["ways"].items() if way["system"] not in own}
    base = next((w["perplexity_base"] for w in taken.values() if w.get("perplexity_base") is not None), None)
    measured = {w: {**row, "perplexity_base": row.get("perplexity_base") or base} for w, row in found["ways"].items()}
    both = {**taken, **measured}
    before, now = earlier["provenance"], found["provenance"]
    systems = {k: v for k, v in before["flags"]["systems"].items() if k not in own}
    source = {k: before[k] for k in ("commit", "started", "command")}
    taken_over = [*before.get("taken_over", []), {**source, "systems": sorted({w["system"] for w in taken.values()})}]
    provenance = {
        **now,
        "flags": {**now["flags"], "systems": {**systems, **now["flags"]["systems"]}},
        "taken_over": taken_over,
    }
    order = [w for w in (*ways, *sorted(both.keys() - set(ways))) if w in both]
    return {**found, "provenance": provenance, "ways": {w: both[w] for w in order}}


def _pairs(found: Mapping[str, Any], earlier: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in _SAME:
        yield key, found[key], earlier[key]
    now, before = found["provenance"], earlier["provenance"]
    for key in _SAME_PROVENANCE:
        yield key, now[key], before[key]
    for key in _SAME_FLAGS:
        yield key, now["flags"][key], before["flags"][key]
    yield "the model", now["model"]["fingerprint"], before["model"]["fingerprint"]


# -- grading ------------------------------------------------------------------------------------------


def judge(run: Run) -> list[Judged]:
    """Grade every answer. The right answer to an unanswerable question is an abstention."""
    from seal_memory.quizzes.grader import grade_answers

    questions = {q.id: q for u in run.task.units for q in u.questions}
    answers = [r for r in run.records if r["kind"] == "answer"]
    pairs = [(questions[r["question"]], r) for r in answers if questions[r["question"]].answers]
    local = grade_answers([(q.text, q.answers[0], r["text"]) for q, r in pairs])
    verdicts = {id(r): v.correct for (_, r), v in zip(pairs, local, strict=True)}
    return [{**r, **_marks(questions[r["question"]], r["text"], verdicts.get(id(r)))} for r in answers]


def _marks(question: Question, text: str, verdict: bool | None) -> dict[str, Any]:
    golds = question.answers
    right = any(contains(text, g) for g in golds)
    # "changed from 4 to 5" holds both values and is right; outdated is an answer with the old value alone
    old = not right and any(contains(text, o) for o in question.outdated)
    common = {"kind_of_question": question.kind, "old": float(old), "changed": bool(question.outdated)}
    if not golds:
        return {**common, "answerable": False, "accuracy": float(abstains(text))}
    return {
        **common,
        "answerable": True,
        "accuracy": float(right),
        "exact": float(any(exact_match(text, g) for g in golds)),
        "f1": max(token_f1(text, g) for g in golds),
        "judged": float(bool(verdict)),
    }


_NO_ANSWER = re.compile(
    r"\b(?:(?:do|does|did) ?n[o']t know|not know|no (?:information|idea|mention|record)|unknown|unclear|unable to"
    r"|can(?:not|'t) (?:say|tell|answer|find)|not (?:mentioned|stated|specified|given|known|sure|available))\b",
    re.IGNORECASE,
)


def abstains(text: str) -> bool:
    """Whether an answer abstains (LoCoMo's check, arXiv 2402.17753, with more wordings)."""
    return not text.strip() or _NO_ANSWER.search(text.replace("’", "'")) is not None


# -- one way's figures --------------------------------------------------------------------------------


def _way(way: str, run: Run, judged: Sequence[Judged]) -> dict[str, Any]:
    own = [j for j in judged if j["way"] == way]
    records = [r for r in run.records if r.get("way") == way]
    system = next((r["system"] for r in records), "")
    row: dict[str, Any] = {"system": system, **_costs(way, system, run), **_base_perplexity(way, run)}
    special = {"scale": _scale, "update": _update, "delete": _delete, "sessions": _sessions}.get(run.experiment)
    final = _final(own, run)
    row |= {**_answers(final), "by_kind": _by_kind(final)}
    if special is not None:
        row |= special(way, run, own)
    why = [r["why"] for r in run.records if r["kind"] == "unsupported" and r.get("way") in (way, None)]
    if why:
        row["notes"] = why[0]
    return row


def _answers(own: Sequence[Judged]) -> dict[str, Any]:
    """Accuracy, exact match, F1 and graded share over answerable questions."""
    known = [j for j in own if j["answerable"]]
    found = [float(j["found"]) for j in known if j["found"] is not None]
    row: dict[str, Any] = {m: metrics.bootstrap([j[m] for j in known]) for m in ("accuracy", "exact", "f1", "judged")}
    row["prompt_tokens"] = metrics.mean([j["prompt_tokens"] for j in own])
    row["generated_tokens"] = metrics.mean([j["generated_tokens"] for j in own])
    row["evidence_accuracy"] = metrics.mean(found)
    return row


def _final(own: Sequence[Judged], run: Run) -> list[Judged]:
    """The answers of the overall figures: those after the last session, or before any forgetting."""
    if run.experiment in ("sessions", "update", "scale"):
        last = max((_number(j["step"]) for j in own), default=0)
        return [j for j in own if _number(j["step"]) == last]
    return [j for j in own if j["phase"] in ("", "before")]


def _costs(way: str, system: str, run: Run) -> dict[str, Any]:
    """Costs of learning and answering. A way that trains to be asked has its own seconds, not the system's."""
    learned = [r for r in run.records if r["kind"] == "learn" and r["system"] == system]
    seeds = max(1, len({r["seed"] for r in learned}))
    seconds: float | None = sum(r["seconds"] for r in learned) / seeds
    tokens: float | None = sum(r["tokens"] for r in learned) / seeds
    own = [r for r in run.records if r.get("way") == way]
    timed = [r for r in own if r["kind"] == "times"]
    dear = [r["seconds"] for r in own if r["kind"] == "dear"]
    if way in COSTLY:
        seconds, tokens = (sum(dear) / seeds if dear else None), None
    peaks = [r["peak"] for r in learned] + [r["peak"] for r in own if r["kind"] == "asked"]
    return {
        "first_token_seconds": metrics.times([s for r in timed for s in r["first"]]),
        "answer_seconds": metrics.times([s for r in timed for s in r["answer"]]),
        "training_seconds": seconds,
        "training_tokens": tokens,
        "training_seconds_per_unit": None
        if seconds is None
        else seconds / max(1, _units_learned(run, len(learned) / seeds)),
        "peak_memory_bytes": max(peaks, default=None),
        "disk_bytes": max((r["disk"] for r in learned), default=None),
    }


def _units_learned(run: Run, steps: float) -> float:
    """Number of units learned in `steps` steps; the run may be unfinished."""
    if run.experiment in ("sessions", "update"):
        return min(steps * run.per_session, len(run.task.units))
    return steps if run.experiment == "single" else len(run.task.units)


def _base_perplexity(way: str, run: Run) -> dict[str, Any]:
    measured = [r for r in run.records if r["kind"] == "perplexity"]
    own = [r for r in measured if r["way"] == way]
    base = next((r["value"] for r in measured if r["way"] == "untouched"), None)
    steps = sorted({_number(r["step"]) for r in own})
    by_step = [fmean(r["value"] for r in own if _number(r["step"]) == s) for s in steps]
    return {
        "perplexity": by_step[-1] if by_step else None,
        "perplexity_base": base,
        "perplexity_by_session": by_step or None,
    }


# -- figures of one experiment ------------------------------------------------------------------------


def _sessions(way: str, run: Run, own: Sequence[Judged]) -> dict[str, Any]:
    """R[i][j]: accuracy on session j's answerable questions after session i, mean over seeds.

    Only questions valid to the end, so that a column always asks the same ones (`update` has the others).
    """
    session_of = {u.id: n // run.per_session for n, u in enumerate(run.task.units)}
    lasting = {q.id for u in run.task.units for q in u.questions if _holds_to_the_end(q, run.task)}
    cells: dict[tuple[int, int], list[float]] = defaultdict(list)
    for j in own:
        if j["answerable"] and j["question"] in lasting:
            cells[_number(j["step"]), session_of[j["unit"]]].append(j["accuracy"])
    count = 1 + max((i for i, _ in cells), default=-1)
    matrix = [[metrics.mean(cells[i, j]) for j in range(i + 1)] for i in range(count)]
    return {
        "retention": matrix,
        "average_accuracy": retention.average_accuracy(matrix),
        "bwt": retention.backward_transfer(matrix),
        "forgetting": retention.forgetting(matrix),
        **_update(way, run, own),
    }


def _holds_to_the_end(question: Question, task: Task) -> bool:
    return question.valid_until is None or question.valid_until >= len(task.units)


def _by_kind(own: Sequence[Judged]) -> dict[str, Any]:
    groups: dict[str, list[float]] = defaultdict(list)
    for j in own:
        groups[j["kind_of_question"]].append(j["accuracy"])
    return {kind: {"accuracy": fmean(values), "n": len(values)} for kind, values in sorted(groups.items())}


def _scale(way: str, run: Run, own: Sequence[Judged]) -> dict[str, Any]:
    points: list[dict[str, Any]] = []
    for step in sorted({j["step"] for j in own}, key=_number):
        here = [j for j in own if j["step"] == step]
        there = [r for r in run.records if r["step"] == step and r.get("system") == here[0]["system"]]
        size = next(r["facts"] for r in there if r["kind"] == "size")
        learned = [r for r in there if r["kind"] == "learn"]
        before = points[-1]["facts"] if points else 0
        timed = [r for r in there if r["kind"] == "times" and r["way"] == way]
        seconds = fmean(r["seconds"] for r in learned)
        points.append(
            {
                "facts": size,
                **_answers(here),
                "training_seconds_per_fact": seconds / max(1, size - before),
                "answer_seconds": metrics.times([s for r in timed for s in r["answer"]]),
                "first_token_seconds": metrics.times([s for r in timed for s in r["first"]]),
                "disk_bytes": max(r["disk"] for r in learned),
            }
        )
    return {"points": points}


def _update(way: str, run: Run, own: Sequence[Judged]) -> dict[str, Any]:
    """Shares of the questions about changed facts answered with the new value, or with an old one alone."""
    changed = [j for j in _final(own, run) if j["answerable"] and j["changed"]]
    return {
        "new_value": metrics.bootstrap([j["accuracy"] for j in changed]),
        "old_value": metrics.bootstrap([j["old"] for j in changed]),
    }


def _delete(way: str, run: Run, own: Sequence[Judged]) -> dict[str, Any]:
    every = run.heads[0]["options"]["forget_every"]
    gone = {u.id for n, u in enumerate(run.task.units) if n % every == 0}

    def stat(phase: str, wanted: Callable[[str], bool]) -> dict[str, float] | None:
        chosen = [j for j in own if j["phase"] == phase and j["answerable"] and wanted(j["unit"])]
        return metrics.bootstrap([j["accuracy"] for j in chosen])

    return {
        "before": stat("before", gone.__contains__),
        "after": stat("after", gone.__contains__),
        "never_saw": stat("never-saw", gone.__contains__),
        "kept_before": stat("before", lambda u: u not in gone),
        "kept_after": stat("after", lambda u: u not in gone),
    }


def _number(step: str) -> int:
    """The number of a step ("session-7": 7); 0 without one."""
    tail = step.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0
