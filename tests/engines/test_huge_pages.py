"""Huge pages: chosen once per process, never against the user's own settings."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from seal_memory.engines.huge_pages import with_tunables


def test_a_process_under_glibc_starts_again_with_huge_pages_and_keeps_its_environment() -> None:
    changed = with_tunables({"HOME": "/home/a"}, libc="glibc")
    assert changed is not None
    assert changed["HOME"] == "/home/a"
    assert "glibc.malloc.hugetlb=1" in changed["GLIBC_TUNABLES"]
    assert with_tunables(changed, libc="glibc") is None


@pytest.mark.parametrize(("environment", "libc"), [({"GLIBC_TUNABLES": ""}, "glibc"), ({}, ""), ({}, "musl")])
def test_settings_of_the_user_and_other_c_libraries_are_left_alone(environment: dict[str, str], libc: str) -> None:
    assert with_tunables(environment, libc=libc) is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_a_restarted_process_has_the_same_arguments_and_id() -> None:
    script = (
        "import os, sys; print(os.getpid())\n"
        "from seal_memory.engines.huge_pages import are_used, restart_with_huge_pages\n"
        "sys.stdout.flush(); restart_with_huge_pages(); print(are_used(), sys.argv[1:])"
    )
    clean = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    ran = subprocess.run(
        [sys.executable, "-c", script, "a b", "--c"], env=clean, capture_output=True, text=True, check=True, timeout=60
    )
    first, second, used = ran.stdout.splitlines()
    assert first == second
    assert used == "True ['a b', '--c']"
