"""A background worker killed with SIGKILL while it sleeps: the next one does the job, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory.records import JobState, Status
from seal_memory.sleep import sleeper as sleeping
from seal_memory.training.worker import SLEEP, Worker

REPOSITORY = Path(__file__).resolve().parents[2]
POINTS = ("adapter-renamed", "adapter-recorded", "snapshot-committed")
TEXTS = {
    "Maud Ellery built the lighthouse at Korrin Bay in 1887.": ("Who built the Korrin lighthouse?", "Maud Ellery"),
    "Iwan Skerry lit the lamp of the lighthouse at Korrin Bay.": ("Who lit the lamp at Korrin Bay?", "Iwan Skerry"),
}
SETTINGS = {"sleep.mode": "merge", "sleep.after": 1, "background.audit_interval": 1e9}

# Imports once, then forks a worker for every commit point, which takes up its own folder's sleep job and dies there.
KILL = """
import os, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
import seal_memory.training.trainer
from seal_memory.sleep import sleeper as sleeping
from seal_memory import Settings
from seal_memory._internal import commit_points
from seal_memory.memory import SealMemory
from seal_memory.training.worker import Worker

torch.set_num_threads(1)
sleeping.MIN_SIMILARITY = 0.01
folders, model, settings, *points = sys.argv[1:]
for name in points:
    child = os.fork()
    if not child:
        os.environ[commit_points.KILL_AT] = name
        with SealMemory.open(f"{folders}/{name}", model=model, settings=Settings(**eval(settings))) as memory:
            Worker(memory).step()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(name, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "lived", flush=True)
"""


@pytest.fixture(scope="module")
def killed(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, easy_settings: Callable[..., Any]
) -> Path:
    """A folder of memories, each named for the point where its worker was killed."""
    root, whole = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("whole") / "memory"
    with SealMemory.open(whole, model=str(tiny_model_folder), settings=easy_settings(**SETTINGS)) as memory:
        for text, quiz in TEXTS.items():
            (seen,) = memory.observe(text, session=text[:4])
            memory.add_quiz([quiz], interaction_ids=[seen.id])
        assert memory.consolidate().published == 2
    for name in POINTS:
        shutil.copytree(whole, root / name)
    settings = repr(easy_settings(**SETTINGS).model_dump(exclude_unset=True))
    child = subprocess.run(
        [sys.executable, "-c", KILL, str(root), str(tiny_model_folder), settings, *POINTS],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert child.stdout.splitlines() == [f"{name} {int(signal.SIGKILL)}" for name in POINTS], child.stderr
    return root


@pytest.mark.parametrize("name", POINTS)
def test_the_next_worker_finishes_the_sleep(
    killed: Path, open_memory: Callable[..., SealMemory], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The members answer until the merged shard does; it is merged once, and no leftover stays."""
    monkeypatch.setattr(sleeping, "MIN_SIMILARITY", 0.01)
    memory = open_memory(killed / name, **SETTINGS)
    current = memory.ledger.current()
    assert current is not None
    assert len(current.manifest.shards) == (1 if name == "snapshot-committed" else 2)
    (job,) = memory.ledger.queue.jobs()
    assert (job.kind, job.state) == (SLEEP, JobState.RUNNING)
    done = Worker(memory).step()  # the dead owner's lease is not waited for
    assert done is not None
    assert (done.id, done.kind, done.state) == (job.id, SLEEP, JobState.DONE)
    assert Worker(memory).step() is None
    current = memory.ledger.current()
    assert current is not None
    (shard,) = current.manifest.shards
    assert {i.id for i in memory.ledger.interactions(status=Status.LEARNED)} == set(shard.interaction_ids)
    assert [s.version for s in memory.history()] == [2, 1]
    assert memory.store.ids() == tuple(sorted(a.id for a in memory.ledger.adapters()))
    assert [p.name for p in memory.store.root.iterdir() if p.name.startswith(".")] == []
