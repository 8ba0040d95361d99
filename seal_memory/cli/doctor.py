"""Command `doctor`: checks hardware, versions, settings, folder, model and engine, with a remedy for each problem.

Checks are independent; a failed one does not end the others, and problems do not change the exit code. Writes nothing
into the memory's folder. Not here: the status of a memory (`report.status`), fixing anything.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from seal_memory import __version__
from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output, say, table
from seal_memory.errors import SealMemoryError

if TYPE_CHECKING:
    from rich.console import Console

    from seal_memory.config import Settings

__all__ = ["doctor"]

PACKAGES = ("torch", "transformers", "peft", "safetensors", "sqlite-utils", "pydantic", "typer")
MIN_FREE_BYTES = 2e9


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `facts`: the findings. `problem`: the fault and its remedy, or None."""

    name: str
    facts: dict[str, Any]
    problem: str | None = None


def doctor(call: Invocation) -> Output:
    """Check hardware, versions, settings, folder and model.

    Names a remedy for each problem; problems do not change the exit code.
    """
    settings = _settings(call)
    checks = [_versions(), settings, _folder(call.folder), _ledger(call.folder)]
    loaded = settings.facts.pop("loaded")
    with call.bars.step("checking hardware and model"):
        checks += [
            _run_check("hardware", lambda: _hardware(loaded)),
            _run_check("model", lambda: _model(call.model, loaded)),
        ]
        if loaded is not None and loaded.engine.name == "vllm":
            checks.append(_run_check("engine", lambda: _engine(call.model, loaded)))
    problems = [f"{c.name}: {c.problem}" for c in checks if c.problem]
    data = {"ok": not problems, "problems": problems}
    data |= {c.name: {"ok": c.problem is None, **c.facts} for c in checks}
    return Output(data, lambda out: _show(checks, problems, out))


def _run_check(name: str, look: Callable[[], dict[str, Any]]) -> Check:
    try:
        return Check(name, look())
    except (SealMemoryError, ImportError, OSError) as error:
        return Check(name, {}, str(error))


def _versions() -> Check:
    from importlib import metadata

    found: dict[str, Any] = {"seal-memory": __version__, "python": sys.version.split()[0]}
    missing = []
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
            missing.append(package)
    problem = f"not installed: {', '.join(missing)}; run: {sys.executable} -m pip install seal-memory"
    return Check("versions", found, problem if missing else None)


def _settings(call: Invocation) -> Check:
    """The effective settings; if they are invalid, `loaded` is None and later checks use the defaults."""
    from seal_memory.config import SETTINGS_FILE, Settings

    file = call.folder / SETTINGS_FILE
    facts: dict[str, Any] = {"file": str(file), "file_exists": file.is_file()}
    try:
        loaded = call.settings()
    except SealMemoryError as error:
        return Check("settings", {**facts, "loaded": None}, str(error))
    defaults = Settings.defaults().flat()
    changed = {name: value for name, value in loaded.flat().items() if value != defaults[name]}
    return Check("settings", {**facts, "changed": changed, "loaded": loaded})


def _folder(folder: Path) -> Check:
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    facts: dict[str, Any] = {
        "path": str(folder.absolute()),
        "exists": folder.is_dir(),
        "writable": existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
        "free_bytes": shutil.disk_usage(existing).free,
    }
    problem = None
    if not facts["writable"]:
        problem = f"{existing} cannot be written; choose another folder with --folder"
    elif facts["free_bytes"] < MIN_FREE_BYTES:
        problem = f"only {facts['free_bytes'] / 1e9:.1f} GB are free; adapters and converted models need about 2 GB"
    return Check("folder", facts, problem)


def _ledger(folder: Path) -> Check:
    """The ledger's schema version, read without opening the file for writing."""
    from seal_memory.ledger.connection import FILE_NAME
    from seal_memory.ledger.schema import MIGRATIONS

    file = folder.absolute() / FILE_NAME
    facts: dict[str, Any] = {"path": str(file), "exists": file.is_file(), "schema": None, "known": len(MIGRATIONS)}
    if not file.is_file():
        return Check("ledger", facts)
    has_wal = Path(f"{file}-wal").exists()  # without a WAL, immutable=1 keeps SQLite from creating one
    uri = f"file:{quote(str(file))}?mode=ro{'' if has_wal else '&immutable=1'}"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            facts["schema"] = int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        return Check("ledger", facts, f"{file} cannot be read: {error}; restore it from a backup")
    if facts["schema"] > len(MIGRATIONS):
        return Check("ledger", facts, "a newer seal-memory wrote it; upgrade: pip install -U seal-memory")
    return Check("ledger", facts)


def _hardware(settings: Settings | None) -> dict[str, Any]:
    from seal_memory.engines.hardware import detect

    found = detect(settings.engine.device, settings.engine.dtype) if settings is not None else detect()
    return {
        "device": found.device,
        "dtype": found.base_dtype,
        "threads": found.threads,
        "cpus": os.cpu_count(),
        "reason": found.reason,
    }


def _model(name: str, settings: Settings | None) -> dict[str, Any]:
    """The model's location and profile. Converts the default model if needed; does not download a hub model."""
    from seal_memory.engines.models import cache_root, resolve
    from seal_memory.engines.profile import read

    cache = settings.engine.cache_dir if settings is not None else None
    facts: dict[str, Any] = {"name": name, "cache": str(cache_root(cache))}
    if _is_only_on_hub(name):
        return {**facts, "found": False, "source": "the hub: downloaded on first use"}
    files = resolve(name, cache_dir=cache)
    return {
        **facts,
        "found": True,
        "folder": str(files.folder),
        "fingerprint": files.fingerprint,
        "source": files.source,
        **read(files).facts(),
    }


def _engine(name: str, settings: Settings) -> dict[str, Any]:
    """The vLLM server's URL, model, context length and adapter limit. Raises where it does not serve this model."""
    from seal_memory.runtime.loading import vllm_engine

    with closing(vllm_engine(name, settings.engine)) as engine:
        served = engine.connect()
        return {
            "url": engine.server.url,
            "model": served.base,
            "context": served.max_length,
            "adapters": len(served.adapters),
            "most_adapters": engine.max_adapters,
        }


def _is_only_on_hub(name: str) -> bool:
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or Path(name).exists():
        return False
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return not isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False


def _show(checks: list[Check], problems: list[str], out: Console) -> None:
    for check in checks:
        rows = [(key, _format(value)) for key, value in check.facts.items()]
        mark = "ok" if check.problem is None else "PROBLEM"
        out.print(table([check.name, mark], rows))
    for problem in problems:
        say(out, f"problem: {problem}", style="red")
    if not problems:
        say(out, "All checks passed.")


def _format(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items()) or "none"
    return "–" if value is None else str(value)
