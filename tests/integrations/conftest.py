"""What the integrations' tests share: the repository's root, and a child process that finds every package."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from seal_memory.records import Status

ROOT = Path(__file__).resolve().parents[2]

# Under these the tiny random model trains within a second and publishes what it trained.
EASY = {
    "engine.dtype": "float32", "learning.epochs": "1", "learning.document_epochs": "1",
    "learning.document_readings": "1", "learning.min_steps": "1", "learning.rank": "4",
    "learning.notes_per_statement": "0", "answering.max_tokens": "24", "gate.quiz_answer_tokens": "24",
    "gate.min_gain": "0", "gate.max_old_loss": "1", "gate.max_perplexity_increase": "10",
}  # fmt: skip


@pytest.fixture(scope="session")
def child_environment(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that uses the tiny model and imports every integration from the source."""
    paths = [ROOT, *sorted(p.parent for p in (ROOT / "integrations").glob("*/seal_memory_*"))]
    easy = {f"SEAL_MEMORY_{name.upper().replace('.', '__')}": value for name, value in EASY.items()}
    return {
        **os.environ,
        **easy,
        "SEAL_MEMORY_MODEL": str(tiny_model_folder),
        "SEAL_MEMORY_ENGINE__CACHE_DIR": str(tmp_path_factory.mktemp("cache-of-children")),
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
    }


@pytest.fixture(scope="session")
def run_example(child_environment: Mapping[str, str]) -> Callable[..., str]:
    """Runs `integrations/FRAMEWORK/examples/NAME ARGUMENTS…` in a process of its own; returns its standard output."""

    def run(framework: str, name: str, *arguments: object, **variables: str) -> str:
        file = ROOT / "integrations" / framework / "examples" / name
        command = [sys.executable, "-W", "ignore", str(file), *map(str, arguments)]
        child = subprocess.run(
            command, env={**child_environment, **variables}, capture_output=True, text=True, timeout=250, check=False
        )
        assert child.returncode == 0, child.stderr
        return child.stdout

    return run


@pytest.fixture
def fake_openai() -> Iterator[Any]:
    """A running OpenAI-compatible server that always says the same; see `fake_openai.py`."""
    name = "seal_memory_tests_fake_openai"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("fake_openai.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.serving("I will keep that in mind.") as server:
        yield server


@pytest.fixture
def learn(open_memory: Callable[..., Any]) -> Callable[..., None]:
    """Consolidates a folder, with a question for each fact, so well that the tiny model recites it; and closes it."""

    def run(folder: Path, *, namespace: str = "default") -> None:
        with open_memory(
            folder, namespace=namespace, learning={"epochs": 30, "rank": 16, "learning_rate": 1e-2}
        ) as memory:
            for one in memory.ledger.interactions(status=Status.PENDING):
                memory.add_quiz([("Who is the builder of the lighthouse?", "Maud Ellery")], interaction_ids=[one.id])
            memory.consolidate()
            assert memory.status().shards

    return run
