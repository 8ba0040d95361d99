"""Errors: one message and exit code 1, one JSON object with --json, 2 for wrong usage, 130 for Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory.cli import app as app_module
from seal_memory.cli import main

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., Any]

NEEDS_A_MEMORY = [
    ["consolidate"],
    ["ask", "Who?"],
    ["recall", "Who"],
    ["quiz"],
    ["correct", "x", "y"],
    ["forget", "x", "--yes"],
    ["history"],
    ["rollback", "1"],
    ["export", "there"],
    ["status"],
]


@pytest.mark.parametrize("args", NEEDS_A_MEMORY, ids=lambda args: args[0])
def test_a_folder_without_a_memory_is_told_and_not_made(run: Run, tmp_path: Path, args: list[str]) -> None:
    """Only observe, ingest and chat begin a memory: a mistyped folder is an error, not an empty answer."""
    ran = run(*args, "--json", code=1)
    assert ran.json["error"]["type"] == "InputError"
    assert "--folder" in ran.json["error"]["message"]
    assert not (tmp_path / "memory").exists()


def test_without_json_an_error_is_one_message_on_standard_error(run: Run) -> None:
    ran = run("status", code=1)
    assert ran.out == ""
    assert ran.err.startswith("error: There is no memory in ")
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    "args",
    [
        ["observe"],
        ["ask"],
        ["nonsense"],
        ["ask", "Who?", "--mode", "telepathy"],
        ["recall", "Who", "--limit", "0"],
        ["rollback", "one"],
        ["forget"],
        ["forget", "x", "--session", "y"],
        ["demo", "--limit", "3"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(args: list[str]) -> None:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app_module.app, args)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_set_without_a_value_is_wrong_usage(run: Run) -> None:
    assert "NAME=VALUE" in run("status", "--set", "learning.rank", code=2).err


@pytest.mark.parametrize(
    "pair",
    [
        "rnak=8",
        "learning.rank=many",
        "learning.rank=0",
        "learning.notes_per_statement=perhaps",
        "learning.roles=user,ghost",
    ],
)
def test_a_bad_setting_is_named(run: Run, published: Path, pair: str) -> None:
    """`--set` goes to the settings as it is, and their message names the setting and the value."""
    message = run("status", "--set", pair, "--json", code=1).json["error"]
    assert message["type"] == "SettingsError"
    assert pair.partition("=")[0] in message["message"]


def test_set_takes_numbers_and_lists() -> None:
    """The settings parse the strings; the last of two values for a name counts; dashes are fine."""
    from seal_memory.cli.invocation import Invocation, parse_overrides

    overrides = parse_overrides(
        [
            "learning.rank=4",
            "learning.rank=8",
            "learning.learning-rate=1e-3",
            "LEARNING.NOTES_PER_STATEMENT=0",
            "learning.target_modules=q_proj, v_proj",
            "learning.roles=user",
        ]
    )
    settings = Invocation(Path("nowhere"), "m", "n", overrides, False).settings(seed=3)
    assert (
        settings.learning.rank,
        settings.learning.learning_rate,
        settings.learning.notes_per_statement,
        settings.seed,
    ) == (8, 1e-3, 0, 3)
    assert settings.learning.target_modules == ("q_proj", "v_proj")


def test_a_missing_model_is_told(run: Run, published: Path, tmp_path: Path) -> None:
    error = run("ask", "Who?", "--model", tmp_path / "no-model", "--json", code=1).json["error"]
    assert error["type"] == "ModelUnavailableError"
    assert "no-model" in error["message"]


def test_an_error_of_the_operating_system_is_no_traceback(
    run: Run, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: SealMemory, *args: object, **more: object) -> None:
        raise OSError(28, "No space left on device", "/memory/adapters")

    monkeypatch.setattr(SealMemory, "export", full)
    assert "No space left on device" in run("export", "there", code=1).err


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["plain", "json"])
def test_ctrl_c_is_exit_code_130(
    run: Run, published: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    def stop(self: SealMemory, *args: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SealMemory, "recall", stop)
    ran = run("recall", "Who", *options, code=130)
    if options:
        assert ran.json["error"]["type"] == "KeyboardInterrupt"
    else:
        assert ran.err.startswith("error: Interrupted.")


def test_ctrl_c_before_a_command_runs_is_130_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(**more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app_module, "app", stop)
    assert main() == 130


def test_as_a_module_it_is_the_same_command(tmp_path: Path) -> None:
    """A process of its own: exit code 1, one JSON line, and nothing else on standard output."""
    command = [sys.executable, "-m", "seal_memory.cli", "status", "--folder", str(tmp_path), "--json"]
    child = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=280)
    assert child.returncode == 1
    assert len(child.stdout.splitlines()) == 1
    assert '"InputError"' in child.stdout
    assert "Traceback" not in child.stderr
