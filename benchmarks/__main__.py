"""`python -m benchmarks squad --data FILE --limit 16`: passages in one memory, asked closed book.

Measures, on the same questions and with the same model and token limit: the untouched model, weights only with the
router, weights only with the right shard given (which tells the router's losses from the shards'), answering in one
step and in two, retrieval, hybrid, and the oracle. The last line of standard output is one JSON object. The full
retention benchmark (sessions, scale, updates, SEAL's recipe) is issue 3.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from seal_memory import prompts
from seal_memory.answering import Answerer, Mode
from seal_memory.config import Settings
from seal_memory.engines.base import Prompt
from seal_memory.ingest import read_file
from seal_memory.learning.consolidate import ConsolidateReport, make_router
from seal_memory.memory import SealMemory
from seal_memory.quizzes.grading import contains, mean, token_f1


@dataclass(frozen=True, slots=True)
class Asked:
    """A held-out question, its gold answer, and the interactions and text it is about."""

    question: str
    gold: str
    ids: tuple[str, ...]
    text: str


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, print; the table goes to standard error, one JSON object to standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("experiment", choices=["squad"])
    parser.add_argument("--data", type=Path, required=True, help="JSON lines of {title, context, questions}")
    parser.add_argument("--limit", type=int, default=16, help="passages")
    parser.add_argument("--start", type=int, default=0, help="first passage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, JSON values")
    given = parser.parse_args(argv)
    explicit = {name: _value(text) for name, _, text in (s.partition("=") for s in given.set)}
    settings = Settings.load(None, seed=given.seed, **({"candidates": 1} | explicit))
    with tempfile.TemporaryDirectory() as folder:
        result = run_squad(Path(folder), given.data, given.start, given.limit, settings)
    result |= {"settings": explicit, "start": given.start, **_where()}
    line = json.dumps(result)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(line)
    return 0


def run_squad(folder: Path, data: Path, start: int, limit: int, settings: Settings) -> dict[str, Any]:
    """All passages in one memory, then every question through every way of answering."""
    documents = list(read_file(data))[start : start + limit]
    with SealMemory.open(folder, settings=settings, progress=_progress) as memory:
        asked: list[Asked] = []
        for d in documents:
            seen = memory.observe(d.text, role="document", title=d.title, source=d.source)
            ids = tuple(o.id for o in seen)
            asked += [Asked(q.question, q.answer, ids, d.text) for q in d.questions]
        began = time.perf_counter()
        report = memory.consolidate()
        seconds = time.perf_counter() - began
        rows = answer_all(memory, asked, settings)
        return {
            "experiment": "squad",
            "passages": len(documents),
            "questions": len(asked),
            "seed": settings.seed,
            "systems": rows,
            "router_accuracy": router_accuracy(memory, asked),
            "consolidate_seconds": round(seconds, 1),
            "consolidate": _summary(report),
        }


def answer_all(memory: SealMemory, asked: Sequence[Asked], settings: Settings) -> dict[str, dict[str, float]]:
    """One row of metrics per way of answering."""
    engine, limit = memory.engine, settings.answer_max_tokens
    snapshot = memory.ledger.current()
    questions = [a.question for a in asked]
    rows: dict[str, dict[str, float]] = {}

    def complete(name: str, made: Sequence[Prompt], tokens: int) -> None:
        began = time.perf_counter()
        done = engine.complete(made, max_tokens=tokens)
        rows[name] = _metrics([c.text for c in done], [c.prompt_tokens for c in done], asked, began)

    complete("base", [Prompt(prompts.direct(q)) for q in questions], limit)
    complete("oracle", [Prompt(prompts.read(a.text, a.question)) for a in asked], limit)
    if snapshot is not None:
        shard_of = {i: s.adapter_id for s in snapshot.manifest.shards for i in s.interaction_ids}
        right = [Prompt(prompts.direct(a.question), next(iter({shard_of[i] for i in a.ids if i in shard_of}), None))
                 for a in asked]  # fmt: skip
        complete("weights_right_shard", right, limit)
        complete("weights_right_shard_48_tokens", right, 48)
        router = make_router(snapshot.manifest, memory.ledger, settings)
        for name, mode, two_step in (
            ("weights", Mode.WEIGHTS, False),
            ("weights_two_step", Mode.WEIGHTS, True),
            ("retrieval", Mode.RETRIEVAL, False),
            ("hybrid", Mode.HYBRID, False),
        ):
            own = settings.model_copy(update={"two_step": two_step})
            answerer = Answerer(engine, router, memory.ledger, own, snapshot=snapshot.version)
            began = time.perf_counter()
            answers = answerer.answer(questions, mode, max_tokens=limit)
            rows[name] = _metrics([a.text for a in answers], [a.prompt_tokens for a in answers], asked, began)
    for name, row in rows.items():
        print(f"{name:32s} " + "  ".join(f"{k} {v:.3f}" for k, v in row.items()), file=sys.stderr)
    return rows


def router_accuracy(memory: SealMemory, asked: Sequence[Asked]) -> float:
    """Share of questions whose route is a shard that holds the right interaction."""
    snapshot = memory.ledger.current()
    if snapshot is None:
        return 0.0
    router = make_router(snapshot.manifest, memory.ledger, memory.settings)
    holds = {s.adapter_id: set(s.interaction_ids) for s in snapshot.manifest.shards}
    routes = [router.route(a.question).adapter_id for a in asked]
    return mean(
        float(r is not None and bool(holds.get(r, set()) & set(a.ids))) for r, a in zip(routes, asked, strict=True)
    )


def _metrics(
    texts: Sequence[str], prompt_tokens: Sequence[int], asked: Sequence[Asked], began: float
) -> dict[str, float]:
    pairs = list(zip(texts, asked, strict=True))
    return {
        "accuracy": mean(float(contains(t, a.gold)) for t, a in pairs),
        "f1": mean(token_f1(t, a.gold) for t, a in pairs),
        "prompt_tokens": mean(prompt_tokens),
        "seconds": (time.perf_counter() - began) / max(1, len(pairs)),
    }


def _summary(report: ConsolidateReport) -> dict[str, Any]:
    return {
        "episodes": report.episodes,
        "published": report.published,
        "refused": report.refused,
        "recall_before": report.recall_before,
        "recall_after": report.recall_after,
        "held_out_items": report.held_out_items,
        "seconds": report.seconds,
        "yields": [asdict(y) for y in report.yields],
        "refusals": [list(d.reasons) for d in report.decisions if not d.accepted],
    }


def _where() -> dict[str, Any]:
    versions = {name: metadata.version(name) for name in ("torch", "transformers", "peft")}
    return {"versions": versions, "machine": platform.machine(), "python": platform.python_version()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _progress(phase: str, done: int, total: int) -> None:
    if done == total or done % 10 == 0:
        print(f"  {phase} {done}/{total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
