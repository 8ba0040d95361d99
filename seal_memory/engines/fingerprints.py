"""Checksums of model files, cached so that a start does not hash half a gigabyte again.

A *fingerprint* identifies the base that an adapter was made for. It covers every tensor (name, type, shape, bytes) and
the essentials of config.json, but not details that library versions write differently: order, sharding, headers.

A cached checksum is trusted while every file keeps its size and modification time; a change that restores both is not
detected. Not covered: the tokenizer, whose files library versions write differently. Not here: refusing another base
(`runtime.loading`), adapters' checksums (`lora`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seal_memory.errors import ModelUnavailableError

__all__ = ["fingerprint", "folder_digest", "cached_checksum", "sha256_file", "weight_files", "weight_shapes"]

logger = logging.getLogger(__name__)

INDEX_NAME = "model.safetensors.index.json"
WEIGHTS_NAME = "model.safetensors"
_CHUNK = 1 << 20
_HEADER_LIMIT = 100 << 20
_ESSENTIAL = (
    "attention_bias",
    "attention_multiplier",
    "attn_logit_softcapping",
    "embedding_multiplier",
    "final_logit_softcapping",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "logit_scale",
    "logits_scaling",
    "max_position_embeddings",
    "mlp_bias",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "query_pre_attn_scalar",
    "residual_multiplier",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "vocab_size",
)


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes. Raises `OSError`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_digest(folder: Path, names: Iterable[str]) -> str:
    """One checksum over files of a folder, by name and content. Raises `OSError`."""
    total = hashlib.sha256()
    for name in sorted(names):
        total.update(f"{name}\0{sha256_file(folder / name)}\n".encode())
    return total.hexdigest()


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a transformers folder, ordered by name.

    Raises `ModelUnavailableError` where there are none, one is missing, or the index cannot be read.
    """
    index = folder / INDEX_NAME
    if index.is_file():
        weight_map = _read_json(index).get("weight_map")
        if not isinstance(weight_map, Mapping) or not weight_map:
            raise ModelUnavailableError(f"{index} has no weight_map: download the model's folder again")
        paths = tuple(folder / name for name in sorted({str(v) for v in weight_map.values()}))
    else:
        paths = (folder / WEIGHTS_NAME,)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise ModelUnavailableError(f"{folder} lacks {', '.join(missing)}: get the whole folder again")
    return paths


def fingerprint(folder: Path) -> str:
    """Hex sha256 over the tensors and the essential configuration of a transformers folder.

    Raises `ModelUnavailableError` for a damaged or missing file.
    """
    config = _read_json(folder / "config.json")
    essentials = {key: config[key] for key in _ESSENTIAL if config.get(key) is not None}
    total = hashlib.sha256(json.dumps(essentials, sort_keys=True).encode())
    tensors = [(name, path, entry) for path in weight_files(folder) for name, entry in _tensors(path)]
    for name, path, (dtype, shape, start, end) in sorted(tensors, key=lambda tensor: tensor[0]):
        total.update(f"\n{name} {dtype} {shape}\n".encode())
        _hash_range(path, start, end, total.update)
    return total.hexdigest()


def cached_checksum(note: Path, files: Sequence[Path], compute: Callable[[], str]) -> str:
    """`compute()`, or its earlier value from the file `note` while no file changed its size or modification time.

    A note that cannot be written is ignored: the next start takes longer. Raises what `compute` raises.
    """
    stamp = {str(path): [(stat := path.stat()).st_size, stat.st_mtime_ns] for path in files}
    try:
        kept = json.loads(note.read_text(encoding="utf-8"))
        if kept["files"] == stamp and isinstance(kept["value"], str):
            return str(kept["value"])
    except (OSError, ValueError, KeyError, TypeError):
        logger.debug("no usable checksum in %s", note)
    value = compute()
    _write_note(note, {"files": stamp, "value": value})
    return value


def _write_note(note: Path, content: Mapping[str, Any]) -> None:
    temporary = note.with_name(f".{note.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, note)
    except OSError as error:
        logger.debug("checksum not cached in %s: %s", note, error)
        with contextlib.suppress(OSError):
            temporary.unlink()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelUnavailableError(f"{path} holds {type(content).__name__}, expected a JSON object")
    return content


def _tensors(path: Path) -> list[tuple[str, tuple[str, list[int], int, int]]]:
    """Each tensor's name with (type, shape, first byte, end) in the file, from the safetensors header."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(size - 8, _HEADER_LIMIT):
                raise ValueError(f"header length {length} in a file of {size} bytes")
            header = json.loads(stream.read(length))
        first = 8 + length
        found = []
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = (first + int(offset) for offset in entry["data_offsets"])
            if not first <= start <= end <= size:
                raise ValueError(f"tensor {name} ends behind the end of the file")
            found.append((name, (str(entry["dtype"]), list(entry["shape"]), start, end)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailableError(f"{path} is not a whole safetensors file: {error}") from error
    return found


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape of a transformers folder, from the files' headers. Raises `ModelUnavailableError`."""
    return {name: tuple(entry[1]) for path in weight_files(folder) for name, entry in _tensors(path)}


def _hash_range(path: Path, start: int, end: int, update: Callable[[bytes], object]) -> None:
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            for at in range(start, end, _CHUNK):
                update(stream.read(min(_CHUNK, end - at)))
    except OSError as error:
        raise ModelUnavailableError(f"{path} cannot be read: {error}") from error
