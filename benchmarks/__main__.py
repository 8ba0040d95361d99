"""Benchmarks behind docs/results.md: command line of all experiments.

python -m benchmarks run single --task squad --data FILE --limit 40 --systems all --seed 0
python -m benchmarks run sessions --task diary --limit 6 --per-session 1
python -m benchmarks speed --data FILE      # inner loop against other implementations, in seconds
python -m benchmarks policy --data FILE     # notes before and after ReST-EM rounds
python -m benchmarks routing --data FILE    # accuracy of the routers; trains nothing
python -m benchmarks sleep --sizes 8        # routed shards, merged shards and cores compared
python -m benchmarks compose --days 3       # e-mails, JSON, tool calls that need remembered values
python -m benchmarks quick                  # every experiment once, small
python -m benchmarks report                 # charts, page, tables of docs/results.md
python -m benchmarks worker-kills --kills 50
python -m benchmarks faults                 # faults of real use: kills, a long log, unfair turns …
python -m benchmarks serve                  # server under load, and 200 namespaces
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import quick
from seal_memory.engines.huge_pages import restart_with_huge_pages
from seal_memory.errors import InputError, SealMemoryError

TASKS = ("squad", "diary", "locomo")
EXPERIMENT_NAMES = ("single", "sessions", "scale", "update", "delete")
RESULTS = Path(__file__).parent / "results"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark command. Progress goes to standard error; the last line of standard output is one JSON object."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["report"]:
            return _report(arguments[1:])
        if arguments[:1] == ["quick"]:
            return quick.main(arguments[1:], main, _report)
        if arguments[:1] == ["speed"]:
            return _speed(arguments[1:])
        if arguments[:1] == ["worker-kills"]:
            return _worker_kills(arguments[1:])
        if arguments[:1] == ["faults"]:
            return _faults(arguments[1:])
        if arguments[:1] == ["serve"]:
            return _serve(arguments[1:])
        if arguments[:1] == ["policy"]:
            return _policy(arguments[1:])
        if arguments[:1] == ["routing"]:
            return _routing(arguments[1:])
        if arguments[:1] == ["sleep"]:
            return _sleep(arguments[1:])
        if arguments[:1] == ["compose"]:
            return _compose(arguments[1:])
        return _run(_parser().parse_args(arguments))
    except SealMemoryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _report(arguments: Sequence[str]) -> int:
    from benchmarks.report.__main__ import main as report

    return report(arguments)


def _speed(arguments: Sequence[str]) -> int:
    from benchmarks.speed.command import main as speed

    return speed(arguments, _setting)


def _worker_kills(arguments: Sequence[str]) -> int:
    from benchmarks.worker_kills import main as worker_kills

    return worker_kills(arguments)


def _faults(arguments: Sequence[str]) -> int:
    from benchmarks.faults.command import main as faults

    return faults(arguments)


def _serve(arguments: Sequence[str]) -> int:
    from benchmarks.serving.command import main as serve

    return serve(arguments, _setting)


def _policy(arguments: Sequence[str]) -> int:
    from benchmarks.policy.command import main as policy

    return policy(arguments, _setting)


def _routing(arguments: Sequence[str]) -> int:
    from benchmarks.routing.command import main as routing

    return routing(arguments)


def _sleep(arguments: Sequence[str]) -> int:
    from benchmarks.sleeping.command import main as sleep

    return sleep(arguments, _setting)


def _compose(arguments: Sequence[str]) -> int:
    from benchmarks.composing.command import main as compose

    return compose(arguments, _setting)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=raw)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("quick", help="every experiment once, small, and the report (`make bench`)")
    verbs.add_parser("report", help="charts, an HTML page and the tables of docs/results.md from the results files")
    verbs.add_parser("policy", help="recall from the model's own notes before and after ReST-EM rounds")
    verbs.add_parser("routing", help="accuracy of the routers at several sizes; no training")
    verbs.add_parser("sleep", help="routed shards, merged shards and cores at several sizes")
    verbs.add_parser("compose", help="answers of a given form that need remembered values, in every way")
    verbs.add_parser("speed", help="seconds, tokens a second and memory of the inner loop, against targets")
    verbs.add_parser("worker-kills", help="a background worker killed at random, compared with an undisturbed one")
    verbs.add_parser("faults", help="faults of real use, each replayed against its bar")
    verbs.add_parser("serve", help="chats a second and latency, idle and while training; 200 namespaces")
    run = verbs.add_parser("run", help="run an experiment; if killed, the same command resumes it")
    run.add_argument("experiment", choices=EXPERIMENT_NAMES)
    run.add_argument("--task", choices=TASKS, required=True)
    run.add_argument("--data", type=Path, help="the task's file (squad, locomo)")
    run.add_argument("--limit", type=int, help="units: passages, days of the diary, conversations")
    run.add_argument("--start", type=int, default=0, help="first passage (squad)")
    run.add_argument("--facts-per-day", type=int, default=8, help="facts a day of the diary")
    run.add_argument("--per-session", type=int, default=4, help="units a session")
    run.add_argument("--sizes", type=int, nargs="+", default=[10, 30, 100], help="facts in memory (scale)")
    run.add_argument("--systems", nargs="+", default=["all"], help="all, or names of benchmarks/harness/registry.py")
    run.add_argument("--seed", type=int, nargs="+", default=[0], help="one or several random seeds")
    run.add_argument("--max-tokens", type=int, default=24, help="maximum length of an answer")
    run.add_argument("--latency", type=int, default=8, help="questions timed one by one in each way; 0: none")
    run.add_argument("--passages", type=int, default=3, help="chunks that retrieval puts in the prompt")
    run.add_argument("--context-tokens", type=int, help="length of the full context; default: the model's maximum")
    run.add_argument(
        "--recite-all", action="store_true", help="oracle and retrieval also answer by best of n, as the weights do"
    )
    run.add_argument("--core", action="store_true", help="also train and ask seal-memory's core")
    run.add_argument("--pad", action="store_true", help="SEAL's padding to 2048 tokens (very slow)")
    run.add_argument("--note", default="", help="a remark for the results file, such as the machine's other load")
    run.add_argument("--model", default="smollm2-135m")
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, JSON values")
    run.add_argument("--work", type=Path, help="journals and memories; default: runs/EXPERIMENT-TASK")
    run.add_argument("--out", type=Path, help="results file; default: benchmarks/results/EXPERIMENT-TASK.json")
    run.add_argument("--beside", type=Path, help="an earlier results file whose other systems are copied and marked")
    return parser


def _run(given: argparse.Namespace) -> int:
    from benchmarks.experiments.asking import Options
    from benchmarks.harness.registry import WAYS, SystemFactory
    from benchmarks.harness.running import Plan, run
    from seal_memory.config import Settings

    explicit = dict(_setting(s) for s in given.set)

    def make_factory(seed: int) -> SystemFactory:
        settings = Settings.load(None, seed=seed, **explicit)
        pad = 2048 if given.pad else None
        sample = given.recite_all
        return SystemFactory(given.model, settings, given.core, given.passages, given.context_tokens, pad, sample)

    name = f"{given.experiment}-{given.task}"
    options = Options(given.max_tokens, given.latency, given.per_session, tuple(given.sizes))
    plan = Plan(
        given.experiment,
        _task(given),
        tuple(WAYS) if given.systems == ["all"] else tuple(given.systems),
        tuple(given.seed),
        options,
        given.work or Path("runs") / name,
        given.out or RESULTS / f"{name}.json",
        given.note,
        given.beside,
    )
    found = run(plan, make_factory)
    accuracy = {way: row["accuracy"] and round(row["accuracy"]["mean"], 4) for way, row in found["ways"].items()}
    print(json.dumps({"out": str(plan.out), "questions": found["questions"], "accuracy": accuracy}))
    return 0


def _task(given: argparse.Namespace) -> Any:
    """The task with its options. Raises `InputError` if it needs a file and none is given."""
    if given.task == "diary":
        from benchmarks.tasks import diary

        return diary.make(days=given.limit or 6, facts_per_day=given.facts_per_day, seed=given.seed[0])
    if given.data is None:
        raise InputError(f"Task {given.task!r} needs a file that is not shipped: give it with --data FILE.")
    if given.task == "locomo":
        from benchmarks.tasks import locomo

        return locomo.load(given.data, limit=given.limit)
    from benchmarks.tasks import squad

    return squad.load(given.data, limit=given.limit, start=given.start)


def _setting(text: str) -> tuple[str, Any]:
    """Parse "learning.epochs=6" to ("learning.epochs", 6); a value that is not JSON is a string."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text!r}: expected NAME=VALUE.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


if __name__ == "__main__":
    restart_with_huge_pages()
    sys.exit(main())
