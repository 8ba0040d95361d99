"""Starting a vLLM server: the command that avoids the known traps, and what is said where there is none to start."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.models import ModelFiles
from seal_memory.engines.vllm import launcher
from seal_memory.engines.vllm.launcher import Launch, environment
from seal_memory.errors import InputError

FILES = ModelFiles("the-model", Path("/models/it"), "f" * 64, "here")


def test_the_command_takes_adapters_in_the_blocks_only() -> None:
    """Trap: with lm_head among them, concurrent prompt log-probabilities end the server."""
    command = Launch(Path(sys.executable), max_loras=5, extra=("--api-key", "secret")).command(FILES)
    at = command.index("--lora-target-modules") + 1
    assert tuple(command[at : at + len(LLAMA_LINEAR)]) == LLAMA_LINEAR
    assert "lm_head" not in command
    assert command[-2:] == ["--api-key", "secret"]
    options = dict(itertools.pairwise(command))
    assert (options["--model"], options["--served-model-name"]) == ("/models/it", "the-model")
    assert (options["--max-loras"], options["--max-cpu-loras"]) == ("5", "10")
    assert command[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]


def test_others_do_not_get_in_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reaches the server can load adapters."""
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    with pytest.raises(InputError, match="VLLM_API_KEY") as refused:
        Launch(Path(sys.executable), host="0.0.0.0").command(FILES)
    assert "--api-key" not in str(refused.value)  # every user of the machine can read a command line
    assert "0.0.0.0" in Launch(Path(sys.executable), host="0.0.0.0", extra=("--api-key", "x")).command(FILES)
    monkeypatch.setenv("VLLM_API_KEY", "x")
    assert "0.0.0.0" in Launch(Path(sys.executable), host="0.0.0.0").command(FILES)


def test_the_variables_of_outside_go_first() -> None:
    """But not this Python's own, which would lead vLLM to the wrong packages."""
    made = environment({"VLLM_CPU_KVCACHE_SPACE": "8", "PYTHONPATH": "/elsewhere", "HOME": "/root"})
    assert made["VLLM_CPU_KVCACHE_SPACE"] == "8"
    assert made["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert made["HOME"] == "/root"
    assert "PYTHONPATH" not in made


def test_without_vllm_the_way_out_is_told(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEAL_MEMORY_ENGINE__CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="make vllm"):
        Launch(tmp_path / "none").command(FILES)
    assert launcher.main(["--python", str(tmp_path / "none"), "--model", str(tiny_model_folder)]) == 1
    assert "run `make vllm`" in capsys.readouterr().err
    assert launcher.main(["--model", str(tmp_path / "nowhere")]) == 1
    assert "no model" in capsys.readouterr().err
