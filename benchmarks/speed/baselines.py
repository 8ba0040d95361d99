"""What transformers and PEFT do by themselves: an adapter from a folder, answers one question at a time, batches.

On a plain copy of the model, without any of our layers. Not here: training (`benchmarks.systems.finetuning`).
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.systems.finetuning import TrainableBase
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.sampling import GREEDY, Sampling
from seal_memory.lora import peft_files
from seal_memory.lora.adapter import LoraAdapter


@contextmanager
def loaded_adapters(base: TrainableBase, folders: Sequence[Path]) -> Iterator[Any]:
    """The copy under PEFT with the adapters named "0", "1", ...; the first is active. Afterwards it is plain again."""
    import peft

    plain: Any = base.load().model
    with warnings.catch_warnings():  # PEFT 0.21 asks transformers 5.23 for a property by its old name
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        model: Any = peft.PeftModel.from_pretrained(plain, folders[0], adapter_name="0")
        for n, folder in enumerate(folders[1:], start=1):
            model.load_adapter(folder, adapter_name=str(n))
    model.eval()
    try:
        yield model
    finally:
        model.unload()
        plain.requires_grad_(False).eval()


@contextmanager
def saved(adapters: Sequence[LoraAdapter]) -> Iterator[list[Path]]:
    """The adapters as PEFT folders, while the block lasts."""
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / str(n) for n in range(len(adapters))]
        for adapter, folder in zip(adapters, folders, strict=True):
            peft_files.save(adapter, folder, base_model="benchmark", base_fingerprint="benchmark")
        yield folders


@torch.inference_mode()
def rollout(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    pad_id: int,
    sampling: Sampling = GREEDY,
) -> list[list[int]]:
    """`generate` of transformers on one left-padded batch; the new tokens of each row up to its stop."""
    how: dict[str, Any] = {"do_sample": False}
    if sampling != GREEDY:
        torch.manual_seed(sampling.seed)
        names = ("temperature", "top_k", "top_p")
        how = {"do_sample": True, **{name: getattr(sampling, name) for name in names}}
    width = max(len(p) for p in prompts)
    ids = torch.full((len(prompts), width), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    out: Tensor = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        **how,
        eos_token_id=list(stop_ids),
        pad_token_id=pad_id,
    )
    return [_until_stop(row, stop_ids) for row in out[:, width:].tolist()]


def answer_one_by_one(
    model: Any, engine: TransformersEngine, questions: Sequence[Sequence[int]], *, max_new_tokens: int
) -> tuple[float, list[str]]:
    """Seconds and texts of the answers to encoded prompts, each by a `generate` of its own."""
    stops = sorted(engine.stop_ids)
    began = time.perf_counter()
    texts = []
    for question in questions:
        new = rollout(model, [question], max_new_tokens=max_new_tokens, stop_ids=stops, pad_id=engine.pad_id)
        texts.append(str(engine.tokenizer.decode(new[0], skip_special_tokens=True)).strip())
    return time.perf_counter() - began, texts


def _until_stop(ids: Sequence[int], stop_ids: Sequence[int]) -> list[int]:
    kept: list[int] = []
    for token in ids:
        if token in stop_ids:
            break
        kept.append(token)
    return kept
