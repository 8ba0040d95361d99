"""`python -m benchmarks quick` (`make bench`): every experiment and system once, small, and the report.

About 20 minutes on two cores with the default model, half an hour with `--data FILE`, which adds SQuAD passages
(measured once: 29.8 minutes, 7.4 of them for SQuAD). A smoke test with rough figures; those of docs/results.md come
from full runs. A killed run resumes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

CHEAP = ("prompted", "bm25-fts5", "dense", "seal-memory")
FINETUNED = ("naive-lora", "seal-recipe")
DIARY = ("--task", "diary", "--facts-per-day", "4")


def plans(data: Path | None) -> list[tuple[str, ...]]:
    """The arguments of each run."""
    runs: list[tuple[str, ...]] = [
        ("sessions", *DIARY, "--limit", "3", "--per-session", "1", "--core", "--latency", "2"),
        ("update", *DIARY, "--limit", "4", "--per-session", "2", "--systems", *CHEAP, "--latency", "0"),
        ("delete", *DIARY, "--limit", "3", "--systems", "bm25-fts5", "seal-memory", "naive-lora", "--latency", "0"),
        ("scale", *DIARY, "--limit", "4", "--sizes", "4", "12", "--systems", *CHEAP, "--latency", "2"),
    ]
    if data is not None:
        runs.insert(0, ("single", "--task", "squad", "--data", str(data), "--limit", "2", "--latency", "2"))
    return runs


def main(argv: Sequence[str], run: Callable[[Sequence[str]], int], report: Callable[[Sequence[str]], int]) -> int:
    """Run all, then write the page. `run` and `report`: the other commands. Stops at the first failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks quick", description=__doc__)
    parser.add_argument("--data", type=Path, help="squad_seal200.jsonl or alike; without it the diary alone")
    parser.add_argument("--work", type=Path, default=Path("runs") / "quick")
    parser.add_argument("--model", default="smollm2-135m")
    given = parser.parse_args(argv)
    found = given.work / "results"
    for arguments in plans(given.data):
        name = f"{arguments[0]}-{arguments[2]}"
        places = ("--work", str(given.work / name), "--out", str(found / f"{name}.json"), "--model", given.model)
        code = run(["run", *arguments, *places])
        if code:
            return code
    code = report(["--results", str(found), "--out", str(given.work / "report"), "--no-tables"])
    print(json.dumps({"results": str(found), "page": str(given.work / "report" / "index.html")}))
    return code
