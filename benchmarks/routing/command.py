"""`python -m benchmarks routing`: accuracy of the two routers at several memory sizes.

    python -m benchmarks routing --data squad.jsonl --sizes 8 32 128 400
    python -m benchmarks routing --days 20 --facts-per-day 4 --diaries 6 --seed 301

Nothing is trained. Weights and thresholds are fitted on passages 100-199 and other diaries, and reported on passages
0-99; with --days long diaries are asked instead (`days`). Progress goes to standard error; the last line of standard
output is one JSON object. Not here: the parts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seal_memory.errors import InputError

if TYPE_CHECKING:
    from benchmarks.routing.ranking import QuestionEvidence, Ranker
    from benchmarks.routing.worlds import Split, World
    from seal_memory.engines.local import TransformersEngine
    from seal_memory.routing.rankers import Weights

DEFAULT_OUT = Path(__file__).resolve().parents[1] / "results" / "routing.json"
CALIBRATION_SIZES = (8, 32, 128)
SEEDS = {8: 4, 32: 2}  # worlds of a size; one of any other
Record = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Run the study; keeps only the results."""
    given = _parser().parse_args(list(arguments))
    if given.days is None and given.data is None:
        raise InputError("routing reads passages that are not shipped: give the squad file with --data FILE.")
    print(json.dumps(_run(given)))
    return 0


def _run(given: argparse.Namespace) -> Record:
    from benchmarks.harness.provenance import provenance
    from benchmarks.policy.results import write_whole
    from benchmarks.routing import days, figures
    from benchmarks.tasks import squad
    from seal_memory.config import Settings
    from seal_memory.engines.hardware import detect
    from seal_memory.engines.local import TransformersEngine
    from seal_memory.engines.models import load, resolve

    began, cpu = time.monotonic(), time.process_time()
    settings = Settings()
    files = resolve(given.model, cache_dir=settings.engine.cache_dir)
    engine = TransformersEngine(load(files, detect(settings.engine.device, settings.engine.dtype)))
    if given.days is not None:
        return days.run(given, engine)
    study = Study(given, engine, squad.load(given.data))
    out, ways = given.out or DEFAULT_OUT, dict[str, dict[str, Record]]()
    where = {**provenance(engine, given.model), "note": given.note}
    for found in study.worlds():  # written after each world: a run that is stopped leaves what it has
        for (way, size), pairs in found.items():
            ways.setdefault(way, {})[str(size)] = figures.figures(pairs, at=study.thresholds[way], seed=given.seed)
        took = {"wall": time.monotonic() - began, "cpu": time.process_time() - cpu}
        write_whole(_results(study, ways, given.seed, took, where), out)
    print(figures.table(ways, [str(s) for s in given.sizes]), file=sys.stderr)
    if given.weights is not None:
        write_whole(asdict(study.weights), given.weights)
    return {
        "out": str(out),
        "first": {w: {s: f["first"]["mean"] for s, f in by.items()} for w, by in ways.items()},
    }


def _results(study: Study, ways: Mapping[str, Any], seed: int, seconds: Record, where: Record) -> Record:
    return {
        "experiment": "routing",
        "ways": ways,
        "weights": asdict(study.weights),
        "calibrated": study.calibrated,
        "worlds": study.counts,
        "seed": seed,
        "seconds": seconds,
        "provenance": where,
    }


class Study:
    """Calibrates on one split, ranks on the other. `thresholds` by way, `weights` of the learned router."""

    def __init__(self, given: argparse.Namespace, engine: TransformersEngine, passages: Any) -> None:
        from benchmarks.routing.worlds import splits
        from seal_memory.config import Settings
        from seal_memory.engines.minilm import MiniLM
        from seal_memory.routing.embeddings import CachedEmbedder
        from seal_memory.routing.rankers import shipped_weights

        self.given, self.engine = given, engine
        self.calibration, self.reporting = splits(passages)
        self.embedder = CachedEmbedder(MiniLM.find())
        self.least = Settings().answering.router_threshold  # as it ships
        self.thresholds: dict[str, float] = {}
        self.weights: Weights = shipped_weights()  # until they are calibrated
        self.calibrated: Record = {}
        self.counts: list[Record] = []

    def worlds(self) -> Iterator[dict[tuple[str, int], list[Any]]]:
        """(way, size) to (question, ranking) pairs of the reporting split, grown by one world at a time."""
        from benchmarks.routing.ranking import LEARNED, WORDS

        self._calibrate()
        found: dict[tuple[str, int], list[Any]] = {}
        for world, ranker in self._rankers(self.reporting, self.given.sizes):
            learned = ranker.rank_with(ranker.evidence(self.embedder), self.weights, least=self.least)
            for way, own in ((WORDS, ranker.by_words()), (LEARNED, learned)):
                found.setdefault((way, world.size), []).extend(zip(world.asked, own, strict=True))
            yield found

    def _calibrate(self) -> None:
        """Fit the learned router's weights and threshold; the words router keeps the shipped threshold."""
        from benchmarks.routing import figures
        from benchmarks.routing.fitting import fit
        from benchmarks.routing.ranking import LEARNED, WORDS

        kept: list[tuple[World, Ranker, list[QuestionEvidence]]] = []
        for world, ranker in self._rankers(self.calibration, self.given.calibration_sizes):
            kept.append((world, ranker, ranker.evidence(self.embedder)))
        weights = fit([row for one in kept for row in _rows(*one)])
        learned = [
            pair  # without the coverage that it also wants: the threshold would make up for it
            for world, ranker, found in kept
            for pair in zip(world.asked, ranker.rank_with(found, weights, least=0.0), strict=True)
        ]
        words = [pair for world, ranker, _ in kept for pair in zip(world.asked, ranker.by_words(), strict=True)]
        self.thresholds = {WORDS: self.least, LEARNED: round(figures.threshold(learned), 4)}
        self.weights = replace(weights, threshold=self.thresholds[LEARNED])
        for way, pairs in ((WORDS, words), (LEARNED, learned)):
            self.calibrated[way] = figures.figures(pairs, at=self.thresholds[way], seed=self.given.seed)

    def _rankers(self, split: Split, sizes: Sequence[int]) -> Iterator[tuple[World, Ranker]]:
        from benchmarks.routing.ranking import Ranker
        from benchmarks.routing.worlds import world

        cpu = time.process_time()
        for size in sizes:
            for seed in range(self.given.seed, self.given.seed + SEEDS.get(size, 1)):
                with tempfile.TemporaryDirectory() as folder:
                    made = world(split, size, seed, folder=Path(folder), count_tokens=self.engine.count_tokens)
                    try:
                        yield made, Ranker(made)
                    finally:
                        made.ledger.close()
                row = {"split": split.name, "episodes": len(made.manifest.shards), "seed": seed}
                self.counts.append({**row, "questions": len(made.asked)})
                print(
                    json.dumps({**row, "cpu_seconds": round(time.process_time() - cpu, 1)}), file=sys.stderr, flush=True
                )


def _rows(world: World, ranker: Ranker, found: Sequence[QuestionEvidence]) -> list[tuple[tuple[float, ...], bool]]:
    """Every hit as a row, without questions on untold facts about known subjects, which words cannot distinguish."""
    from benchmarks.routing.worlds import UNTOLD

    rows = []
    for asked, one in zip(world.asked, found, strict=True):
        for hit, evidence in zip(one.hits, one.evidence, strict=True):
            if asked.kind != UNTOLD:
                right = ranker.shard_of[hit.interaction.id] in asked.episodes
                rows.append((evidence.values, right))
    return rows


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks routing", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--data", type=Path, help="the squad file, 200 passages")
    add("--model", default="smollm2-135m")
    add("--sizes", type=int, nargs="+", default=[8, 32, 128, 400], help="episodes of the reported memories")
    add("--calibration-sizes", type=int, nargs="+", default=list(CALIBRATION_SIZES), help="of those that calibrate")
    add("--seed", type=int, default=0, help="the first of the worlds' seeds")
    add("--weights", type=Path, help="write the learned router's weights there: seal_memory/data/router.json")
    add("--days", type=int, help="of each of the long diaries that are asked instead")
    add("--facts-per-day", type=int, default=4, help="of those")
    add("--diaries", type=int, default=6, help="how many, of the seeds --seed on")
    add("--out", type=Path, help="results file; default: benchmarks/results/routing.json, or routing-days.json")
    add("--note", default="", help="a remark for the results file, such as the machine's other load")
    return parser
