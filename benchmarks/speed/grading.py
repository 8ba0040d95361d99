"""Speed of grading candidates: SEAL's method, plain PEFT one after another, and the stack, on the same rows.

The candidates are self-edits of one real passage. A self-edit's documents are SEAL's: each line of a note with the
title in front, then the passage. Notes come from the file (by other models); if too few, the passage's sentences in a
new order are added. Every method trains the same rows (the plain copy's encoding), steps, rank and layers.

SEAL's method pads every row to 2048, trains a candidate, saves it, loads it again and asks one question at a time. A
whole candidate takes half an hour on a small CPU and every padded step costs the same, so a few steps are timed and
extrapolated (`extrapolated`). Plain PEFT skips the padding and the loading; one whole candidate is timed and
extrapolated by its steps. The stack trains all candidates at once with the same optimizer steps, and generates all
answers in one batch.

Loading the base and writing the notes are not counted. Both baselines run in float32, like SEAL's recipe in
`benchmarks/systems`, and in the engine's dtype. Not here: publishing.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import torch

from benchmarks.speed.bench import Bench, Figures, answer_one_by_one, loaded_adapters
from benchmarks.systems.finetuning import MAX_TOKENS, Recipe, TrainableBase
from benchmarks.systems.finetuning import train as train_with_peft
from benchmarks.systems.seal_recipe import documents, seal_settings
from benchmarks.tasks import squad
from benchmarks.tasks.base import Chunk, Question, Unit
from seal_memory import prompts
from seal_memory.engines.base import Prompt
from seal_memory.engines.batches import Row
from seal_memory.errors import InputError
from seal_memory.language.text import sentences
from seal_memory.learning.inner_loop import TrainingJob, train
from seal_memory.lora.adapter import LoraAdapter, LoraConfig


@dataclass(frozen=True, slots=True)
class Candidate:
    """One self-edit and one seed."""

    documents: tuple[str, ...]
    rows: tuple[Row, ...]
    seed: int
    epochs: int

    @property
    def steps(self) -> int:
        """Optimizer steps: one row each."""
        return self.epochs * len(self.rows)

    @property
    def tokens(self) -> int:
        """Real tokens that are trained."""
        return self.epochs * sum(len(r.ids) for r in self.rows)

    def batches(self) -> list[list[int]]:
        """The row of every step: each epoch in a new order, as Trainer does."""
        rng = random.Random(self.seed)
        return [[row] for _ in range(self.epochs) for row in rng.sample(range(len(self.rows)), len(self.rows))]


@dataclass(frozen=True, slots=True)
class Work:
    """What is graded: the candidates of one passage, and its questions with their encoded closed-book prompts."""

    unit: Unit
    candidates: tuple[Candidate, ...]
    questions: tuple[Question, ...]
    prompts: tuple[tuple[int, ...], ...]

    @property
    def steps(self) -> int:
        return sum(c.steps for c in self.candidates)

    def most_typical(self) -> list[Candidate]:
        """The candidates by how near their rows' mean length is to everybody's: those to time when not all are."""
        lengths = {id(c): fmean(len(r.ids) for r in c.rows) for c in self.candidates}
        middle = fmean(lengths.values())
        return sorted(self.candidates, key=lambda c: abs(lengths[id(c)] - middle))


def candidates_of(bench: Bench) -> Work:
    """The candidates of the passage at `start`. Raises `InputError` for one without questions."""
    options = bench.options
    unit = bench.passages(1)[0]
    if not unit.questions:
        raise InputError(f"{options.data}: passage {options.start} has no questions; choose another with --start")
    edits = [documents(unit.chunks[0], note) for note in _notes(bench, unit, options.self_edits)]
    rows = [tuple(_row(bench, text) for text in texts) for texts in edits]
    made = [
        Candidate(tuple(texts), encoded, options.seed + seed, options.epochs)
        for texts, encoded in zip(edits, rows, strict=True)
        for seed in range(options.seeds_per_edit)
    ]
    asked = tuple(tuple(bench.engine.encode_prompt(prompts.direct(q.text))) for q in unit.questions)
    return Work(unit, tuple(made), unit.questions, asked)


def recipe_of(bench: Bench, *, pad_to: int | None) -> Recipe:
    """SEAL's numbers with the run's own rank, layers and epochs; alpha is twice the rank."""
    options = bench.options
    seal = seal_settings(pad_to, epochs=options.epochs, rank=options.rank, alpha=2 * options.rank)
    return Recipe(seal.rank, seal.alpha, targets_of(bench), seal.learning_rate, seal.epochs, pad_to)


def targets_of(bench: Bench) -> tuple[str, ...]:
    """SEAL's two layers or all of seal-memory's."""
    named = {"seal": ("q_proj", "v_proj"), "all": tuple(bench.settings.learning.target_modules)}
    if bench.options.targets not in named:
        raise InputError(f"--targets is {bench.options.targets!r}; expected one of {', '.join(named)}")
    return named[bench.options.targets]


def _notes(bench: Bench, unit: Unit, count: int) -> list[str]:
    """Notes of the file, then as many shuffles of the passage's sentences as are missing."""
    options = bench.options
    written = squad.every_note(options.data)[unit.id] if options.data is not None else []
    notes = written[:count]
    for n in range(count - len(notes)):
        notes.append(_shuffled(unit.chunks[0], options.seed + n))
    return notes


def _shuffled(chunk: Chunk, seed: int) -> str:
    lines: Sequence[str] = list(sentences(chunk.text))
    return "\n".join(random.Random(seed).sample(lines, len(lines)))


def _row(bench: Bench, text: str) -> Row:
    """What the plain copy's `encode` gives: every token but the first is a target."""
    ids = bench.engine.tokenizer(text, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    return Row(tuple(ids), 0)


class Stack:
    """The trained candidates in the engine, under names of their own; `close` takes them out."""

    def __init__(self, bench: Bench, work: Work) -> None:
        self.bench, self.work = bench, work
        self.names = [f"speed:{n}" for n in range(len(work.candidates))]
        self._trained = False

    def close(self) -> None:
        for name in self.names if self._trained else ():
            self.bench.engine.drop(name)

    def graded(self) -> Figures:
        """Train all candidates, and generate the answers of all; seconds for a candidate and for each stage."""
        began = time.perf_counter()
        self._train()
        trained = time.perf_counter()
        self._answer()
        done, count = time.perf_counter(), len(self.names)
        return {
            "seconds_per_candidate": (done - began) / count,
            "training_seconds": (trained - began) / count,
            "grading_seconds": (done - trained) / count,
            "training_share": (trained - began) / (done - began),
            "total_seconds": done - began,
            "tokens_per_second": sum(c.tokens for c in self.work.candidates) / (trained - began),
            "dtype": self.bench.hardware.base_dtype,
            "extrapolated": False,
            "token_budget": self.bench.settings.learning.token_budget,
            "threads": torch.get_num_threads(),
        }

    def _train(self) -> None:
        engine = self.bench.engine
        recipe = recipe_of(self.bench, pad_to=None)
        config = LoraConfig(recipe.rank, float(recipe.alpha), targets_of(self.bench))
        adapters = [engine.stack.create(config, seed=c.seed) for c in self.work.candidates]
        jobs = [_job(a, c, recipe.learning_rate) for a, c in zip(adapters, self.work.candidates, strict=True)]
        with engine.lock:
            train(engine.stack, jobs, token_budget=self.bench.settings.learning.token_budget, pad_id=engine.pad_id)
        for name, adapter in zip(self.names, adapters, strict=True):
            engine.put(name, adapter)
        self._trained = True

    def _answer(self) -> None:
        """Every question under every candidate, in one call."""
        asked = [Prompt(prompts.direct(q.text), n) for n in self.names for q in self.work.questions]
        self.bench.engine.complete(asked, max_tokens=self.bench.options.max_tokens)


def _job(adapter: LoraAdapter, candidate: Candidate, learning_rate: float) -> TrainingJob:
    return TrainingJob(adapter, candidate.rows, candidate.batches(), learning_rate)


def run(bench: Bench) -> Figures:
    """Seconds a candidate of each way and number type, their parts, and the ratios to ours."""
    work = candidates_of(bench)
    dtypes = bench.options.baseline_dtypes or tuple(dict.fromkeys(("float32", bench.hardware.base_dtype)))
    with closing(Stack(bench, work)) as stack:
        ours = bench.step("ours", stack.graded)
    plain = {d: bench.step(f"plain PEFT, {d}", partial(_plain, bench, work, d)) for d in dtypes}
    padded = {d: bench.step(f"SEAL padded, {d}", partial(_padded, bench, work, d)) for d in dtypes}
    return {
        "passage": work.unit.id,
        "candidates": len(work.candidates),
        "questions": len(work.questions),
        "steps": work.steps,
        "tokens": sum(c.tokens for c in work.candidates),
        "rank": bench.options.rank,
        "targets": list(targets_of(bench)),
        "epochs": bench.options.epochs,
        "ours": ours,
        "padded": padded,
        "plain": plain,
        "times_faster_than_padded": _ratios(padded, ours),
        "times_faster_than_plain": _ratios(plain, ours),
    }


def _ratios(baseline: dict[str, Figures], ours: Figures) -> dict[str, float]:
    return {dtype: f["seconds_per_candidate"] / ours["seconds_per_candidate"] for dtype, f in baseline.items()}


@dataclass(frozen=True, slots=True)
class _CandidateTimes:
    """One candidate trained by Trainer and PEFT: where the seconds went."""

    step: float  # one optimizer step, without the first
    around: float  # making and saving the adapter
    loading: float
    answering: float
    steps: int


def _padded(bench: Bench, work: Work, dtype: str) -> Figures:
    """SEAL's way: `padded_steps` steps after one that warms up, then counted up to a candidate's steps."""
    steps = bench.options.padded_steps
    recipe = recipe_of(bench, pad_to=bench.options.pad_to)
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
    recipe, base = recipe_of(bench, pad_to=None), bench.plain_copy(dtype)
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
) -> _CandidateTimes:
    """Train, save, load and ask; every stage timed by itself."""
    base.load()  # not part of learning
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = train_with_peft(
            base, candidate.documents, recipe, into=Path(folder), seed=candidate.seed, max_steps=max_steps
        )
        trained = time.perf_counter()
        with loaded_adapters(base, [Path(folder)]) as model:
            loaded = time.perf_counter()
            answering, _ = answer_one_by_one(model, bench.engine, work.prompts, max_new_tokens=bench.options.max_tokens)
    steps = len(done.wall)
    return _CandidateTimes(
        _step_seconds(done.wall), trained - began - done.wall[-1], loaded - trained, answering, steps
    )


def _step_seconds(ends: Sequence[float]) -> float:
    """Of one step; the first one warms up, unless it is the only one."""
    return ends[0] if len(ends) == 1 else (ends[-1] - ends[0]) / (len(ends) - 1)
