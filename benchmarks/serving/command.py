"""`python -m benchmarks serve --clients 1 8 32 --requests 96 --namespaces 200`: load test of the server.

Bounded by the number of requests. The last line of standard output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness.provenance import about
from benchmarks.serving import bench
from seal_memory.config import Settings
from seal_memory.engines.hardware import detect
from seal_memory.engines.models import resolve

OUT = Path(__file__).parents[1] / "results" / "serve.json"


def main(arguments: Sequence[str], parse_setting: Callable[[str], tuple[str, Any]]) -> int:
    """Measure, and write the results file."""
    given = _parser().parse_args(arguments)
    settings = Settings.load(None, **dict(parse_setting(s) for s in given.set))
    fingerprint = resolve(given.model, cache_dir=settings.engine.cache_dir).fingerprint
    hardware = detect(settings.engine.device, settings.engine.dtype)
    where = about(given.model, fingerprint, hardware.base_dtype)
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        found = bench.measure(
            Path(folder),
            given.model,
            settings,
            clients=given.clients,
            requests=given.requests,
            tokens=given.max_tokens,
            count=given.namespaces,
            trained=given.facts,
            on_figure=partial(print, file=sys.stderr, flush=True),
        )
    whole = {"provenance": where, "note": given.note, **found}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({"out": str(given.out), **found}))
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks serve", description=__doc__, formatter_class=raw)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32], help="that ask at the same time")
    parser.add_argument("--requests", type=int, default=96, help="chats for each number of clients")
    parser.add_argument("--max-tokens", type=int, default=24, help="of an answer")
    parser.add_argument("--facts", type=int, default=48, help="learned while the loaded server answers")
    parser.add_argument("--namespaces", type=int, default=200, help="with an adapter each")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, JSON values")
    parser.add_argument("--note", default="", help="a remark for the results file, such as the machine's other load")
    parser.add_argument("--work", type=Path, help="folder for the memories; default: the system's temporary one")
    parser.add_argument("--out", type=Path, default=OUT, help="results file")
    return parser
