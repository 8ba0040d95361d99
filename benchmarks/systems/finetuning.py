"""Standard fine-tuning baseline: Hugging Face's `Trainer` over PEFT's LoRA, one sequence a batch.

The base class of SEAL's recipe and naive LoRA, and the parts it stands on: a second copy of the base model to train
on, the training itself, one adapter that is trained on and on, saved after each step and asked through the common
`Asker`.

Trainer's own defaults hold where nothing is said, as in SEAL's code (general-knowledge/src/inner/TTT_server.py): AdamW
(0.9, 0.999, 1e-8), learning rate linear to zero without warm-up, no weight decay, gradients clipped at 1, no
accumulation, documents shuffled by the seed. Every step begins with a fresh optimizer.

Not here: which documents are trained (`seal_recipe`, `naive_lora`), and any of seal-memory's own training.
"""

from __future__ import annotations

import os
import random
import shutil
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.systems.base import Asker, Cost, Reply, Unsupported, to_reply
from benchmarks.tasks.base import Chunk, Question
from seal_memory import prompts
from seal_memory.engines.base import Prompt
from seal_memory.engines.hardware import Hardware
from seal_memory.engines.models import LoadedModel, ModelFiles, load
from seal_memory.learning import drift
from seal_memory.lora import peft_files
from seal_memory.lora.adapter import LoraAdapter

MAX_TOKENS = 2048  # longer documents are cut, as SEAL does
IGNORED = -100  # torch's label for "no loss here"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Training parameters. `targets` None: all linear layers. `pad_to` None: no padding."""

    rank: int
    alpha: int
    targets: tuple[str, ...] | None
    learning_rate: float
    epochs: int = 10
    pad_to: int | None = None
    loss_on_padding: bool = False


class TrainableBase:
    """A copy of the base (float32 unless asked otherwise) to train adapters on, loaded when first used.

    Shared by systems and steps. The engine's own model cannot be it: its layers are wrapped already.
    """

    def __init__(self, files: ModelFiles, hardware: Hardware, *, dtype: str = "float32") -> None:
        self.files = files
        self.hardware = replace(hardware, base_dtype=dtype)
        self._loaded: LoadedModel | None = None

    def load(self) -> LoadedModel:
        """The copy, without any adapter on it."""
        if self._loaded is None:
            self._loaded = load(self.files, self.hardware)
        return self._loaded

    def encode(self, document: str) -> list[int]:
        """Token ids of a plain text, with what the tokenizer puts around any text."""
        ids = self.load().tokenizer(document, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        return list(ids)

    def linear_layers(self) -> tuple[str, ...]:
        """The short names of all linear layers but the vocabulary's."""
        names = (n for n, m in self.load().model.named_modules() if isinstance(m, nn.Linear))
        return tuple(sorted({n.rpartition(".")[2] for n in names} - {"lm_head"}))


@dataclass(frozen=True, slots=True)
class Run:
    """Record of a training. `wall` and `cpu`: clocks at the end of each optimizer step, in seconds from the start."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    tokens_per_epoch: int  # real ones


def train(
    base: TrainableBase,
    documents: Sequence[str],
    recipe: Recipe,
    *,
    into: Path,
    start_from: Path | None = None,
    seed: int,
    max_steps: int = -1,
) -> Run:
    """Train an adapter on documents, fresh or from the one in `start_from`, and save it to `into`.

    `max_steps` ends it early (to take the time). Raises `FloatingPointError` when the adapter diverged.
    """
    rows = [base.encode(d)[: recipe.pad_to] for d in documents]
    ends: list[tuple[float, float]] = []
    with _preserved_rng(base.load().model.device, seed), _adapted(base, recipe, start_from) as model:
        if rows:
            arguments = _arguments(base, recipe, output_dir=str(into), seed=seed, max_steps=max_steps)
            ends = _run_trainer(model, _examples(rows, base, recipe), arguments)
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters() if p.requires_grad):
            raise FloatingPointError(f"training with learning rate {recipe.learning_rate} diverged; take a smaller one")
        model.save_pretrained(into, save_embedding_layers=False)
    return Run(tuple(w for w, _ in ends), tuple(c for _, c in ends), sum(len(r) for r in rows))


def _examples(rows: Sequence[Sequence[int]], base: TrainableBase, recipe: Recipe) -> list[dict[str, Tensor]]:
    tokenizer: Any = base.load().tokenizer
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.pad_token_id
    examples = []
    for ids in rows:
        fill = max(0, (recipe.pad_to or 0) - len(ids))
        padding = [end if recipe.loss_on_padding else IGNORED] * fill
        columns = {"input_ids": [*ids, *[end] * fill], "labels": [*ids, *padding]}
        columns["attention_mask"] = [1] * len(ids) + [0] * fill
        examples.append({name: torch.tensor([column]) for name, column in columns.items()})  # (1, T)
    return examples


@contextmanager
def _adapted(base: TrainableBase, recipe: Recipe, start_from: Path | None) -> Iterator[Any]:
    """The copy with a trainable adapter on it; afterwards it is the plain base again."""
    import peft

    plain: Any = base.load().model
    with warnings.catch_warnings():  # PEFT 0.21 asks transformers 5.23 for a property by its old name
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        if start_from is not None:
            model: Any = peft.PeftModel.from_pretrained(plain, start_from, is_trainable=True)
        else:
            model = peft.get_peft_model(plain, _lora_config(base, recipe))
    try:
        yield model
    finally:
        model.unload()
        plain.requires_grad_(False).eval()


def _lora_config(base: TrainableBase, recipe: Recipe) -> Any:
    import peft

    return peft.LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=list(recipe.targets or base.linear_layers()),
    )


def _arguments(base: TrainableBase, recipe: Recipe, **more: Any) -> Any:
    """Trainer's arguments: the recipe, and silence."""
    from transformers import TrainingArguments

    return TrainingArguments(
        per_device_train_batch_size=1,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        use_cpu=base.hardware.device == "cpu",
        dataloader_pin_memory=base.hardware.device.startswith("cuda"),
        remove_unused_columns=False,
        label_names=["labels"],  # Trainer cannot see through PEFT's wrapper what the labels are called
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **more,
    )


def _run_trainer(model: Any, examples: Any, arguments: Any) -> list[tuple[float, float]]:
    """Train; returns the wall and CPU clock at the end of each optimizer step."""
    from transformers import PrinterCallback, Trainer, TrainerCallback

    wall, cpu = time.perf_counter(), time.process_time()
    ends: list[tuple[float, float]] = []

    class StepClock(TrainerCallback):  # type: ignore[misc]  # transformers is Any to mypy
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append((time.perf_counter() - wall, time.process_time() - cpu))

    trainer = Trainer(model=model, args=arguments, train_dataset=examples, data_collator=lambda rows: rows[0])
    trainer.remove_callback(PrinterCallback)  # it takes the place of the progress bar
    trainer.add_callback(StepClock())
    trainer.train()
    return ends


@contextmanager
def _preserved_rng(device: torch.device, seed: int) -> Iterator[None]:
    """Restore the global random state after the block: PEFT draws from it and Trainer seeds it."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


class FinetunedSystem(ABC):
    """One adapter, trained further with each step: `<folder>/step-<s>/`, the newest two steps are kept.

    A subclass names the system and chooses the documents. Raises `ValueError` where `base` is not the asker's model.
    """

    name: str
    costly_ways: tuple[str, ...] = ()

    def __init__(self, asker: Asker, base: TrainableBase, folder: Path, recipe: Recipe, *, seed: int) -> None:
        if base.files.fingerprint != asker.engine.fingerprint:
            raise ValueError(f"trained on {base.files.name} but asked on another base; give both the same model")
        self.asker, self.base, self.folder, self.recipe, self.seed = asker, base, folder, recipe, seed
        self._current: tuple[Path, LoraAdapter] | None = None

    @abstractmethod
    def documents(self, chunks: Sequence[Chunk]) -> tuple[list[str], float]:
        """The training sequences of a step's chunks, and the seconds that it took to write them."""

    @property
    def ways(self) -> tuple[str, ...]:
        """One way: the adapter answers every question."""
        return (self.name,)

    def learn(self, chunks: Sequence[Chunk], *, step: int) -> Cost:
        """Train the previous step's adapter on the chunks, and save it atomically; does nothing if already on disk.

        Raises `ValueError` if the previous step is missing.
        """
        if self._path(step).is_dir():
            self.resume(chunks, step=step)
            return Cost()
        if step > 0 and not self._path(step - 1).is_dir():
            raise ValueError(f"step {step} builds on {self._path(step - 1)}, which is not there; learn in order")
        documents, writing = self.documents(chunks)
        self.base.load()  # not part of learning
        begin = time.perf_counter()
        unfinished = self.folder / f"unfinished-{step}"
        shutil.rmtree(unfinished, ignore_errors=True)
        before = self._path(step - 1) if step > 0 else None
        run = train(self.base, documents, self.recipe, into=unfinished, start_from=before, seed=self.seed + step)
        os.replace(unfinished, self._path(step))
        self.resume(chunks, step=step)
        self._drop_older_than(step - 1)
        return Cost(writing + time.perf_counter() - begin, self.recipe.epochs * run.tokens_per_epoch)

    def resume(self, chunks: Sequence[Chunk], *, step: int) -> None:
        """Answer with this step's adapter from now on; skips a step replaced by newer ones."""
        path, engine = self._path(step), self.asker.engine
        if not path.is_dir() and max(self._steps(), default=-1) > step:
            return  # a run that goes on comes by every finished step
        self.close()
        self._current = path, peft_files.load(path, shapes=engine.stack.shapes, device=engine.device)

    def answer(self, way: str, questions: Sequence[Question], *, max_tokens: int) -> list[Reply]:
        """Closed book, with the adapter of the current step (none yet: the untouched base)."""
        adapter_id = self._ready()
        asked = [Prompt(prompts.direct(q.text), adapter_id) for q in questions]
        return [to_reply(c) for c in self.asker.ask(asked, max_tokens=max_tokens)]

    def forget(self, chunk_ids: Sequence[str]) -> None:
        """Always raises `Unsupported`."""
        raise Unsupported(
            f"{self.name}: all steps are trained into one adapter; nothing says which weights came from which chunk"
        )

    def perplexity(self, way: str) -> float:
        """On seal-memory's fixed text, every paragraph with the adapter: nothing routes around it."""
        return drift.perplexity(self.asker.engine, [self._ready()] * len(drift.fixed_paragraphs()))

    def bytes_on_disk(self) -> int:
        """The current step's folder."""
        if self._current is None:
            return 0
        return sum(f.stat().st_size for f in self._current[0].rglob("*") if f.is_file())

    def close(self) -> None:
        """Remove the adapter from the engine; files stay on disk."""
        if self._current is not None:
            self.asker.engine.drop(str(self._current[0]))
            self._current = None

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def _ready(self) -> str | None:
        """The adapter's id, after loading it again: the engine drops the least recently used."""
        if self._current is None:
            return None
        path, adapter = self._current
        self.asker.engine.put(str(path), adapter)
        return str(path)

    def _steps(self) -> list[int]:
        return [int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*")]

    def _drop_older_than(self, step: int) -> None:
        for old in self._steps():
            if old < step:
                shutil.rmtree(self._path(old))


def learnable(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The chunks to train on: all but the assistant's own, as in seal-memory."""
    return [c for c in chunks if c.role != "assistant" and c.text.strip()]


def passages(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Chunks joined into training sequences: each document's chunk alone, the messages of a step together."""
    wanted = learnable(chunks)
    messages = [c for c in wanted if c.role != "document"]
    documents = [c for c in wanted if c.role == "document"]
    if not messages:
        return documents
    text = "\n".join(c.text.strip() for c in messages)
    return [*documents, Chunk(messages[0].id, text, role=messages[0].role)]


def titled(chunk: Chunk, text: str) -> str:
    """SEAL's training sequence: the title (if any), a newline, the text."""
    return f"{chunk.title}\n{text.strip()}" if chunk.title else text.strip()
