"""240 pairs of things said days apart, written by somebody who had not seen the rules that were measured on them.

In half of them the newer one makes what the older one states untrue, in thirty of these only part of it (`kept` is what
still holds); the others are close in words and both hold. Not here: any rule that
decides between two statements.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("changes.jsonl")


@dataclass(frozen=True, slots=True)
class Change:
    """Whether `newer` outdates `older`, and what of it `kept` is."""

    id: str
    older: str
    newer: str
    changed: bool
    kept: str | None


def load() -> list[Change]:
    """All pairs, in the file's order."""
    return [Change(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]
