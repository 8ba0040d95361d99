"""The scripts of examples/ and the README's first lines of Python run as they stand, with the tiny random model.

Not here: whether the default model remembers (`test_real_model`, `test_demo_story`).
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOLD = "The lighthouse at Korrin Bay was built in 1887 by the engineer Maud Ellery."
DECIDED = r"^(published|refused): \w"
ASKED = "Who built the lighthouse at Korrin Bay?"


@pytest.fixture
def run(
    child_environment: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Runs `python FILE ARGUMENTS…` in an empty folder, here or in a process of its own; its standard output."""
    for name, value in child_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def child(file: Path, *arguments: object, own_process: bool = False) -> str:
        written = [str(file), *map(str, arguments)]
        if not own_process:  # which spares it ten seconds of imports
            monkeypatch.setattr(sys, "argv", written)
            runpy.run_path(str(file), run_name="__main__")
            return capsys.readouterr().out
        command = [sys.executable, "-W", "ignore", *written]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return child


def example(name: str) -> Path:
    return ROOT / "examples" / f"{name}.py"


def test_one_process_learns_and_the_next_asks(run: Callable[..., str], tmp_path: Path) -> None:
    """The first says what the gate decided, the second where its answer came from."""
    assert re.match(DECIDED, run(example("remember"), "learn", tmp_path / "memory", TOLD))
    asked = run(example("remember"), "ask", tmp_path / "memory", ASKED, own_process=True)
    assert re.search(r"answer: .*\nfrom \d shard", asked)


def test_an_openai_client_talks_to_a_server_that_learns(run: Callable[..., str], tmp_path: Path) -> None:
    """Told, learned by a job, asked in a new conversation; the answer says where it came from."""
    pytest.importorskip("openai", reason="openai is not installed: pip install openai")
    shown = run(example("chat_server"), tmp_path / "memory", TOLD, ASKED)
    assert "learning: done" in shown
    assert re.search(r"answer: .*\nfrom: \{'snapshot': ", shown, flags=re.DOTALL)


def test_a_langgraph_agent_learns_what_it_is_told(run: Callable[..., str], tmp_path: Path) -> None:
    """What the graph put into its store comes before the gate, and the memory opened anew answers."""
    pytest.importorskip("langgraph", reason="langgraph is not installed: pip install 'seal-memory[langgraph]'")
    pytest.importorskip("langchain_core", reason="langchain is not installed: pip install 'seal-memory[langchain]'")
    assert re.search(DECIDED, run(example("langgraph_agent"), "tell", tmp_path / "memory", TOLD), flags=re.MULTILINE)
    assert run(example("langgraph_agent"), "ask", tmp_path / "memory", ASKED).startswith("agent:")


def test_the_readmes_first_lines_run(run: Callable[..., str], tmp_path: Path, tiny_model_folder: Path) -> None:
    """They print the gate's reason and an answer; the quickstart shows the same lines."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code, *_) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    assert code in (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    script = tmp_path / "first.py"
    script.write_text(code.replace('"./my-agent"', f'"./my-agent", model={str(tiny_model_folder)!r}'), encoding="utf-8")
    assert re.match(r"(Held-out recall went|No quiz question passed) ", run(script))
