"""Grading candidates: SEAL's way, plain PEFT one after another, and ours, on the very same rows.

SEAL's way pads every row to 2048, trains a candidate, saves it, loads it again and asks one question at a time. A
whole candidate takes half an hour on a small CPU and every padded step costs the same, so a few steps are timed and
counted up: `extrapolated`. Plain PEFT leaves the padding and the loading out; one whole candidate is timed and counted
up by its steps. Ours trains all candidates in one stack, with the same optimizer steps, screens them by the
log-probability of the answers in one pass, and generates for the finalists only.

Seconds of loading the base and of writing the notes count for nobody. Both baselines run in float32, as SEAL's recipe
in `benchmarks/systems` does, and in the engine's own number type. Not here: which rows (`candidates`), publishing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from benchmarks.speed import candidates as made
from benchmarks.speed.baselines import answer_one_by_one, loaded_adapters
from benchmarks.speed.bench import Bench, Figures
from benchmarks.speed.candidates import Candidate, Work
from benchmarks.speed.screening import Stack
from benchmarks.systems.finetuning import Recipe, TrainableBase, train


def run(bench: Bench) -> Figures:
    """Seconds a candidate of each way and number type, their parts, and the ratios to ours."""
    work = made.work(bench)
    dtypes = bench.options.baseline_dtypes or tuple(dict.fromkeys(("float32", bench.hardware.base_dtype)))
    with closing(Stack(bench, work)) as stack:
        ours = bench.step("ours", stack.graded)
        agreement = bench.step("agreement", stack.agreement)
    plain = {d: bench.step(f"plain PEFT, {d}", partial(_plain, bench, work, d)) for d in dtypes}
    padded = {d: bench.step(f"SEAL padded, {d}", partial(_padded, bench, work, d)) for d in dtypes}
    return {
        "passage": work.unit.id,
        "candidates": len(work.candidates),
        "questions": len(work.questions),
        "steps": work.steps,
        "tokens": sum(c.tokens for c in work.candidates),
        "rank": bench.options.rank,
        "targets": list(made.targets(bench)),
        "epochs": bench.options.epochs,
        "ours": ours,
        "agreement": agreement,
        "padded": padded,
        "plain": plain,
        "times_faster_than_padded": _ratios(padded, ours),
        "times_faster_than_plain": _ratios(plain, ours),
    }


def _ratios(baseline: dict[str, Figures], ours: Figures) -> dict[str, float]:
    return {dtype: f["seconds_per_candidate"] / ours["seconds_per_candidate"] for dtype, f in baseline.items()}


@dataclass(frozen=True, slots=True)
class _Timed:
    """One candidate trained by Trainer and PEFT: where the seconds went."""

    step: float  # one optimizer step, without the first
    around: float  # making and saving the adapter
    loading: float
    answering: float
    steps: int


def _padded(bench: Bench, work: Work, dtype: str) -> Figures:
    """SEAL's way: `padded_steps` steps after one that warms up, then counted up to a candidate's steps."""
    steps = bench.options.padded_steps
    recipe = made.recipe(bench, pad_to=bench.options.pad_to)
    timed = _time(bench, work, bench.plain_copy(dtype), recipe, work.most_typical()[0], max_steps=1 + steps)
    each = work.steps / len(work.candidates)
    grading = timed.loading + timed.answering
    return {
        **_figures(timed.step * each + timed.around, grading),
        "dtype": dtype,
        "pad_to": recipe.pad_to,
        "extrapolated": True,
        "steps_timed": steps,
        "steps_counted": each,
        "seconds_per_step": timed.step,
        "saving_seconds": timed.around,
        "loading_seconds": timed.loading,
    }


def _plain(bench: Bench, work: Work, dtype: str) -> Figures:
    """Plain PEFT: whole candidates, counted up to all of them by their steps."""
    recipe, base = made.recipe(bench, pad_to=None), bench.plain_copy(dtype)
    chosen = work.most_typical()[: max(1, bench.options.plain_candidates)]
    timed = [_time(bench, work, base, recipe, c) for c in chosen]
    per_step = sum(t.step * t.steps for t in timed) / sum(t.steps for t in timed)
    each = work.steps / len(work.candidates)
    return {
        **_figures(per_step * each + fmean(t.around for t in timed), fmean(t.answering for t in timed)),
        "dtype": dtype,
        "extrapolated": len(chosen) < len(work.candidates),
        "candidates_timed": len(chosen),
        "steps_timed": sum(t.steps for t in timed),
        "steps_counted": each,
        "seconds_per_step": per_step,
    }


def _figures(training: float, grading: float) -> Figures:
    whole = training + grading
    return {
        "seconds_per_candidate": whole,
        "training_seconds": training,
        "grading_seconds": grading,
        "training_share": training / whole,
    }


def _time(
    bench: Bench, work: Work, base: TrainableBase, recipe: Recipe, candidate: Candidate, *, max_steps: int = -1
) -> _Timed:
    """Train, save, load and ask; every stage timed by itself."""
    base.load()  # not part of learning
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = train(base, candidate.documents, recipe, into=Path(folder), seed=candidate.seed, max_steps=max_steps)
        trained = time.perf_counter()
        with loaded_adapters(base, [Path(folder)]) as model:
            loaded = time.perf_counter()
            answering, _ = answer_one_by_one(model, bench.engine, work.prompts, max_new_tokens=bench.options.max_tokens)
    steps = len(done.wall)
    return _Timed(_step_seconds(done.wall), trained - began - done.wall[-1], loaded - trained, answering, steps)


def _step_seconds(ends: Sequence[float]) -> float:
    """Of one step; the first one warms up, unless it is the only one."""
    return ends[0] if len(ends) == 1 else (ends[-1] - ends[0]) / (len(ends) - 1)
