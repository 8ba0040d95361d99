"""A ledger with two interactions, and what the policy's tests put in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from seal_memory.ledger import Ledger
from seal_memory.records import NewInteraction

TEXTS = (
    "Maud Ellery built the lighthouse at Korrin Bay in 1887.",
    "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office.",
)


@dataclass(frozen=True)
class Filled:
    """An open ledger and the ids of its interactions, one per text."""

    ledger: Ledger
    ids: tuple[str, ...]


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    with Ledger.open(tmp_path, clock=lambda: 7.0) as ledger:
        yield Filled(ledger, tuple(seen.id for seen in ledger.observe([NewInteraction(t) for t in TEXTS])))
