"""Fixtures of the ledger's tests: a real SQLite file, a clock that only the test moves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seal_memory.ledger import Ledger
from seal_memory.records import (
    AdapterKind,
    AdapterRecord,
    Genre,
    GenreYield,
    Hyperparameters,
    NewInteraction,
    QuizItem,
    SelfEdit,
    TrainingItem,
)

REPOSITORY = Path(__file__).resolve().parents[2]


class Clock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger's file; copying it spares each test the making of the tables."""
    with Ledger.open(tmp_path_factory.mktemp("empty")) as opened:
        return opened.path


@pytest.fixture
def ledger(tmp_path: Path, empty_file: Path, clock: Clock) -> Iterator[Ledger]:
    shutil.copy(empty_file, tmp_path)
    with Ledger.open(tmp_path, clock=clock) as opened:
        yield opened


@pytest.fixture
def see(ledger: Ledger) -> Callable[..., list[str]]:
    """Observe texts and return their ids."""

    def observe(*texts: str) -> list[str]:
        return [seen.id for seen in ledger.observe([NewInteraction(text) for text in texts])]

    return observe


@pytest.fixture
def make_self_edit() -> Callable[..., SelfEdit]:
    def make(edit_id: str, *interaction_ids: str, replayed: str | None = None, text: str = "x") -> SelfEdit:
        items = [TrainingItem(Genre.SENTENCES, "", text, interaction_ids)]
        if replayed is not None:
            items.append(TrainingItem(Genre.QA, "Q?", "replayed", (replayed,)))
        return SelfEdit(
            id=edit_id,
            episode_id=f"episode-of-{edit_id}",
            interaction_ids=interaction_ids,
            items=tuple(items),
            hyperparameters=Hyperparameters(epochs=3, genre_mix=((Genre.SENTENCES, 0.5), (Genre.QA, 0.5))),
            seed=2**64 - 1,
            yields=(GenreYield(Genre.SENTENCES, 4, 3),),
        )

    return make


@pytest.fixture
def make_quiz_item() -> Callable[..., QuizItem]:
    def make(
        item_id: str,
        *interaction_ids: str,
        held_out: bool = True,
        question: str = "Who?",
        answer: str = "Ada",
    ) -> QuizItem:
        return QuizItem(item_id, interaction_ids, question, answer, held_out, logprob_with=-0.5)

    return make


@pytest.fixture
def make_adapter() -> Callable[..., AdapterRecord]:
    def make(adapter_id: str, *interaction_ids: str, sha256: str = "aa") -> AdapterRecord:
        return AdapterRecord(
            id=adapter_id,
            kind=AdapterKind.SHARD,
            episode_id=f"episode-of-{adapter_id}",
            interaction_ids=interaction_ids,
            self_edit_id=None,
            base_fingerprint="base",
            config={"rank": 8, "target_modules": ["q_proj"]},
            seed=7,
            data_hash="dd",
            sha256=sha256,
            bytes=123,
            created=5.0,
        )

    return make


@pytest.fixture
def run_python() -> Callable[..., subprocess.Popen[str]]:
    """Start a child Python that can import seal_memory, its standard output piped."""

    def run(code: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )

    return run
