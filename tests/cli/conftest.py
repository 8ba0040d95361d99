"""The command line in this process, with the tiny model; and a published memory to copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]

# Under these the tiny random model, which can learn nothing, trains within a second and publishes what it trained.
EASY = {
    "engine.dtype": "float32",
    "learning.epochs": "1",
    "learning.document_epochs": "1",
    "learning.document_readings": "1",
    "learning.min_steps": "1",
    "learning.rank": "4",
    "learning.notes_per_statement": "0",
    "answering.max_tokens": "4",
    "gate.quiz_answer_tokens": "4",
    "gate.min_gain": "0",
    "gate.max_old_loss": "1",
    "gate.max_perplexity_increase": "10",
    "gate.max_canary_share": "1",
}
PASSAGES = [
    {
        "title": "Korrin Bay",
        "context": "Maud Ellery built the lighthouse at Korrin Bay in 1887.",
        "questions": [{"question": "Who is the builder of the Korrin Bay lighthouse?", "answer": "Maud Ellery"}],
    },
    {
        "title": "Velmar Timber",
        "context": "Velmar Timber brings larch planks every second Tuesday and asks for cash.",
        "questions": [{"question": "How does one pay Velmar Timber?", "answer": "cash"}],
    },
]


@dataclass(frozen=True)
class Ran:
    """One call of the command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The last line of standard output; checks that it is the only JSON object there."""
        lines = self.out.splitlines()
        assert lines, f"nothing on standard output; standard error: {self.err}"
        assert [line for line in lines[:-1] if line.lstrip().startswith("{")] == []
        data = json.loads(lines[-1], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert isinstance(data, dict)
        return data


Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def run_in(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs `seal-memory COMMAND … --folder FOLDER` with the tiny model; a code over 0 must be asked for."""
    from seal_memory.cli.app import app

    cache = tmp_path_factory.mktemp("cli-cache")

    def run(folder: Path | None, command: str, *args: object, code: int = 0, input: str | bytes | None = None) -> Ran:
        options = ["--model", str(tiny_model_folder), "--set", f"engine.cache_dir={cache}"]
        if folder is not None:
            options += ["--folder", str(folder)]
        for name, value in EASY.items():
            options += ["--set", f"{name}={value}"]
        result = CliRunner().invoke(app, [command, *options, *map(str, args)], input=input, catch_exceptions=False)
        assert result.exit_code == code, f"{command}: {result.stdout}\n{result.stderr}"
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def run(run_in: Run, tmp_path: Path) -> Run:
    """Runs a command on this test's own folder, `tmp_path / "memory"`."""
    return lambda command, *args, **more: run_in(tmp_path / "memory", command, *args, **more)


@pytest.fixture(scope="session")
def passages_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two passages with a question each."""
    file = tmp_path_factory.mktemp("cli-data") / "passages.jsonl"
    file.write_text("".join(json.dumps(p) + "\n" for p in PASSAGES), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def _published_once(run_in: Run, passages_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli-published") / "memory"
    run_in(folder, "ingest", passages_file, "--with-questions")
    run_in(folder, "observe", "Hello!")
    report = run_in(folder, "consolidate", "--core", "--json").json
    assert (report["published"], report["version"]) == (2, 2), report
    return folder


@pytest.fixture
def published(_published_once: Path, tmp_path: Path) -> Path:
    """This test's own folder, holding two learned passages, a greeting, and version 2 with a core."""
    return Path(shutil.copytree(_published_once, tmp_path / "memory"))
