"""`python -m benchmarks policy`: recall from own notes on held-out passages, before and after ReST-EM rounds.

    python -m benchmarks policy --data squad.jsonl --train 24 --held-out 24 --rounds 2 --seed 0

Progress goes to standard error; the last line of standard output is one JSON object. Finished steps are kept under
--work: after a kill, or out of --budget-seconds, the same command resumes. Not here: the steps (`run`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.policy.options import GENRES, WAYS, Options
from seal_memory.errors import InputError

if TYPE_CHECKING:
    from seal_memory._internal.progress import Progress
    from seal_memory.config import Settings
    from seal_memory.engines.local import TransformersEngine

DEFAULT_OUT = Path(__file__).resolve().parents[1] / "results" / "policy-squad.json"


def main(arguments: Sequence[str], setting: Callable[[str], tuple[str, Any]]) -> int:
    """Run the unfinished steps. `setting` parses one --set."""
    given = _parser().parse_args(list(arguments))
    if given.data is None:
        raise InputError("policy needs passages that are not shipped: give the squad file with --data FILE.")
    print(json.dumps(_run(given, setting)))
    return 0


def _run(given: argparse.Namespace, setting: Callable[[str], tuple[str, Any]]) -> dict[str, Any]:
    from benchmarks.harness.journal import Journal
    from benchmarks.harness.running import bars
    from benchmarks.policy import results
    from benchmarks.policy.context import PolicyContext
    from benchmarks.policy.run import OutOfTime, Run
    from seal_memory.config import Settings
    from seal_memory.engines.hardware import detect
    from seal_memory.engines.local import TransformersEngine
    from seal_memory.engines.models import load, resolve

    options = _options(given, setting)
    settings = Settings.load(None, seed=options.seed, **options.settings)
    loaded = load(
        resolve(options.model, cache_dir=settings.engine.cache_dir),
        detect(settings.engine.device, settings.engine.dtype),
    )
    engine = TransformersEngine(loaded, keep=256)
    journal = Journal(given.work / "policy.jsonl", _head(options, settings, engine, given.note))
    began = time.monotonic()
    deadline = began + given.budget_seconds if given.budget_seconds is not None else None
    with bars() as shown:
        tick = _ticker(shown)
        here = PolicyContext(options, given.work, settings, engine=engine, progress=tick)
        try:
            found = Run(here, journal, deadline=deadline, tick=tick).all()
        except OutOfTime as stopped:
            return {"out": None, "complete": False, "next": str(stopped), "journal": str(journal.path)}
        finally:
            here.close()
            journal.took(time.monotonic() - began)
    return results.write(results.figures(found, options, provenance=journal.head["provenance"]), given.out)


def _head(options: Options, settings: Settings, engine: TransformersEngine, note: str) -> dict[str, Any]:
    """The journal's head: the parameters that must match to resume, and the provenance."""
    from benchmarks.harness.provenance import provenance
    from benchmarks.tasks.base import file_sha256

    return {
        "options": options.head,
        "data_sha256": file_sha256(options.data),
        "fingerprint": engine.fingerprint,
        "settings": settings.flat(without=("engine.cache_dir",)),
        "provenance": {**provenance(engine, options.model), "note": note},
    }


def _options(given: argparse.Namespace, setting: Callable[[str], tuple[str, Any]]) -> Options:
    values = {f.name: getattr(given, f.name) for f in fields(Options) if f.name != "settings"}
    values["genres"] = tuple(given.genres)
    values["ways"] = tuple(WAYS if "all" in given.ways else given.ways)
    return Options(**values, settings=dict(setting(s) for s in given.set))


def _ticker(shown: Any) -> Progress:
    """One bar per phase."""
    known: dict[str, Any] = {}

    def tick(phase: str, done: int, total: int) -> None:
        if phase not in known:
            known[phase] = shown.add_task(phase, total=total)
        shown.update(known[phase], completed=done, total=total)

    return tick


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks policy", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--data", type=Path, help="the squad file")
    add("--model", default="smollm2-135m")
    add("--start", type=int, default=0, help="first passage; then follow --train, --judges and --held-out passages")
    add("--train", type=int, default=24, help="training passages of the note-writer")
    add("--judges", type=int, default=12, help="validation passages, used for promotion only")
    add("--held-out", type=int, default=24, help="test passages, which the figures are about")
    add("--held-out-start", type=int, help="first of them; default: after the validation passages")
    add("--genres", nargs="+", default=GENRES, help=f"genres of the notes: some of {', '.join(GENRES)}")
    add("--rounds", type=int, default=2)
    add("--seed", type=int, default=0)
    add("--samples", type=int, default=4, help="note sets per passage and round")
    add("--per-statement", type=int, default=2, help="notes requested per statement and set")
    add("--seeds", type=int, default=2, help="inner loops per note set")
    add("--most-seeds", type=int, default=4, help="maximum, where the reward is unreliable")
    add("--eval-seeds", type=int, default=1, help="inner loops per held-out passage and way")
    add("--bootstrap-samples", type=int, default=8, help="questions sampled per statement before round 1; 0: none")
    add("--bootstrap-rounds", type=int, default=1, help="rounds of this sampling, each with the writer trained before")
    add("--more-bootstrap", type=int, default=0, help="passages that only this sampling reads, in addition to --train")
    add("--bootstrap-start", type=int, default=0, help="first of them")
    add("--per-round", type=int, help="training passages of a round, in turn; default: all")
    add("--ungated", action="store_true", help="promote every round's writer, as in SEAL; the verdict is still shown")
    add("--arms", type=int, default=4, help="candidates per training passage for the bandit")
    add("--genre-passages", type=int, help="held-out passages asked genre by genre; default: all")
    add("--bandit-passages", type=int, help="training passages of the bandit; default: all")
    add("--recipe-start", type=int, default=40, help="first passage of the whole recipe, at default settings")
    add("--recipe-passages", type=int, default=40, help="number of passages of the whole recipe")
    add("--recipe-per-statement", type=int, default=4, help="notes requested per statement there")
    add("--ways", nargs="+", default=["all"], help=f"all, or some of {', '.join(WAYS)}")
    add("--chunk", type=int, default=4, help="passages per journal step")
    add("--max-tokens", type=int, default=24, help="maximum length of an answer")
    add("--budget-seconds", type=float, help="stop before the next step after this time; call again to resume")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, JSON values")
    add("--work", type=Path, default=Path("runs") / "policy", help="the journal and the memory")
    add("--out", type=Path, default=DEFAULT_OUT, help="results file")
    add("--note", default="", help="a remark for the results file, such as the machine's other load")
    return parser
