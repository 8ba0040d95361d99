"""The integrations' README names the versions that the tests run with, and every framework has its row."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _rows() -> list[list[str]]:
    lines = (ROOT / "integrations" / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in cells if len(row) == 5 and row[0] not in ("framework", "---")]


def test_the_table_names_the_pinned_versions() -> None:
    """Each "tested with" is what constraints.txt pins."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    named = [re.fullmatch(r"(\S+) (\S+)", tested.strip()) for row in _rows() for tested in row[4].split(",")]
    assert named
    assert all(named)
    assert [m[0] for m in named if m is not None and pins.get(m[1]) != m[2]] == []


def test_every_framework_has_a_row_an_extra_and_a_folder() -> None:
    """The Makefile's list, the table, pyproject's extras and packages agree."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = re.search(r"^FRAMEWORKS := (.+)$", makefile, re.MULTILINE)
    assert listed is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = {row[1].strip("`") for row in _rows()}
    assert extras == set(listed[1].split())
    assert extras <= set(project["project"]["optional-dependencies"])
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert {f"integrations/{extra}/seal_memory_{extra}" for extra in extras} <= packages
