"""Journal of a run, as JSON lines: a killed run resumes after the last finished step.

One file per system and seed, so that several processes can share the work. A step's lines count only once its "done"
line is there; an unfinished step is repeated. Answers are kept as text, so that they can be graded again; results files
hold figures only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seal_memory.errors import InputError

Record = dict[str, Any]
SUFFIX = ".jsonl"


class Journal:
    """Append-only records of one system and seed. Raises `InputError` if `head` differs from the file's head."""

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self.path, self.head = path, json.loads(json.dumps(dict(head)))
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = list(finished(path)) if path.exists() else []
        if kept and _comparable(kept[0]) != _comparable({"kind": "head", **self.head}):
            raise InputError(
                f"{path} is a journal of another run (other flags, data or model): give another --work folder, "
                "or remove it to start again."
            )
        records = kept or [{"kind": "head", **self.head}]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        temporary.replace(path)
        self._done = {str(r["step"]) for r in records if r["kind"] == "done"}

    def is_done(self, step: str) -> bool:
        """Whether a step is finished, in this run or an earlier one of the same journal."""
        return step in self._done

    def add(self, step: str, records: list[Record]) -> None:
        """Write all records of a finished step at once."""
        lines = [{**r, "step": step} for r in records] + [{"kind": "done", "step": step}]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
        self._done.add(step)

    def took(self, seconds: float) -> None:
        """Add this process's wall time."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": "took", "seconds": seconds}) + "\n")


def finished(path: Path) -> Iterator[Record]:
    """The head and the records of finished steps; skips an incomplete last line."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    done = {r["step"] for r in records if r["kind"] == "done"}
    yield from (r for r in records if r["kind"] in ("head", "took") or r["step"] in done)


def _comparable(head: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a head that must match to resume: without commit, time and place."""
    return {k: v for k, v in head.items() if k not in ("provenance", "kind")}
