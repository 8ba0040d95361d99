"""Shared steps of all experiments: learn, ask in each way, time answers, measure perplexity; each makes records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.harness.resources import peak_memory
from benchmarks.systems.base import Asker, Cost, Reply, System, Unsupported
from benchmarks.tasks.base import Chunk, Question, Unit

Record = dict[str, Any]
Make = Callable[[Path], System]
Tick = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of an experiment. `latency`: questions timed one by one in each way (0: none)."""

    max_tokens: int = 24
    latency: int = 8
    per_session: int = 4
    sizes: tuple[int, ...] = (10, 30, 100)
    most_questions: int = 60  # per size, in `scale`
    forget_every: int = 3  # `delete` forgets every third unit


def ask(
    system: System,
    questions: Sequence[tuple[str, Question]],
    options: Options,
    ways: Sequence[str],
    *,
    phase: str = "",
) -> list[Record]:
    """One record per way and question; `questions`: (unit id, question). A way that cannot answer records why."""
    records: list[Record] = []
    for way in ways:
        began = perf_counter()
        with peak_memory() as peak:
            try:
                replies = system.answer(way, [q for _, q in questions], max_tokens=options.max_tokens)
            except Unsupported as why:
                records.append({"kind": "unsupported", "way": way, "system": system.name, "why": str(why)})
                continue
        for (unit, question), reply in zip(questions, replies, strict=True):
            records.append(_record(system, way, unit, question, reply, phase))
        records.append({"kind": "asked", "way": way, "system": system.name, "peak": peak.bytes})
        if way in system.costly_ways:  # its first answers include its training
            records.append({"kind": "dear", "way": way, "system": system.name, "seconds": perf_counter() - began})
    return records


def _record(system: System, way: str, unit: str, question: Question, reply: Reply, phase: str) -> Record:
    found = None
    if reply.evidence is not None and question.chunk_ids:
        found = bool(set(reply.evidence) & set(question.chunk_ids))
    return {
        "kind": "answer",
        "system": system.name,
        "way": way,
        "unit": unit,
        "question": question.id,
        "phase": phase,
        "text": reply.text,
        "prompt_tokens": reply.prompt_tokens,
        "generated_tokens": reply.generated_tokens,
        "found": found,
    }


def take_times(system: System, asker: Asker, questions: Sequence[Question], options: Options) -> list[Record]:
    """Seconds to the first token and to the whole answer, one question at a time, without the answer cache."""
    records: list[Record] = []
    sample = list(questions[: options.latency])
    if not sample:
        return records
    with asker.timing():
        for way in system.ways:
            try:
                system.answer(way, sample[:1], max_tokens=1)  # warm up: load everything lazy
                first = [_seconds(system, way, q, 1) for q in sample]
                whole = [_seconds(system, way, q, options.max_tokens) for q in sample]
            except Unsupported:
                continue
            records.append({"kind": "times", "system": system.name, "way": way, "first": first, "answer": whole})
    return records


def _seconds(system: System, way: str, question: Question, max_tokens: int) -> float:
    began = perf_counter()
    system.answer(way, [question], max_tokens=max_tokens)
    return perf_counter() - began


def learn(system: System, chunks: Sequence[Chunk], step: int) -> Record:
    """Let a system learn; returns the cost."""
    with peak_memory() as peak:
        cost: Cost = system.learn(chunks, step=step)
    return {
        "kind": "learn",
        "system": system.name,
        "seconds": cost.seconds,
        "tokens": cost.tokens,
        "peak": peak.bytes,
        "disk": system.bytes_on_disk(),
    }


def perplexities(system: System, ways: Sequence[str]) -> list[Record]:
    """Perplexity on the fixed text of each way: the remaining general ability."""
    records: list[Record] = []
    for way in ways:
        try:
            value = system.perplexity(way)
        except Unsupported:
            continue
        records.append({"kind": "perplexity", "system": system.name, "way": way, "value": value})
    return records


def chunks_of(units: Sequence[Unit]) -> list[Chunk]:
    return [c for u in units for c in u.chunks]


def questions_of(units: Sequence[Unit], last_unit: int | None = None) -> list[tuple[str, Question]]:
    """(unit id, question) of the units; with `last_unit`, only questions still valid after the unit of that index."""
    return [
        (u.id, q)
        for u in units
        for q in u.questions
        if last_unit is None or q.valid_until is None or q.valid_until > last_unit
    ]
