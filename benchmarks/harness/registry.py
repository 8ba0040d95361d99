"""Registry of the systems by name; makes a system for a folder, with shared engine, settings and trainable base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.systems.base import Asker, System
from seal_memory._internal.progress import Progress, silent
from seal_memory.answering.best_of_n import SampleOptions, sample_options
from seal_memory.config import Settings
from seal_memory.engines.hardware import detect
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.models import load, resolve
from seal_memory.engines.profile import read, suited
from seal_memory.errors import InputError

if TYPE_CHECKING:
    from benchmarks.systems.finetuning import TrainableBase

WAYS = {
    "prompted": ("untouched", "oracle", "oracle-recited", "full-context"),
    "bm25-fts5": ("bm25-fts5", "bm25-fts5-recited"),
    "bm25s": ("bm25s", "bm25s-recited"),
    "dense": ("dense", "dense-recited"),
    "seal-memory": ("weights", "weights-right-shard", "hybrid", "core"),
    "naive-lora": ("naive-lora",),
    "seal-recipe": ("seal-recipe",),
}
"""Systems and the ways they answer, in the order of the tables."""


@dataclass
class SystemFactory:
    """Makes systems over one model. `core`: also train seal-memory's core; `passages`: chunks that retrieval reads;
    `sample_prompted`: systems that answer from a prompt also answer by best of n, as the settings say.
    """

    model: str
    settings: Settings
    core: bool = False
    passages: int = 3
    context_tokens: int | None = None
    pad_to: int | None = None
    sample_prompted: bool = False
    progress: Progress = field(default=silent)

    @cached_property
    def asker(self) -> Asker:
        """The engine, loaded on first use."""
        files = resolve(self.model, cache_dir=self.settings.engine.cache_dir)
        return Asker(
            TransformersEngine(load(files, detect(self.settings.engine.device, self.settings.engine.dtype)), keep=256)
        )

    @cached_property
    def _suited(self) -> Settings:
        """The settings with the model's own defaults, as the memory trains with them."""
        return suited(self.settings, read(resolve(self.model, cache_dir=self.settings.engine.cache_dir)))

    def described(self, name: str) -> dict[str, Any]:
        """Parameters that a system's figures depend on, for its journal and the results file."""
        if name == "seal-memory":
            return {
                **self._suited.flat(without=("engine.device", "engine.dtype", "engine.cache_dir", "seed")),
                "core": self.core,
            }
        options = {} if self.sampling is None else {"recitals": asdict(self.sampling)}
        if name == "prompted":
            return {"context_tokens": self.context_tokens, **options}
        if name == "seal-recipe":
            return {"pad_to": self.pad_to}
        return {} if name == "naive-lora" else {"passages": self.passages, **options}

    @property
    def sampling(self) -> SampleOptions | None:
        """Best-of-n options of systems that answer from a prompt; None: greedy only."""
        return sample_options(self.settings.answering) if self.sample_prompted else None

    def maker(self, name: str) -> Callable[[Path], System]:
        """A function that makes a system in a folder. Raises `InputError` for an unknown name."""
        if name not in WAYS:
            raise InputError(f"Unknown system {name!r}; expected one of {', '.join(WAYS)}.")
        return lambda folder: self._make(name, folder)

    def _make(self, name: str, folder: Path) -> System:
        folder.mkdir(parents=True, exist_ok=True)
        if name == "prompted":
            from benchmarks.systems.prompted import Prompted

            return Prompted(self.asker, context_tokens=self.context_tokens, sampling=self.sampling)
        if name == "seal-memory":
            from benchmarks.systems.memory import Memory

            return Memory(self.asker, folder, self.settings, model=self.model, core=self.core, progress=self.progress)
        if name in ("naive-lora", "seal-recipe"):
            return self._finetuned(name, folder)
        from benchmarks.systems.retrieval import Retrieval

        return Retrieval(self.asker, folder, name, passages=self.passages, sampling=self.sampling)

    @cached_property
    def trainable(self) -> TrainableBase:
        """A second copy of the model, for Trainer and PEFT; loaded on first training."""
        from benchmarks.systems.finetuning import TrainableBase

        files = resolve(self.model, cache_dir=self.settings.engine.cache_dir)
        return TrainableBase(files, self.asker.engine.hardware)

    def _finetuned(self, name: str, folder: Path) -> System:
        from benchmarks.systems.naive_lora import NaiveLora
        from benchmarks.systems.seal_recipe import SealRecipe

        seed = self.settings.seed
        if name == "naive-lora":
            return NaiveLora(self.asker, self.trainable, folder, seed=seed)
        return SealRecipe(self.asker, self.trainable, folder, seed=seed, pad_to=self.pad_to)
