"""Bench: context of every speed part: engine, passages, journalled steps, time budgets, transformers baselines.

A part is split into steps; finished ones are in the part's journal, so that a killed run resumes. Figures of different
commits can thus be in one part: each step records its commit, and `--fresh` starts anew. The baselines (an adapter
loaded from a folder, `generate` on one batch, answers one by one) run on a plain copy of the model.

Not here: the parts' measurements, the command line (`command`), baseline training (`benchmarks.systems.finetuning`).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness.journal import Journal, finished
from benchmarks.harness.resources import peak_resident_bytes
from benchmarks.speed.options import Options
from benchmarks.systems.finetuning import TrainableBase
from benchmarks.tasks import squad
from benchmarks.tasks.base import Task, Unit
from seal_memory.config import Settings
from seal_memory.engines.hardware import Hardware, detect
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.models import ModelFiles, load, resolve
from seal_memory.engines.sampling import GREEDY, Sampling
from seal_memory.errors import InputError
from seal_memory.lora import peft_files
from seal_memory.lora.adapter import LoraAdapter, LoraConfig

Figures = dict[str, Any]


class Bench:
    """One part's context. `work`: folder the part may write to; expensive objects are made on first use."""

    def __init__(self, part: str, options: Options, work: Path) -> None:
        self.part, self.options, self.work = part, options, work
        self.commit: str | None = None
        self._journal: Journal | None = None
        self._known: dict[str, Figures] = {}

    # -- what is measured -------------------------------------------------------------------------

    @cached_property
    def settings(self) -> Settings:
        return Settings.load(None, seed=self.options.seed, **self.options.settings)

    @cached_property
    def files(self) -> ModelFiles:
        return resolve(self.options.model, cache_dir=self.settings.engine.cache_dir)

    @cached_property
    def hardware(self) -> Hardware:
        return detect(self.settings.engine.device, self.settings.engine.dtype)

    @cached_property
    def engine(self) -> TransformersEngine:
        return TransformersEngine(load(self.files, self.hardware), keep=256)

    def plain_copy(self, dtype: str) -> TrainableBase:
        """A copy of the model that no layer of ours is in, for transformers and PEFT."""
        return TrainableBase(self.files, self.hardware, dtype=dtype)

    @cached_property
    def task(self) -> Task:
        """All passages of the file. Raises `InputError` where none was given."""
        if self.options.data is None:
            raise InputError(f"Part {self.part!r} reads passages that are not shipped: give them with --data FILE.")
        return squad.load(self.options.data)

    def passages(self, count: int) -> list[Unit]:
        """`count` passages from `start` on, from the file's beginning again where it ends."""
        units = self.task.units
        if not 0 <= self.options.start < len(units):
            raise InputError(f"--start is {self.options.start}; expected 0 to {len(units) - 1}, a passage of the file")
        return [units[(self.options.start + n) % len(units)] for n in range(min(count, len(units)))]

    # -- steps ------------------------------------------------------------------------------------

    def keep_in(self, path: Path, head: Mapping[str, Any]) -> None:
        """Keep finished steps in a journal, and take over those that are there. Raises `InputError` as `Journal`."""
        self._journal = Journal(path, head)
        self._known = {r["step"]: r["figures"] for r in finished(path) if r["kind"] == "figures"}

    def step(self, name: str, measure: Callable[[], Figures]) -> Figures:
        """The figures of a step, measured now or by the run that this one continues."""
        if name in self._known:
            return self._known[name]
        began = time.perf_counter()
        figures: Figures = json.loads(json.dumps(measure()))  # as they will be read again
        seconds = time.perf_counter() - began
        self._known[name] = figures
        if self._journal is not None:
            peak = peak_resident_bytes()
            record = {"kind": "figures", "figures": figures, "peak": peak, "seconds": seconds, "commit": self.commit}
            self._journal.add(name, [record])
        self.say(f"{name}: {_brief(figures)} ({seconds:.1f} s)")
        return figures

    def took(self, seconds: float) -> None:
        """Note the wall time of this process' share of the part."""
        if self._journal is not None:
            self._journal.took(seconds)

    def say(self, text: str) -> None:
        """Progress, for people."""
        print(f"speed {self.part}: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Timings:
    """The seconds of each repetition."""

    seconds: tuple[float, ...]

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return sorted(self.seconds)[len(self.seconds) // 2]


def repeat(run: Callable[[], object], *, budget: float, most: int) -> Timings:
    """Run at least once, then again while the budget of seconds lasts, at most `most` times."""
    taken: list[float] = []
    while not taken or (len(taken) < most and sum(taken) + min(taken) <= budget):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return Timings(tuple(taken))


def random_adapter(engine: TransformersEngine, config: LoraConfig, *, seed: int, size: float = 0.01) -> LoraAdapter:
    """An adapter that changes the model a little: what a trained one costs, without training it."""
    adapter = engine.stack.create(config, seed=seed)
    rng = torch.Generator().manual_seed(seed + 1)
    for _, b in adapter.pairs.values():
        b.copy_(torch.randn(b.shape, generator=rng) * size)
    return adapter


def dtype_of(engine: TransformersEngine) -> torch.dtype:
    """The number type of the frozen base."""
    found: torch.dtype = next(engine.model.parameters()).dtype
    return found


def _brief(figures: Figures) -> str:
    """The numbers of some figures in one line."""
    shown = {k: v for k, v in figures.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return ", ".join(f"{k} {v:.4g}" for k, v in list(shown.items())[:6]) or "done"


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
def saved_folders(adapters: Sequence[LoraAdapter]) -> Iterator[list[Path]]:
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
