"""Speed of `consolidate` end to end as the memory grows, and time to the first token compared with BM25 retrieval.

Makes a memory of the given number of learned texts, then observes and consolidates new passages one by one with default
settings (or `--set`). Then asks the passages' own questions for one token: from the weights, routing included, and with
1 and 5 chunks in the prompt that BM25 finds in the same ledger. The first question of a process checks every adapter
file; it is reported separately.

The existing memories are cheap fillers (`fill`). Each is a text of four real sentences, drawn at random from passages
that are not measured, with all ledger rows of a learned text: self-edit, graded quiz items, decision, adapter, entry in
the published snapshot. Only its adapter is small, random, of rank 1 on one kind of layer: a real one is 20 MB and takes
seconds to train, and neither routing nor the ledger reads it. Not here: correctness of answers.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.speed.bench import Bench, Figures, Timings, random_adapter
from benchmarks.tasks.base import Unit
from seal_memory.language.text import sentences
from seal_memory.learning.candidates import data_hash
from seal_memory.learning.publishing import store_adapter
from seal_memory.lora.adapter import LoraConfig
from seal_memory.memory import SealMemory
from seal_memory.prompts import about
from seal_memory.records import (
    AdapterKind,
    AdapterRecord,
    Decision,
    Genre,
    Grade,
    Hyperparameters,
    Manifest,
    NewInteraction,
    QuizItem,
    SelfEdit,
    ShardEntry,
    Status,
    TrainingItem,
)

CHUNKS = (1, 5)


def run(bench: Bench) -> Figures:
    """Every size of the memory; the same new passages at each."""
    sizes = [bench.step(f"{n} memories", partial(_at_size, bench, n)) for n in bench.options.sizes]
    return {"settings": bench.settings.flat(without=("engine.cache_dir",)), "sizes": sizes}


def _at_size(bench: Bench, size: int) -> Figures:
    folder = bench.work / f"memory-{size}"
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left is not whole
    new = bench.passages(bench.options.new_memories)
    others = [u for u in bench.task.units if u.id not in {n.id for n in new}]
    began = time.perf_counter()
    try:
        with ExitStack() as stack:
            memory = _open_memory(bench, folder, stack)
            fill(memory, others or new, size, seed=bench.options.seed)
            filled = time.perf_counter() - began
            first = _first_question(memory, new)
            learned = _learn(bench, memory, new)
            asked = _first_tokens(bench, folder, memory, new, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"memories": size, "filling_seconds": filled, "first_ask_seconds": first, **learned, **asked}


def _open_memory(bench: Bench, folder: Path, stack: ExitStack, **changes: Any) -> SealMemory:
    settings = bench.settings.changed(**changes)
    memory = SealMemory.open(folder, model=bench.options.model, settings=settings, engine=bench.engine)
    return stack.enter_context(memory)


def _first_question(memory: SealMemory, new: Sequence[Unit]) -> float:
    """With the check of every adapter file that the published snapshot names."""
    return _seconds(memory, new[0].questions[0].text if new[0].questions else "What is new?", "weights")


def _learn(bench: Bench, memory: SealMemory, new: Sequence[Unit]) -> Figures:
    """Observe and consolidate passage by passage, while the budget lasts."""
    runs: list[Figures] = []
    began = time.perf_counter()
    budget = bench.options.budget_seconds / len(bench.options.sizes)
    for unit in new:
        if runs and time.perf_counter() - began + runs[-1]["seconds"] > budget:
            break
        chunk = unit.chunks[0]
        memory.observe(chunk.text, role=chunk.role, title=chunk.title, source=chunk.source)
        start = time.perf_counter()
        report = memory.consolidate()
        whole = time.perf_counter() - start
        phases = {**report.seconds, "rest": max(0.0, whole - sum(report.seconds.values()))}
        counts = {"episodes": report.episodes, "published": report.published, "refused": report.refused}
        runs.append({"passage": unit.id, "seconds": whole, "phases": phases, **counts})
    seconds = Timings(tuple(r["seconds"] for r in runs))
    return {"seconds_per_memory": seconds.median, "phases": _mean_phases(runs), "runs": runs}


def _mean_phases(runs: Sequence[Figures]) -> dict[str, float]:
    names = dict.fromkeys(name for r in runs for name in r["phases"])
    return {name: sum(r["phases"].get(name, 0.0) for r in runs) / len(runs) for name in names}


def _first_tokens(bench: Bench, folder: Path, memory: SealMemory, new: Sequence[Unit], stack: ExitStack) -> Figures:
    """Median seconds to the first token, one question at a time, every way asked the same questions in turn."""
    asked = [q.text for unit in new for q in unit.questions][: bench.options.repeat]
    if not asked:
        return {"first_token_seconds": {}, "questions": 0, "routed": 0, "prompt_tokens": {}}
    ways: dict[str, tuple[SealMemory, str]] = {"weights": (memory, "weights")}
    for chunks in CHUNKS:
        ways[f"rag-{chunks}"] = (
            _open_memory(bench, folder, stack, **{"answering.retrieval_passages": chunks}),
            "retrieval",
        )
    tokens = {way: _prompt_tokens(m, asked[0], mode) for way, (m, mode) in ways.items()}  # and warm
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for question in asked:
        for way, (one, mode) in ways.items():
            taken[way].append(_seconds(one, question, mode))
    routed = sum(bool(memory.ask(q, mode="weights", max_tokens=1).shards) for q in asked)
    return {
        "first_token_seconds": {way: Timings(tuple(s)).median for way, s in taken.items()},
        "questions": len(asked),
        "routed": routed,
        "prompt_tokens": tokens,
    }


def _prompt_tokens(memory: SealMemory, question: str, mode: str) -> int:
    return memory.ask(question, mode=mode, max_tokens=1).prompt_tokens


def _seconds(memory: SealMemory, question: str, mode: str) -> float:
    began = time.perf_counter()
    memory.ask(question, mode=mode, max_tokens=1)
    return time.perf_counter() - began


SENTENCES = 4  # of one filler: about as long as a chunk for retrieval
VERSION = 1


@dataclass(frozen=True, slots=True)
class _FillerRecords:
    """Everything that the ledger holds of one filler."""

    interaction_id: str
    edit: SelfEdit
    quiz: tuple[QuizItem, ...]
    adapter: AdapterRecord
    decision: Decision


def fill(memory: SealMemory, units: Sequence[Unit], count: int, *, seed: int) -> None:
    """Make `count` learned and published memories in an empty memory, from sentences of `units`."""
    observed = memory.ledger.observe(texts(units, count, seed=seed))
    learned = [_learned(memory, o.id, n) for n, o in enumerate(observed)]
    shards = tuple(ShardEntry(f.adapter.id, f.edit.episode_id, (f.interaction_id,)) for f in learned)
    ledger = memory.ledger
    with ledger.atomic():
        ledger.add_self_edits([f.edit for f in learned])
        ledger.add_quiz_items([item for f in learned for item in f.quiz])
        for filler in learned:
            ledger.add_adapter(filler.adapter)
            ledger.add_decision(filler.decision)
        ledger.add_snapshot(Manifest(shards), parent=None, base_fingerprint=memory.engine.fingerprint)
        ledger.set_status([f.interaction_id for f in learned], Status.LEARNED)
        ledger.add_grades([grade for f in learned for grade in _grades(f)])


def texts(units: Sequence[Unit], count: int, *, seed: int) -> list[NewInteraction]:
    """`count` different texts, each with the title of its first sentence's passage."""
    known = [(unit.chunks[0].title, line) for unit in units for line in sentences(unit.chunks[0].text)]
    rng = random.Random(seed)
    made: dict[str, NewInteraction] = {}
    while len(made) < count:
        drawn = rng.sample(known, min(SENTENCES, len(known)))
        text = " ".join(line for _, line in drawn)
        if text in made:  # few sentences to draw from
            text = f"{text} Number {len(made)}."
        made[text] = NewInteraction(text, title=drawn[0][0], source=f"filler-{len(made)}")
    return list(made.values())


def _learned(memory: SealMemory, interaction_id: str, number: int) -> _FillerRecords:
    settings, name = memory.settings, f"filler-{number}"
    interaction = memory.ledger.interactions(ids=[interaction_id])[0]
    lines = list(sentences(interaction.text))
    cues = [(about(" ".join(line.split()[:4])), line) for line in lines]
    items = tuple(TrainingItem(Genre.SENTENCES, cue, line, (interaction_id,)) for cue, line in cues)
    plan = Hyperparameters(settings.learning.learning_rate, settings.learning.epochs, 1, 2.0)
    edit = SelfEdit(f"edit-{name}", f"episode-{name}", (interaction_id,), items, plan, number)
    quiz = tuple(
        QuizItem(
            f"quiz-{name}-{n}", (interaction_id,), f"{cue[:-1]}, in number {number}?", line.split()[-1], n % 2 == 0
        )
        for n, (cue, line) in enumerate(cues)
    )
    adapter = _adapter(memory, edit, number)
    decision = Decision(
        f"decision-{name}", adapter.id, edit.episode_id, True, (), {"gain": 0.5}, VERSION, interaction.time
    )
    return _FillerRecords(interaction_id, edit, quiz, adapter, decision)


def _adapter(memory: SealMemory, edit: SelfEdit, number: int) -> AdapterRecord:
    engine = memory.engine
    config = LoraConfig(1, 2.0, tuple(memory.settings.learning.target_modules[:1]))
    made = random_adapter(engine, config, seed=number)
    return store_adapter(
        memory.store,
        made,
        kind=AdapterKind.SHARD,
        base_model=memory.model,
        base_fingerprint=engine.fingerprint,
        interaction_ids=edit.interaction_ids,
        seed=edit.seed,
        data_hash=data_hash(edit),
        now=0.0,
        episode_id=edit.episode_id,
        self_edit_id=edit.id,
    )


def _grades(filler: _FillerRecords) -> list[Grade]:
    """The held-out items were asked of the base, which did not know, and of the shard, which did."""
    held_out = [item for item in filler.quiz if item.held_out]
    base = [Grade(i.id, None, None, -4.0, 0.0, False, 0.0) for i in held_out]
    return base + [Grade(i.id, filler.adapter.id, VERSION, -0.5, 1.0, True, 0.0) for i in held_out]
