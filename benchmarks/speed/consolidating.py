"""`consolidate` end to end as the memory grows, and how soon an answer begins, beside BM25 retrieval.

A memory of so many learned texts is made (`filler`), then new passages are observed and consolidated one by one with
the settings as they are by default (or `--set`). Afterwards the passages' own questions are asked for one token: from
the weights, routing included, and with 1 and 5 chunks in the prompt that BM25 finds in the same ledger. The first
question checks every adapter file once in a process and is told apart. Not here: whether answers are right.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.speed.bench import Bench, Figures, Timed
from benchmarks.speed.filler import fill
from benchmarks.tasks.base import Unit
from seal_memory.memory import SealMemory

CHUNKS = (1, 5)


def run(bench: Bench) -> Figures:
    """Every size of the memory; the same new passages at each."""
    sizes = [bench.step(f"{n} memories", partial(_at_size, bench, n)) for n in bench.options.sizes]
    return {"settings": bench.settings.model_dump(mode="json", exclude={"cache_dir"}), "sizes": sizes}


def _at_size(bench: Bench, size: int) -> Figures:
    folder = bench.work / f"memory-{size}"
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left is not whole
    new = bench.passages(bench.options.new_memories)
    others = [u for u in bench.task.units if u.id not in {n.id for n in new}]
    began = time.perf_counter()
    try:
        with ExitStack() as stack:
            memory = _opened(bench, folder, stack)
            fill(memory, others or new, size, seed=bench.options.seed)
            filled = time.perf_counter() - began
            first = _first_question(memory, new)
            learned = _learn(bench, memory, new)
            asked = _first_tokens(bench, folder, memory, new, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"memories": size, "filling_seconds": filled, "first_ask_seconds": first, **learned, **asked}


def _opened(bench: Bench, folder: Path, stack: ExitStack, **changes: Any) -> SealMemory:
    settings = bench.settings.model_copy(update=changes)
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
    seconds = Timed(tuple(r["seconds"] for r in runs))
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
        ways[f"rag-{chunks}"] = _opened(bench, folder, stack, retrieval_passages=chunks), "retrieval"
    tokens = {way: _prompt_tokens(m, asked[0], mode) for way, (m, mode) in ways.items()}  # and warm
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for question in asked:
        for way, (one, mode) in ways.items():
            taken[way].append(_seconds(one, question, mode))
    routed = sum(bool(memory.ask(q, mode="weights", max_tokens=1).shards) for q in asked)
    return {
        "first_token_seconds": {way: Timed(tuple(s)).median for way, s in taken.items()},
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
