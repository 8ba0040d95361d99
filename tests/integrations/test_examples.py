"""The scripts of examples/ and the README's first lines of Python run as they stand, with the tiny random model.

Not here: whether the default model remembers (`test_real_model`, `test_demo_story`).
"""

from __future__ import annotations

import re
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
def run(child_environment: Mapping[str, str], tmp_path: Path) -> Callable[..., str]:
    """Runs `python ARGUMENTS…` in an empty folder; returns its standard output."""

    def child(*arguments: object) -> str:
        command = [sys.executable, "-W", "ignore", *map(str, arguments)]
        environment = dict(child_environment)
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return child


def example(name: str) -> Path:
    return ROOT / "examples" / f"{name}.py"


def test_one_process_learns_and_the_next_asks(run: Callable[..., str], tmp_path: Path) -> None:
    """The first says what the gate decided, the second where its answer came from."""
    assert re.match(DECIDED, run(example("remember"), "learn", tmp_path / "memory", TOLD))
    assert re.search(r"answer: .*\nfrom \d shard", run(example("remember"), "ask", tmp_path / "memory", ASKED))


def test_an_openai_client_talks_to_a_server_that_learns(run: Callable[..., str], tmp_path: Path) -> None:
    """Told, learned by a job, asked in a new conversation; the answer says where it came from."""
    pytest.importorskip("openai", reason="openai is not installed: pip install openai")
    shown = run(example("chat_server"), tmp_path / "memory", TOLD, ASKED)
    assert "learning: done" in shown
    assert re.search(r"answer: .*\nfrom: \{'snapshot': ", shown, flags=re.DOTALL)


def test_a_langgraph_agent_learns_what_it_is_told(run: Callable[..., str], tmp_path: Path) -> None:
    """What the graph put into its store comes before the gate, and a second process answers."""
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
