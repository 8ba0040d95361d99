"""PEFT-format adapter files: `adapter_config.json` and `adapter_model.safetensors`.

The files load in `peft.PeftModel` unchanged; modules have their names in the untouched model. The safetensors header
also holds the fingerprint of the base model and the version of this format. The bytes depend on the adapter alone, so
that equal adapters have equal checksums. Weights are float32 by default; a 16-bit type halves the file and changes the
answers a little.

Not here: atomic writing and file locations (`store`), PEFT options that `LoraAdapter` lacks (DoRA, rank patterns,
biases: such files are refused), pickled weights, which are never read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from seal_memory.errors import AdapterError, BaseModelMismatchError, CorruptAdapterError, SettingsError
from seal_memory.lora.adapter import LoraAdapter, LoraConfig

__all__ = ["CONFIG_FILE", "DTYPES", "FORMAT_VERSION", "TENSORS_FILE", "AdapterFiles", "ShapesOf", "decode"]
__all__ += ["encode", "load", "read_bytes", "save"]

CONFIG_FILE = "adapter_config.json"
TENSORS_FILE = "adapter_model.safetensors"
FORMAT_VERSION = "1"
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

ShapesOf = Callable[[Sequence[str]], Mapping[str, tuple[int, int]]]
"""Function from target names to {module name: (d_out, d_in)}, such as `StackedLora.shapes`."""

_PREFIX = "base_model.model."
_CPU = torch.device("cpu")
_UNSUPPORTED = (
    "use_dora",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "fan_in_fan_out",
    "modules_to_save",
)


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """Contents of the two files."""

    tensors: bytes
    config: bytes


def save(
    adapter: LoraAdapter,
    folder: Path,
    *,
    base_model: str,
    base_fingerprint: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the adapter's two files into `folder`, created if missing. Not atomic: see `store`.

    Raises `AdapterError` for values that are not finite, a dtype not in `DTYPES`, or an error of the file system.
    """
    files = encode(adapter, base_model=base_model, base_fingerprint=base_fingerprint, dtype=dtype)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TENSORS_FILE).write_bytes(files.tensors)
        (folder / CONFIG_FILE).write_bytes(files.config)
    except OSError as error:
        raise AdapterError(f"The adapter cannot be written to {folder}: {error}.") from error


def load(
    folder: Path, *, shapes: ShapesOf, base_fingerprint: str | None = None, device: torch.device = _CPU
) -> LoraAdapter:
    """Load the adapter in `folder` for the model whose layers `shapes` knows (`StackedLora.shapes`).

    Raises `CorruptAdapterError` for missing or damaged files, `BaseModelMismatchError` when it was trained on
    another base than `base_fingerprint` (None: not compared).
    """
    return decode(
        read_bytes(folder), where=str(folder), shapes=shapes, base_fingerprint=base_fingerprint, device=device
    )


def read_bytes(folder: Path) -> AdapterFiles:
    """Read both files of `folder`, unchecked. Raises `CorruptAdapterError` when one cannot be read."""
    try:
        return AdapterFiles((folder / TENSORS_FILE).read_bytes(), (folder / CONFIG_FILE).read_bytes())
    except OSError as error:
        raise CorruptAdapterError(
            f"The adapter in {folder} cannot be read: {error}. Expected {CONFIG_FILE} and {TENSORS_FILE}; "
            "restore the folder or train the adapter again."
        ) from error


def encode(
    adapter: LoraAdapter, *, base_model: str, base_fingerprint: str, dtype: torch.dtype = torch.float32
) -> AdapterFiles:
    """Encode an adapter as file contents; the same adapter gives the same bytes.

    Raises `AdapterError` for a dtype that is not in `DTYPES`, or values that are not finite in it.
    """
    if dtype not in DTYPES:
        raise AdapterError(f"Adapters are stored as one of {[str(d) for d in DTYPES]}, not as {dtype}.")
    tensors: dict[str, Tensor] = {}
    for name, (a, b) in adapter.pairs.items():
        for letter, pair in (("A", a), ("B", b)):
            tensors[_key(name, letter)] = pair.detach().to(device=_CPU, dtype=dtype, copy=True).contiguous()
    bad = next((key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())), None)
    if bad is not None:
        raise AdapterError(f"The adapter has values that are not finite in {dtype}, first in {bad}: not stored.")
    header = {"format": "pt", "format_version": FORMAT_VERSION, "base_fingerprint": base_fingerprint}
    return AdapterFiles(_canonical(safetensors.torch.save(tensors), header), _config_bytes(adapter.config, base_model))


def decode(
    files: AdapterFiles,
    *,
    where: str,
    shapes: ShapesOf,
    base_fingerprint: str | None = None,
    device: torch.device = _CPU,
) -> LoraAdapter:
    """Decode file contents into an adapter; `where` names them in error messages. Raises as `load`."""
    metadata = _metadata(files.tensors, where)
    _check_base(metadata, base_fingerprint, where)
    config = _parse_config(files.config, where)
    try:
        tensors = safetensors.torch.load(files.tensors)
        adapter = LoraAdapter(config, shapes(config.target_modules), device)
    except SafetensorError as error:
        raise CorruptAdapterError(f"The adapter in {where} has damaged weights: {error}.") from error
    except SettingsError as error:
        raise BaseModelMismatchError(f"The adapter in {where} is for another model: {error}") from error
    _check_tensors(adapter, tensors, where)
    for name, (a, b) in adapter.pairs.items():
        a.copy_(tensors[_key(name, "A")])
        b.copy_(tensors[_key(name, "B")])
    if not adapter.is_finite():
        raise CorruptAdapterError(f"The adapter in {where} has weights that are not finite numbers.")
    return adapter


def _key(module: str, letter: str) -> str:
    return f"{_PREFIX}{module}.lora_{letter}.weight"


def _canonical(serialized: bytes, metadata: Mapping[str, str]) -> bytes:
    """Insert `metadata` into a safetensors header, in sorted order.

    The library keeps metadata in a hash map: its order, and with it the checksum, would differ between runs.
    """
    length = int.from_bytes(serialized[:8], "little")
    header = json.loads(serialized[8 : 8 + length])
    text = json.dumps(
        {"__metadata__": dict(sorted(metadata.items())), **header}, separators=(",", ":"), ensure_ascii=True
    )
    text += " " * (-len(text) % 8)  # the format aligns the data to 8 bytes
    return len(text).to_bytes(8, "little") + text.encode("ascii") + serialized[8 + length :]


def _config_bytes(config: LoraConfig, base_model: str) -> bytes:
    """PEFT's LoraConfig as JSON; omitted fields have PEFT's defaults."""
    values: dict[str, object] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "revision": None,
        "r": config.rank,
        "lora_alpha": int(config.alpha) if float(config.alpha).is_integer() else config.alpha,
        "target_modules": list(config.target_modules),
        "exclude_modules": None,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_dora": False,
        "use_rslora": False,
    }
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def _metadata(tensors: bytes, where: str) -> Mapping[str, Any]:
    """Metadata in the header of a safetensors file. Raises `CorruptAdapterError`."""
    length = int.from_bytes(tensors[:8], "little")
    try:
        if len(tensors) < 8 + length:
            raise ValueError(f"{len(tensors)} bytes where the header alone should have {8 + length}")
        header = json.loads(tensors[8 : 8 + length])
        if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
            raise ValueError("the header is not an object")
    except ValueError as error:
        raise CorruptAdapterError(f"{TENSORS_FILE} in {where} is not a safetensors file: {error}.") from error
    found: dict[str, Any] = header.get("__metadata__", {})
    return found


def _check_base(metadata: Mapping[str, Any], expected: str | None, where: str) -> None:
    version = metadata.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise CorruptAdapterError(
            f"The adapter in {where} has format version {version!r}, expected {FORMAT_VERSION!r}: it was "
            "written by another version of seal-memory; update seal-memory."
        )
    found = metadata.get("base_fingerprint")
    if expected is not None and found != expected:
        raise BaseModelMismatchError(
            f"The adapter in {where} was trained on the base model {found or 'of no known fingerprint'}, but "
            f"{expected} is loaded: open the memory with its own model, or train again from its text."
        )


def _parse_config(raw: bytes, where: str) -> LoraConfig:
    file = f"{CONFIG_FILE} in {where}"
    try:
        values = json.loads(raw)
    except ValueError as error:
        raise CorruptAdapterError(f"{file} is not JSON: {error}.") from error
    if not isinstance(values, dict) or values.get("peft_type") != "LORA":
        raise CorruptAdapterError(f"{file} describes no LoRA adapter; expected peft_type LORA.")
    used = [name for name in _UNSUPPORTED if values.get(name)]
    if used or values.get("bias", "none") != "none":
        raise CorruptAdapterError(f"{file} uses {used or ['bias']}, which seal-memory does not support.")
    rank, alpha, targets = values.get("r", 0), values.get("lora_alpha", 0), values.get("target_modules")
    if type(rank) is not int or rank < 1 or type(alpha) not in (int, float) or not 0 < alpha < math.inf:
        raise CorruptAdapterError(f"{file} has r {rank!r} and lora_alpha {alpha!r}; expected positive numbers.")
    if not isinstance(targets, list) or not targets or not all(isinstance(t, str) for t in targets):
        raise CorruptAdapterError(f"{file} has target_modules {targets!r}; expected a list of names.")
    return LoraConfig(rank, float(alpha), tuple(targets))


def _check_tensors(adapter: LoraAdapter, tensors: Mapping[str, Tensor], where: str) -> None:
    expected = {
        _key(name, letter): tuple(pair.shape)
        for name, (a, b) in adapter.pairs.items()
        for letter, pair in (("A", a), ("B", b))
    }
    if expected.keys() != tensors.keys():
        missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        raise CorruptAdapterError(
            f"The adapter in {where} does not have the expected layers: {len(missing)} missing "
            f"{missing[:3]}, {len(extra)} unknown {extra[:3]}."
        )
    for key, shape in expected.items():
        if tuple(tensors[key].shape) != shape or not tensors[key].is_floating_point():
            raise CorruptAdapterError(
                f"The adapter in {where} has {tuple(tensors[key].shape)} {tensors[key].dtype} in {key}, "
                f"expected floating point {shape}."
            )
