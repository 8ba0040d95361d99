"""`--help` and `--version`: quick, light, and naming every command."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

import seal_memory
from seal_memory.cli.app import COMMANDS, app
from seal_memory.cli.asking import AnswerMode

ROOT = Path(__file__).resolve().parents[2]
GROUPS = ["keys"]  # commands of commands
WANTED = [
    *("observe", "ingest", "consolidate", "ask", "chat", "recall", "quiz", "correct"),
    *("forget", "history", "rollback", "export", "status", "demo", "doctor"),
    *("worker", "sleep", "report", "quarantine", "serve", "wrap", "mcp"),
]
CHILD = """
import sys, time
start = time.process_time()  # not the clock's: other processes may have the CPU
sys.argv = ["seal-memory", *sys.argv[1:]]
from seal_memory.cli import main
try:
    main()
except SystemExit as end:
    code = end.code
took = time.process_time() - start
heavy = {"torch", "transformers", "peft", "numpy", "sqlite_utils", "rich", "langchain_core", "seal_memory.config"}
heavy |= {"fastapi", "uvicorn", "prometheus_client", "mcp"}
if len(sys.argv) == 2:
    heavy.add("pydantic")  # typer takes it to show the types of a command's options
print(f"{code} {took:.3f}", ",".join(sorted(heavy & set(sys.modules))))
"""


@pytest.mark.parametrize("args", [["--help"], ["demo", "--help"], ["--version"]], ids=" ".join)
def test_help_is_quick_and_light(args: list[str]) -> None:
    """Help and version come well under half a second, and bring no heavy package."""
    answers = []
    for _ in range(3):  # the first may have to compile
        command = [sys.executable, "-c", CHILD, *args]
        child = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=280)
        answers.append(child.stdout.splitlines()[-1].split())
        if float(answers[-1][1]) < 0.5:
            break
    assert all(answer[0] in ("0", "None") and len(answer) == 2 for answer in answers), answers
    assert min(float(answer[1]) for answer in answers) < 0.5


def test_help_names_every_command() -> None:
    """The issue's commands are all there, in `COMMANDS`, in the help, and nothing else is."""
    assert sorted(work.__name__ for work in COMMANDS) == sorted(WANTED)
    shown = CliRunner().invoke(app, ["--help"]).stdout
    listed = re.findall(r"^  (\w+)  +\w", shown.partition("Commands:")[2], flags=re.MULTILINE)
    assert listed == [*(work.__name__ for work in COMMANDS), *GROUPS]


@pytest.mark.parametrize("command", WANTED)
def test_every_command_has_the_shared_options(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"]).stdout
    for option in ("-f, --folder", "--model", "--namespace", "--set NAME=VALUE", "--json"):
        assert option in shown, (command, option)


def test_no_arguments_show_the_help() -> None:
    assert "Commands:" in CliRunner().invoke(app, []).output


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == f"seal-memory {seal_memory.__version__}"


def test_the_modes_and_the_default_model_are_those_of_the_rooms_below() -> None:
    """What the command line repeats, so as not to import it, is the same there."""
    from seal_memory.answering.answerer import Mode
    from seal_memory.cli.invocation import DEFAULT_MODEL
    from seal_memory.engines import models

    assert set(get_args(AnswerMode)) == {mode.value for mode in Mode}
    assert DEFAULT_MODEL == models.DEFAULT_MODEL


def test_the_console_script_is_main() -> None:
    """The distribution's command is the function that the package exposes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"seal-memory": "seal_memory.cli.__main__:run"}
