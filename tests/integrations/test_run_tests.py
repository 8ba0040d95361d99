"""The sets of `make test-integrations`: complete, and their arguments. Installing them is left to the command."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def command() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "integrations" / "run_tests.py"))


def test_every_framework_is_in_a_set_with_an_extra_and_with_tests_that_are_there(command: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [extra for one in command["SETS"].values() for extra in one.extras]
    folders = {p.name for p in (ROOT / "integrations").iterdir() if p.is_dir() and not p.name.startswith("_")}
    assert set(extras) == folders
    assert {extra.replace("_", "-") for extra in extras} <= project["optional-dependencies"].keys()
    for one in command["SETS"].values():
        assert all((ROOT / test).exists() for test in one.tests)
        assert one.own_pins is None or one.own_pins.is_file()
        assert {"tests/integrations", "tests/integrations/test_histories.py"} & set(one.tests)


def test_a_sets_own_pins_replace_the_common_ones(command: dict[str, Any]) -> None:
    pins = command["constraints"](command["SETS"]["google_adk"]).splitlines()
    names = [pin.partition("==")[0].lower().replace("_", "-") for pin in pins]
    assert len(names) == len(set(names))
    own = (ROOT / "integrations" / "google_adk" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in own if not line.startswith("#")} <= set(pins)


def test_pytests_arguments_come_after_two_dashes(command: dict[str, Any]) -> None:
    split = command["split"]
    assert split([]) == (["main", "google_adk"], [])
    assert split(["main", "--", "-k", "a b", "--durations=5"]) == (["main"], ["-k", "a b", "--durations=5"])
    for wrong in (["--durations=5"], ["-x"], ["nothing"]):
        with pytest.raises(SystemExit, match="unknown set"):
            split(wrong)
