"""The candidates that grading is timed on: self-edits of one real passage, as the rows that everybody trains.

A self-edit's documents are SEAL's: each line of a note with the title in front, then the passage. The notes are those
of the file (by other models); where it has too few, the passage's own sentences in a new order. Every way trains the
same rows (the plain copy's encoding), the same number of steps, ranks and layers. Not here: training and timing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.speed.bench import Bench
from benchmarks.systems.finetuning import MAX_TOKENS, Recipe
from benchmarks.systems.seal_recipe import documents, seal_settings
from benchmarks.tasks import squad
from benchmarks.tasks.base import Chunk, Question, Unit
from seal_memory import prompts
from seal_memory.engines.batches import Row
from seal_memory.errors import InputError
from seal_memory.text import sentences


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


def work(bench: Bench) -> Work:
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


def recipe(bench: Bench, *, pad_to: int | None) -> Recipe:
    """SEAL's numbers with the run's own rank, layers and epochs; alpha is twice the rank."""
    options = bench.options
    seal = seal_settings(pad_to, epochs=options.epochs, rank=options.rank, alpha=2 * options.rank)
    return Recipe(seal.rank, seal.alpha, targets(bench), seal.learning_rate, seal.epochs, pad_to)


def targets(bench: Bench) -> tuple[str, ...]:
    """SEAL's two layers or all of seal-memory's."""
    named = {"seal": ("q_proj", "v_proj"), "all": tuple(bench.settings.target_modules)}
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
