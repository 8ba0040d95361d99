"""The table in integrations/README.md names the versions that were tested: those that are pinned."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = re.findall(
    r"^\| .*\(extra `(\w+)`\).*\| ([\w-]+) ([\w.]+) \|$",
    (ROOT / "integrations" / "README.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE,
)


def test_every_extra_of_a_framework_stands_in_the_table() -> None:
    """One row for each, and a folder of the same name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = set(project["project"]["optional-dependencies"]) - {"bench", "dev"}
    folders = {p.name for p in (ROOT / "integrations").iterdir() if p.is_dir() and not p.name.startswith("_")}
    assert {extra for extra, _, _ in TABLE} == extras & folders == folders


@pytest.mark.parametrize(("extra", "package", "tested"), TABLE, ids=[row[0] for row in TABLE])
def test_the_tested_version_is_the_pinned_one(extra: str, package: str, tested: str) -> None:
    """As in constraints.txt, and as installed where it is."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"{package}=={tested}" in pins
    try:
        assert version(package) == tested
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed: pip install seal-memory[{extra}]")
