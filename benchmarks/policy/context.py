"""Context of a policy run: a memory folder with the observed passages, their quizzes and the note-writer's versions.

After a kill the same folder is reused; data in the ledger is not made again. Not here: the steps (`run`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.policy.options import Options
from benchmarks.tasks import squad
from benchmarks.tasks.base import Unit
from seal_memory._internal.progress import Progress
from seal_memory.config import Settings
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import InputError
from seal_memory.learning.candidates import Candidates, Study
from seal_memory.memory import SealMemory
from seal_memory.policy.versions import NoteWriters
from seal_memory.records import Episode, Interaction


class PolicyContext:
    """The run's memory; `close` it. `units`: passages by use: train, judges, held_out, recipe, bootstrap."""

    def __init__(
        self, options: Options, work: Path, settings: Settings, *, engine: TransformersEngine, progress: Progress
    ) -> None:
        self.options, self.settings, self.engine = options, settings, engine
        self.units = _split(options)
        self.memory = SealMemory.open(work / "memory", model=options.model, settings=settings, engine=engine)
        self.ledger = self.memory.ledger
        self.candidates = self.making(settings, progress)
        self.writers = NoteWriters(self.memory.workbench)
        self._interactions = self._observe()

    def making(self, settings: Settings, progress: Progress) -> Candidates:
        """Candidates under other settings (more of them, say), over the same ledger."""
        return Candidates(replace(self.memory.workbench, settings=settings, progress=progress))

    def studies(self, units: Sequence[Unit]) -> list[Study]:
        """The units' studies with their quizzes, made on first use."""
        return self.candidates.make_quizzes([self.episode(u) for u in units])

    def episode(self, unit: Unit) -> Episode:
        """The episode of a passage: the passage alone."""
        seen = tuple(self._interactions[c.id] for c in unit.chunks)
        return Episode(f"e-{unit.id}", unit.chunks[0].title, seen)

    def interaction_ids(self, units: Sequence[Unit]) -> set[str]:
        """The interaction ids of the units."""
        return {self._interactions[c.id].id for u in units for c in u.chunks}

    def close(self) -> None:
        """Close the memory; the engine stays usable."""
        self.memory.close()

    def _observe(self) -> dict[str, Interaction]:
        found: dict[str, Interaction] = {}
        for unit in (u for own in self.units.values() for u in own):
            for chunk in unit.chunks:
                (seen,) = self.memory.observe(
                    chunk.text, role=chunk.role, title=chunk.title, source=chunk.source, session=unit.id
                )
                (found[chunk.id],) = self.ledger.interactions(ids=[seen.id])
        return found


def _split(options: Options) -> dict[str, list[Unit]]:
    """Split the passages by use. Raises `InputError` if the file is too short, or a passage is in training and test."""
    sizes = {"train": options.train, "judges": options.judges}
    if options.held_out_start is None:
        sizes["held_out"] = options.held_out
    wanted = sum(sizes.values())
    units = squad.load(options.data, start=options.start, limit=wanted).units
    if len(units) < wanted:
        raise InputError(
            f"{options.data} has {len(units)} passages from {options.start} on; expected {wanted} for --train, "
            "--judges and --held-out together; ask for fewer"
        )
    found, at = {}, 0
    for name, size in sizes.items():
        found[name] = list(units[at : at + size])
        at += size
    if options.held_out_start is not None:
        found["held_out"] = _others(options, "held-out", options.held_out_start, options.held_out)
    recipe = options.recipe_passages if {"recipe", "recipe-before"} & set(options.ways) else 0
    found["recipe"] = _others(options, "recipe", options.recipe_start, recipe)
    found["bootstrap"] = _others(options, "bootstrap", options.bootstrap_start, options.more_bootstrap)
    taught = {u.id for u in found["bootstrap"]}
    if met := [u.id for name in ("judges", "held_out", "recipe") for u in found[name] if u.id in taught]:
        raise InputError(f"Passage {met[0]} would be in training and test; give another --bootstrap-start")
    return found


def _others(options: Options, flag: str, first: int, count: int) -> list[Unit]:
    """More passages. Raises `InputError` if the file has fewer, or if they overlap training or validation passages."""
    if not count:
        return []
    if first < options.start + options.train + options.judges and options.start < first + count:
        raise InputError(
            f"--{flag}-start {first} and {count} passages overlap the training or validation passages; expected others."
        )
    units = squad.load(options.data, start=first, limit=count).units
    if len(units) < count:
        raise InputError(f"{options.data} has {len(units)} passages from {first} on; expected {count}: ask for fewer")
    return list(units)
