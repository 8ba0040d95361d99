"""`python -m benchmarks speed`: run each part in its own process, then write the results file.

Progress goes to standard error; the last line of standard output is one JSON object. Finished steps are kept under
--work: after a kill the same command resumes. A failed part is reported; the others still run. This process does not
import torch, so that a child's peak memory is its own. Not here: the parts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.speed import results
from benchmarks.speed.options import PARTS, Options
from seal_memory.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_OUT = Path(__file__).resolve().parents[1] / "results" / "speed-squad.json"
_D = Options()


def main(arguments: Sequence[str], setting: Callable[[str], tuple[str, Any]]) -> int:
    """Run the chosen parts. `setting` parses one --set."""
    given = _parser().parse_args(list(arguments))
    options = _options(given, setting)
    if given.child is not None:
        from benchmarks.speed.parts import run_part

        run_part(given.child, options, given.work, note=given.note)
        return 0
    parts = _chosen(given.parts)
    if options.data is None and parts != ("peak",):
        raise InputError("speed reads passages that are not shipped: give the squad file with --data FILE.")
    failed = [part for part in parts if not _run_child(part, arguments, given)]
    found = results.write(given.work, given.out)
    for bar in found["bars"]:
        print(_bar_line(bar), file=sys.stderr)
    print(json.dumps({"out": str(given.out), "parts": list(found["parts"]), "failed": failed, "bars": found["bars"]}))
    return 1 if failed else 0


def _run_child(part: str, arguments: Sequence[str], given: argparse.Namespace) -> bool:
    """Whether the part ended well; what it says goes to our standard error."""
    journal = results.journal_path(given.work, part)
    if given.fresh:
        journal.unlink(missing_ok=True)
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "benchmarks", "speed", *arguments, "--child", part]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        print(f"speed {part}: ended with {done.returncode}; its finished steps are in {journal}", file=sys.stderr)
    return done.returncode == 0


def _chosen(names: Sequence[str]) -> tuple[str, ...]:
    unknown = [n for n in names if n not in (*PARTS, "all")]
    if unknown:
        raise InputError(f"Unknown part {unknown[0]!r}; expected all, or some of {', '.join(PARTS)}.")
    return PARTS if "all" in names else tuple(p for p in PARTS if p in names)


def _options(given: argparse.Namespace, setting: Callable[[str], tuple[str, Any]]) -> Options:
    """The options that were given; lists become tuples."""
    values = {f.name: getattr(given, f.name) for f in fields(Options) if f.name != "settings"}
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    for name in ("self_edits", "seeds_per_edit", "epochs", "padded_steps", "step_rows", "training_steps", "peak_rows"):
        if values[name] < 1:
            raise InputError(f"--{name.replace('_', '-')} is {values[name]}; expected 1 or more")
    return Options(**values, settings=dict(setting(s) for s in given.set))


def _bar_line(bar: dict[str, Any]) -> str:
    sign, verdict = ("<=" if bar["at_most"] else ">="), ("reached" if bar["met"] else "NOT reached")
    return f"{bar['name']}: {bar['reached']:.3g} {bar['unit']} (bar {sign} {bar['wanted']:g}): {verdict}"


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks speed", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--parts", nargs="+", default=["all"], help=f"all, or some of {', '.join(PARTS)}")
    add("--data", type=Path, help="the squad file; every part but peak reads it")
    add("--start", type=int, default=_D.start, help="first passage that is measured")
    add("--model", default=_D.model)
    add("--seed", type=int, default=_D.seed)
    add("--threads", type=int, help="of torch; default: torch's own choice")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, JSON values")
    add("--budget-seconds", type=float, default=_D.budget_seconds, help="of a part: bounds repetitions, not the least")
    add("--work", type=Path, default=Path("runs") / "speed", help="journals and memories")
    add("--out", type=Path, default=DEFAULT_OUT, help="results file")
    add("--note", default="", help="a remark for the results file, such as the machine's other load")
    add("--fresh", action="store_true", help="measure the chosen parts anew")
    add("--child", choices=PARTS, help=argparse.SUPPRESS)
    add("--peak-rows", type=int, default=_D.peak_rows, help="rows of activations in the peak's products")
    _grading(parser)
    _others(parser)
    return parser


def _grading(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("grading").add_argument
    add("--self-edits", type=int, default=_D.self_edits)
    add("--seeds-per-edit", type=int, default=_D.seeds_per_edit)
    add("--epochs", type=int, default=_D.epochs)
    add("--rank", type=int, default=_D.rank, help="also of the rollouts' adapters")
    add("--targets", default=_D.targets, help="seal: q_proj and v_proj; all: every linear layer")
    add("--pad-to", type=int, default=_D.pad_to)
    add("--padded-steps", type=int, default=_D.padded_steps, help="timed; the rest is counted")
    add("--plain-candidates", type=int, default=_D.plain_candidates, help="timed whole; the rest is counted")
    add("--max-tokens", type=int, default=_D.max_tokens, help="of an answer")
    add("--baseline-dtypes", nargs="*", default=[], help="default: float32 and the engine's own")


def _others(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("training").add_argument
    add("--candidates", type=int, nargs="+", default=list(_D.candidates), help="K")
    add("--ranks", type=int, nargs="+", default=list(_D.ranks))
    add("--lengths", type=int, nargs="+", default=list(_D.lengths), help="tokens of a row")
    add("--step-rows", type=int, default=_D.step_rows, help="rows of a candidate in one step")
    add("--training-steps", type=int, default=_D.training_steps, help="timed at most, after one that warms up")
    add = parser.add_argument_group("rollouts").add_argument
    add("--batches", type=int, nargs="+", default=list(_D.batches))
    add("--new-tokens", type=int, default=_D.new_tokens)
    add("--one-by-one", type=int, default=_D.one_by_one, help="rows timed where transformers takes one after another")
    add("--vllm-url", help="a running vLLM server, such as http://localhost:8000")
    add("--vllm-adapters", nargs="*", default=[], help="names of adapters that it has loaded")
    add = parser.add_argument_group("consolidate and memory").add_argument
    add("--sizes", type=int, nargs="+", default=list(_D.sizes), help="memories in the ledger")
    add("--new-memories", type=int, default=_D.new_memories, help="passages consolidated at each size")
    add("--repeat", type=int, default=_D.repeat, help="questions whose first token is timed")
    add("--memory-passages", type=int, default=_D.memory_passages)
