"""python -m benchmarks faults [NAME ...] [--full]: faults of real use, each replayed against its bar.

kills      a process with start_background killed at random moments: nothing is given up, all is learned in the end
log        the write-ahead log while many readers overlap: it stays short
turns      one text in a namespace beside another's backlog: it waits for a turn, not for the backlog
canaries   adapters that learned an instruction are refused, shards of ordinary texts are not

Without `--full` each takes a minute or less  on the default model. Not here: what the test suite shows in seconds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Modules of this package: replay(folder, model=…, full=…) -> figures with `passed`.
FAULTS = ("kills", "log", "turns", "canaries")


def main(argv: Sequence[str]) -> int:
    """The last line of standard output is one JSON object; exit code 1 where a bar is not met."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks faults", description=__doc__, formatter_class=raw)
    parser.add_argument("name", nargs="*", metavar="NAME", help=f"of {', '.join(FAULTS)}; default: all")
    parser.add_argument("--full", action="store_true", help="at the size of the published figures")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--work", type=Path, help="a folder for the memories; default: a temporary one")
    parser.add_argument("--out", type=Path, help="also write the result there")
    given = parser.parse_args(argv)
    unknown = set(given.name) - set(FAULTS)
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; expected some of {', '.join(FAULTS)}")
    found: dict[str, object] = {"model": given.model, "full": given.full}
    passed = True
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.name or FAULTS:
            print(f"{name} …", file=sys.stderr)
            module = importlib.import_module(f"benchmarks.faults.{name}")
            figures = module.replay((given.work or Path(temporary)) / name, model=given.model, full=given.full)
            found[name] = figures
            passed = passed and bool(figures["passed"])
    text = json.dumps(found)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if passed else 1
