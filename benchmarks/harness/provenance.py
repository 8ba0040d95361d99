"""Provenance of figures: commit, versions, machine, model. Part of every results file."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from seal_memory.engines.local import TransformersEngine

PACKAGES = ("torch", "transformers", "peft", "bm25s", "numpy", "sqlite-utils")
REPOSITORY = Path(__file__).resolve().parents[2]


def provenance(engine: TransformersEngine, model: str) -> dict[str, Any]:
    """The provenance of a run with a loaded engine."""
    return about(model, engine.fingerprint, engine.hardware.base_dtype)


def about(model: str, fingerprint: str, dtype: str) -> dict[str, Any]:
    """The provenance without an engine."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {name: _version(name) for name in PACKAGES},
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "dtype": dtype,
        "python": platform.python_version(),
        "platform": platform.system(),
        "model": {"name": model, "fingerprint": fingerprint},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m benchmarks", *(Path(a).name if "/" in a else a for a in sys.argv[1:])]),
    }


def cpu_name() -> str:
    """The processor's model name, where the system reports it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
