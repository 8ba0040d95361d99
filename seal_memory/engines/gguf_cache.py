"""GGUF conversion cache: each file is converted once to a transformers folder of safetensors.

A conversion is written to a temporary folder, fsynced and renamed: a killed process leaves no partial model, and
concurrent processes end with one whole folder. Each folder holds the checksum of its files; a folder that does not
match is rebuilt, with a warning.

Not here: writing GGUF, models that stay quantised (adapters are trained on dense weights), and deleting old
conversions: a cache folder may be deleted by hand at any time.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seal_memory.engines.fingerprints import cached_checksum, folder_digest
from seal_memory.errors import ModelUnavailableError

if TYPE_CHECKING:
    import torch

__all__ = ["convert_once", "quiet_transformers", "refuse_missing"]

logger = logging.getLogger(__name__)

CHECKSUM_NAME = "seal-memory.json"
_NOTES = "checksums"
_LEFTOVER_SECONDS = 3600.0


def convert_once(find: Callable[[], Path], *, sha256: str, label: str, root: Path) -> Path:
    """The folder with the converted model of the GGUF file with this checksum.

    `find` returns the file; it is called only when a conversion is needed. Raises `ModelUnavailableError` where the
    file cannot be converted or the cache cannot be written, and what `find` raises.
    """
    target = root / "models" / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', label)}-{sha256[:16]}"
    if _is_intact(target, root):
        return target
    if target.exists():
        logger.warning("the converted model in %s is damaged and is rebuilt", target)
    gguf = find()
    try:
        _remove_leftovers(target.parent)
        _convert(gguf, target, root)
    except OSError as error:
        raise ModelUnavailableError(
            f"{gguf} cannot be converted into {target}: {error}. Free space or choose another cache folder: "
            "set SEAL_MEMORY_ENGINE__CACHE_DIR to one that can be written"
        ) from error
    return target


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Inside, transformers and the hub show no progress bars and log errors only."""
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def refuse_missing(names: Iterable[str], where: Path) -> None:
    """Raises `ModelUnavailableError` for missing weights, which transformers would fill with random numbers."""
    if absent := sorted(names):
        raise ModelUnavailableError(f"{where} lacks {len(absent)} weights, such as {absent[0]}: get it again")


def _is_intact(folder: Path, root: Path) -> bool:
    try:
        expected = json.loads((folder / CHECKSUM_NAME).read_text(encoding="utf-8"))
        names = [str(name) for name in expected["files"]]
        note = root / _NOTES / f"{folder.name}.json"
        paths = [folder / name for name in names]
        return bool(cached_checksum(note, paths, lambda: folder_digest(folder, names)) == expected["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _convert(gguf: Path, target: Path, root: Path) -> None:
    logger.info("converting %s to safetensors, once; the result is kept in %s", gguf.name, target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir(parents=True)
    try:
        _write_model(gguf, temporary)
        names = sorted(path.name for path in temporary.iterdir())
        content = {"digest": folder_digest(temporary, names), "files": names}
        (temporary / CHECKSUM_NAME).write_text(json.dumps(content), encoding="utf-8")
        _fsync(temporary)
        _move_into_place(temporary, target, root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_model(gguf: Path, folder: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        with quiet_transformers(), _progress_only_on_a_terminal():
            model, report = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.float32,
                trust_remote_code=False,
                output_loading_info=True,
            )
            refuse_missing(report["missing_keys"], gguf)
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            if _fits_float16(model):
                model = model.to(torch.float16)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (ValueError, RuntimeError, KeyError, IndexError, ImportError, NotImplementedError) as error:
        raise ModelUnavailableError(
            f"{gguf} cannot be converted: {error}. Expected a whole GGUF file of an architecture that "
            "transformers can read; or hand in a safetensors folder instead"
        ) from error
    except SafetensorError as error:  # raised for a full disk
        raise OSError(str(error)) from error


def _fits_float16(model: Any) -> bool:
    import torch

    def same(tensor: torch.Tensor) -> bool:
        return torch.equal(tensor.to(torch.float16).to(tensor.dtype), tensor)

    return all(same(parameter) for parameter in model.parameters())


@contextlib.contextmanager
def _progress_only_on_a_terminal() -> Iterator[None]:
    """The conversion's progress bar ignores transformers' own switch; hide it where stderr is no terminal."""
    if sys.stderr.isatty():
        yield
        return
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def _fsync(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        with contextlib.suppress(PermissionError):  # folders cannot be opened on Windows
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _move_into_place(temporary: Path, target: Path, root: Path) -> None:
    try:
        temporary.rename(target)
        return
    except OSError:
        if not target.exists():
            raise
    if _is_intact(target, root):  # another process finished first
        return
    old = temporary.with_name(temporary.name + ".old")
    target.rename(old)
    try:
        temporary.rename(target)
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(parent: Path) -> None:
    """Remove the folders of killed conversions, at least an hour old, so never one that is being written."""
    for path in parent.glob(".*.tmp*"):
        if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
