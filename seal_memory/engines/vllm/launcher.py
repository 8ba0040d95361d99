"""Starts a vLLM server for this library: `python -m seal_memory.engines.vllm.launcher` (`make vllm-server`).

vLLM runs in an environment of its own, as it needs other versions of torch and transformers. Required options: only the
linear layers of the blocks take adapters (with lm_head among them, concurrent prompt log-probabilities crash vLLM 0.32
on a CPU), adapters may be loaded at run time, and there are at least three adapter slots. Not here: installing vLLM
(`make vllm`), watching or restarting it, and GPUs, for which vLLM's own command line is better.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.models import DEFAULT_MODEL, ModelFiles, resolve
from seal_memory.engines.profile import read
from seal_memory.errors import InputError, SealMemoryError

ENVIRONMENT = Path(".venv-vllm")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DEFAULT_VARIABLES: Mapping[str, str] = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True, slots=True)
class Launch:
    """Options of the server. `python`: of vLLM's environment. `extra`: further vLLM options, passed on unchanged.

    `layers`: names of the model's linear layers that take adapters.
    """

    python: Path
    host: str = "127.0.0.1"
    port: int = 8000
    max_loras: int = 8
    max_rank: int = 32
    max_length: int = 2048
    max_rows: int = 16
    dtype: str = "float32"
    extra: tuple[str, ...] = ()
    layers: tuple[str, ...] = LLAMA_LINEAR

    def command(self, files: ModelFiles) -> list[str]:
        """The command line for a model. Raises `InputError` for a missing Python, or a public host without a key."""
        if self.host not in LOOPBACK and "--api-key" not in self.extra and not os.environ.get("VLLM_API_KEY"):
            raise InputError(
                f"--host {self.host} lets others load adapters: set VLLM_API_KEY in the environment, where other users "
                "of this machine cannot read it."
            )
        if not self.python.is_file():
            raise InputError(
                f"There is no {self.python}: run `make vllm`, or name a Python that has vLLM with --python."
            )
        options: Mapping[str, object] = {
            "--model": files.folder,
            "--served-model-name": files.name,
            "--host": self.host,
            "--port": self.port,
            "--dtype": self.dtype,
            "--max-model-len": self.max_length,
            "--max-num-seqs": self.max_rows,
            "--max-loras": self.max_loras,
            "--max-cpu-loras": 2 * self.max_loras,
            "--max-lora-rank": self.max_rank,
        }
        pairs = [str(part) for pair in options.items() for part in pair]
        server = ["-m", "vllm.entrypoints.openai.api_server"]  # `vllm serve` does not find the package vllm-cpu
        flags = ["--enable-lora", "--enforce-eager", "--lora-target-modules", *self.layers]
        return [str(self.python), *server, *pairs, *flags, *self.extra]


def environment(outer: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for vLLM: `outer` overrides the defaults, but PYTHON* variables are left out."""
    return {**_DEFAULT_VARIABLES, **{k: v for k, v in outer.items() if not k.startswith("PYTHON")}}


def main(argv: Sequence[str]) -> int:
    """Replace this process by the server; earlier errors go to stderr."""
    parser = argparse.ArgumentParser(prog="python -m seal_memory.engines.vllm.launcher", description=__doc__)
    known = Launch(ENVIRONMENT / "bin" / "python")
    parser.add_argument("--python", type=Path, default=known.python, help="Python of the environment that has vLLM")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a model's name, folder, GGUF file or hub id")
    parser.add_argument("--host", default=known.host)
    parser.add_argument("--port", type=int, default=known.port)
    parser.add_argument(
        "--max-loras", type=int, default=known.max_loras, help="adapter slots; two less are yours to use"
    )
    parser.add_argument(
        "--max-rank", type=int, default=known.max_rank, help="largest adapter rank; at least the setting learning.rank"
    )
    parser.add_argument(
        "--max-length", type=int, default=known.max_length, help="context: tokens of a prompt and its answer"
    )
    parser.add_argument("--max-rows", type=int, default=known.max_rows, help="requests computed at once")
    parser.add_argument("--dtype", default=known.dtype, help="float32, bfloat16, or auto")
    parser.add_argument("extra", nargs="*", help="further options of vLLM, after --")
    given = vars(parser.parse_args(argv))
    model, extra = given.pop("model"), tuple(given.pop("extra"))
    try:
        files = resolve(model)
        command = Launch(**given, extra=extra, layers=read(files).linear_layers).command(files)
    except SealMemoryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    os.execve(command[0], command, environment(os.environ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
