"""Text embeddings from what is at hand: the engine's own model, or MiniLM where its wheel is installed.

A small causal model's states are poor embeddings: they lie in a narrow cone, so a middle layer is read and the index
takes their mean off. What each is worth to the router is in benchmarks/LOG.md. Not here: indexes
(`routing.embeddings`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from seal_memory.engines.batches import length_buckets
from seal_memory.engines.turns import Turns
from seal_memory.errors import InputError
from seal_memory.lora.stack import StackedLora

KINDS = ("model", "input", "minilm")
DEPTH = 0.5  # of the layers, for `HiddenStates`
TOKEN_BUDGET = 4096  # padded tokens per forward pass
MOST_TOKENS = 256  # of a text; what is longer is cut
KEPT = 20_000  # vectors in memory: 50 MB of 576 numbers each

Vectors = NDArray[np.float32]


class Embeds(Protocol):
    """Texts to vectors (N, D) of length 1; a text without words may get zeros."""

    def embed(self, texts: Sequence[str]) -> Vectors: ...


class Reader(Protocol):
    """What an engine lends an embedder: its model, and the lock under which it is used."""

    model: Any
    tokenizer: Any
    pad_id: int
    stack: StackedLora
    lock: Turns

    @property
    def device(self) -> torch.device: ...


class HiddenStates:
    """The mean over a text's tokens of a middle layer's states, under the untouched base."""

    def __init__(self, engine: Reader, *, depth: float = DEPTH) -> None:
        self._engine = engine
        layers = int(engine.model.config.num_hidden_layers)
        self._layer = min(layers, max(1, round(depth * layers)))

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors (N, hidden size)."""
        engine = self._engine
        ids = [_ids(engine, t) for t in texts]
        vectors = np.zeros((len(texts), int(engine.model.config.hidden_size)), np.float32)
        for bucket in length_buckets([len(i) for i in ids], TOKEN_BUDGET):
            width = max(len(ids[n]) for n in bucket)
            padded = torch.tensor([ids[n] + [engine.pad_id] * (width - len(ids[n])) for n in bucket])
            mask = torch.tensor([[1.0] * len(ids[n]) + [0.0] * (width - len(ids[n])) for n in bucket])[:, :, None]
            with engine.lock, engine.stack.rows([None] * len(bucket)):
                backbone = engine.model.get_submodule("model")
                states = backbone(input_ids=padded.to(engine.device), use_cache=False, output_hidden_states=True)
            hidden = states.hidden_states[self._layer].float().cpu()  # (B, T, D)
            vectors[bucket] = _unit((hidden * mask).sum(1) / mask.sum(1))
        return vectors


class InputEmbeddings:
    """The mean of a text's input embeddings, each token weighing less the more common its id says it is.

    Token ids of a BPE vocabulary grow with rarity, roughly: the place stands in for counts (as in smooth inverse
    frequency, Arora et al. 2017). No pass through the model: microseconds a text.
    """

    def __init__(self, engine: Reader) -> None:
        self._engine = engine

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors (N, hidden size)."""
        table: torch.Tensor = self._engine.model.get_input_embeddings().weight
        vectors = np.zeros((len(texts), table.shape[1]), np.float32)
        for n, text in enumerate(texts):
            ids = torch.tensor(_ids(self._engine, text))
            weight = torch.log1p(ids.float())[:, None]
            chosen = table[ids.to(table.device)].float().cpu()
            vectors[n] = _unit((chosen * weight).sum(0, keepdim=True))[0]
        return vectors


class Remembering:
    """An embedder that keeps the vectors of the texts it saw last; in this process only."""

    def __init__(self, embedder: Embeds, *, keep: int = KEPT) -> None:
        self._embedder, self._keep = embedder, keep
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, each computed once."""
        new = [t for t in dict.fromkeys(texts) if t not in self._known]
        made = dict(zip(new, self._embedder.embed(new), strict=True)) if new else {}
        found = [made[t] if t in made else self._known[t] for t in texts]
        self._known.update(made)
        while len(self._known) > self._keep:
            self._known.popitem(last=False)
        return np.stack(found) if found else np.zeros((0, 1), np.float32)


def make_embedder(kind: str, engine: Reader) -> Embeds:
    """An embedder by name. Raises `InputError` for an unknown one, `ModelUnavailableError` without MiniLM's wheel."""
    if kind == "minilm":
        from seal_memory.engines.minilm import MiniLM

        return Remembering(MiniLM.find())
    if kind == "model":
        return Remembering(HiddenStates(engine))
    if kind == "input":
        return Remembering(InputEmbeddings(engine))
    raise InputError(f"Unknown embedder {kind!r}; expected one of {', '.join(KINDS)}.")


def _ids(engine: Reader, text: str) -> list[int]:
    found = list(engine.tokenizer(text, add_special_tokens=False)["input_ids"])[:MOST_TOKENS]
    return found or [engine.pad_id]


def _unit(vectors: torch.Tensor) -> Vectors:
    found: Vectors = torch.nn.functional.normalize(vectors, dim=-1).numpy()
    return found
