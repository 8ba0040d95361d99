"""The table in integrations/README.md names the versions that were tested: those that are pinned."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(
    r"^\| .*\(extra `([\w-]+)`\).*\| ([^|]+) \|$",
    (ROOT / "integrations" / "README.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE,
)
TESTED = [(extra, *one.split()) for extra, packages in ROWS for one in packages.split(", ")]


def test_every_framework_has_a_row_an_extra_and_a_folder() -> None:
    """Extras without a folder are none of a framework's. Hyphens in extras: older pips find none with an underscore."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = set(project["project"]["optional-dependencies"])
    assert not any("_" in extra for extra in extras)
    paths = [p for p in (ROOT / "integrations").iterdir() if p.is_dir() and not p.name.startswith("_")]
    folders = {p.name.replace("_", "-") for p in paths}
    assert {extra for extra, _ in ROWS} == extras & folders == folders
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) - {"seal_memory"}
    assert packages == {str(p.relative_to(ROOT)) for p in (ROOT / "integrations").glob("*/seal_memory_*")}


@pytest.mark.parametrize(("extra", "package", "tested"), TESTED, ids=[row[1] for row in TESTED])
def test_the_tested_version_is_the_pinned_one(extra: str, package: str, tested: str) -> None:
    """As in constraints.txt, and as installed where it is."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"{package}=={tested}" in pins
    try:
        assert version(package) == tested
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed: pip install seal-memory[{extra}]")
