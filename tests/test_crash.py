"""Killed at any moment, and shared by processes: the published snapshot is whole, nothing observed is lost."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory import Answer, SealMemory
from seal_memory._internal import commit_points
from seal_memory.errors import BusyError
from seal_memory.records import Status

REPOSITORY = Path(__file__).resolve().parents[1]

FIRST = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
SECOND = "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office."
QUESTIONS = {
    FIRST: ("Who is the builder of the lighthouse at Korrin Bay?", "Maud Ellery"),
    SECOND: ("Where does Tomas Lindqvist keep his quarterly report?", "drawer 12"),
}

Open = Callable[..., SealMemory]

# Imports once, then forks a process for every commit point, which consolidates its own folder and dies there.
KILL = """
import os, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
import seal_memory.learning.consolidate, seal_memory.runtime.loading
from seal_memory import Settings
from seal_memory._internal import commit_points
from seal_memory.memory import SealMemory

torch.set_num_threads(1)
folders, model, settings = sys.argv[1:]
for name in commit_points.NAMES:
    child = os.fork()
    if not child:
        os.environ[commit_points.KILL_AT] = name
        with SealMemory.open(f"{folders}/{name}", model=model, settings=Settings(**eval(settings))) as memory:
            memory.consolidate()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(name, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "lived", flush=True)
"""

# Stops in the middle of a consolidation until it is told to go on.
PAUSE = """
import sys
from seal_memory import SealMemory, Settings

def wait(phase, done, total, told=[]):
    if not told:
        print("consolidating", flush=True)
        told.append(sys.stdin.readline())

folder, model, settings = sys.argv[1:]
with SealMemory.open(folder, model=model, settings=Settings(**eval(settings)), progress=wait) as memory:
    print(memory.consolidate().version, flush=True)
"""

OBSERVE = """
import sys
from seal_memory import SealMemory, Settings

with SealMemory.open(sys.argv[1], settings=Settings()) as memory:
    for n in range(10**6):
        seen = memory.observe([f"Crate {n} holds {n} lanterns.", f"Crate {n} is blue."], session=str(n))
        print(n, *(s.id for s in seen), flush=True)
"""


@pytest.fixture(scope="module")
def child_settings(easy_settings: Callable[..., Any]) -> str:
    """The settings of the other tests, as a child reads them."""
    return repr(easy_settings().model_dump(exclude_unset=True))


def _start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _observe(memory: SealMemory, text: str) -> str:
    (seen,) = memory.observe(text)
    memory.add_quiz([QUESTIONS[text]], interaction_ids=[seen.id])
    return seen.id


@pytest.fixture(scope="module")
def killed(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model_folder: Path,
    easy_settings: Callable[..., Any],
    child_settings: str,
) -> Path:
    """A folder of memories, named for the point where the second of two consolidations was killed."""
    root = tmp_path_factory.mktemp("killed")
    whole = tmp_path_factory.mktemp("whole") / "memory"
    with SealMemory.open(whole, model=str(tiny_model_folder), settings=easy_settings()) as memory:
        _observe(memory, FIRST)
        assert memory.consolidate().version == 1
        _observe(memory, SECOND)
    for name in commit_points.NAMES:
        shutil.copytree(whole, root / name)
    child = _start(KILL, str(root), str(tiny_model_folder), child_settings)
    out, errors = child.communicate(timeout=240)
    expected = [f"{name} {int(signal.SIGKILL)}" for name in commit_points.NAMES]
    assert out.splitlines() == expected, errors
    return root


@pytest.mark.parametrize("name", commit_points.NAMES)
def test_a_killed_consolidation_leaves_the_last_published_snapshot(killed: Path, open_memory: Open, name: str) -> None:
    """Whole adapters, statuses that fit them, and the next consolidation starts at once and cleans up."""
    memory = open_memory(killed / name)
    published = name == "snapshot-committed"
    current = memory.ledger.current()
    assert current is not None
    assert [s.version for s in memory.history()] == ([2, 1] if published else [1])
    records = memory.ledger.adapters(ids=current.manifest.adapter_ids)
    assert len(records) == len(current.manifest.shards) == current.version
    assert all(memory.store.verify(r.id, r.sha256) for r in records)
    held = {i for shard in current.manifest.shards for i in shard.interaction_ids}
    for interaction in memory.ledger.interactions():
        expected = Status.LEARNED if interaction.id in held else Status.PENDING
        assert interaction.status is expected
    answer = memory.ask(QUESTIONS[FIRST][0], mode="weights")
    assert isinstance(answer, Answer)
    assert answer.snapshot == current.version
    assert len(answer.shards) == 1

    report = memory.consolidate()  # the dead owner's lease is not waited for
    assert (report.published, report.version) == ((0, None) if published else (1, 2))
    assert memory.store.ids() == tuple(sorted(a.id for a in memory.ledger.adapters()))
    assert [p.name for p in memory.store.root.iterdir() if p.name.startswith(".")] == []
    assert set(memory.ledger.counts().items()) >= {(Status.LEARNED, 2), (Status.PENDING, 0)}
    assert [j.state for j in memory.ledger.jobs()] == ["done", "failed", "done"]


def test_a_kill_while_observing_loses_nothing_that_was_returned(open_memory: Open, tmp_path: Path) -> None:
    """Every call is in the ledger whole or not at all."""
    with _start(OBSERVE, str(tmp_path / "memory")) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(40)]
        child.kill()
        rest, _ = child.communicate(timeout=60)
    returned = [line.split() for line in [*lines, *rest.splitlines()] if len(line.split()) == 3]
    assert len(returned) >= 40
    memory = open_memory()
    texts = {i.id: i.text for i in memory.ledger.interactions()}
    for n, holds, blue in returned:
        assert texts[holds] == f"Crate {n} holds {n} lanterns."
        assert texts[blue] == f"Crate {n} is blue."
    assert len(texts) % 2 == 0
    assert len(texts) - 2 * len(returned) in (0, 2)
    assert memory.recall("crate 17 lanterns")[0].interaction.text == "Crate 17 holds 17 lanterns."
    connection = sqlite3.connect(memory.ledger.path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_two_processes_share_a_memory(
    open_memory: Open, tmp_path: Path, tiny_model_folder: Path, child_settings: str
) -> None:
    """While one consolidates the other is refused that, observes, forgets, asks; then it uses what was published."""
    memory = open_memory()
    _observe(memory, FIRST)
    with _start(PAUSE, str(memory.folder), str(tiny_model_folder), child_settings) as child:
        try:
            _share(memory, child)
        finally:
            child.kill()


def _share(memory: SealMemory, child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "consolidating\n"
    (first,) = [i.id for i in memory.ledger.interactions()]
    with pytest.raises(BusyError, match=str(child.pid)):
        memory.consolidate()
    (slip,) = memory.observe("Crate 9 of the quarry holds forty lanterns.")
    assert memory.forget(slip.id).interactions == 1
    second = _observe(memory, SECOND)
    before = memory.ask(QUESTIONS[FIRST][0], mode="weights")
    assert isinstance(before, Answer)
    assert (before.snapshot, before.shards) == (None, ())
    out, errors = child.communicate("go on\n", timeout=240)
    assert out == "1\n", errors
    after = memory.ask(QUESTIONS[FIRST][0], mode="weights")
    assert isinstance(after, Answer)
    assert (after.snapshot, after.sources) == (1, (first,))
    assert memory.consolidate().version == 2
    statuses = {i.id: i.status for i in memory.ledger.interactions()}
    assert statuses == {first: Status.LEARNED, second: Status.LEARNED}
