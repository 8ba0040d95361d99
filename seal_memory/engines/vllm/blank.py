"""Blank adapter: all zeros, so that under it a base model answers bit for bit as without adapter.

For servers that compute rows without an adapter wrongly beside rows with one (see `engine`). Rank 1, one linear layer,
a few kilobytes, made from the header of the model's own files. Not here: trained adapters (`lora`).
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from seal_memory.engines.fingerprints import weight_shapes

logger = logging.getLogger(__name__)

LAYERS = ("down_proj", "o_proj", "up_proj", "q_proj", "c_proj", "dense")  # any linear layer of the blocks serves


@dataclass(frozen=True, slots=True)
class Blank:
    """The adapter's two files in PEFT's format, and its content-addressed name."""

    name: str
    config: bytes
    tensors: bytes


def blank_of(folder: Path) -> Blank | None:
    """The blank adapter of the model in a folder; None, with a warning, where no linear layer of a known name is found.

    Raises `ModelUnavailableError` for damaged files.
    """
    shapes = {name.removesuffix(".weight"): shape for name, shape in weight_shapes(folder).items()}
    for layer in LAYERS:
        found = sorted(n for n, s in shapes.items() if n.rpartition(".")[2] == layer and len(s) == 2)
        if found:
            return _build(found[0], shapes[found[0]])
    logger.warning(
        "no linear layer in %s has a name among %s: the base is queried without a blank adapter", folder, LAYERS
    )
    return None


def _build(module: str, shape: tuple[int, ...]) -> Blank:
    d_out, d_in = shape
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": 1,
        "lora_alpha": 1,
        "target_modules": [module.rpartition(".")[2]],
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }
    files = (json.dumps(config, indent=2, sort_keys=True) + "\n").encode(), _zeros(module, d_out, d_in)
    digest = hashlib.sha256(files[1] + files[0]).hexdigest()
    return Blank(f"blank-{digest[:24]}", *files)


def _zeros(module: str, d_out: int, d_in: int) -> bytes:
    """A safetensors file with A (1, d_in) and B (d_out, 1), both zero, in float32."""
    a, b = 4 * d_in, 4 * d_out
    header = {
        f"base_model.model.{module}.lora_A.weight": {"dtype": "F32", "shape": [1, d_in], "data_offsets": [0, a]},
        f"base_model.model.{module}.lora_B.weight": {"dtype": "F32", "shape": [d_out, 1], "data_offsets": [a, a + b]},
    }
    text = json.dumps(header, separators=(",", ":"))
    text += " " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text.encode() + bytes(a + b)
