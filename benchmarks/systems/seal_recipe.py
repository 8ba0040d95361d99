"""SEAL's own recipe (arXiv 2506.10943) as a baseline.

For each passage (a document's chunk, or the messages of a step together) the model writes *implications* once; each
line of them and the passage itself is a training document, the title in front; LoRA of rank 32 on q_proj and v_proj,
learning rate 1e-3, 10 epochs, batch 1. Loss on every token.

Read beside SEAL's code (general-knowledge: TTT_server.py, continual_self_edits.py, utils.py, make_squad_data.py;
read in public copies of the repository), this differs:

- Padding. SEAL pads to 2048 and leaves the padding *in the loss* (labels are a copy of the ids): it also trains
  "the end is followed by the end". Here padding has label -100, so that `pad_to=None` learns the same as
  `pad_to=2048` in a fraction of the time; `Recipe(loss_on_padding=True)` does what SEAL's code does. It matters: on one
  passage, with padding to 192 in the loss, perplexity on the fixed text rose from 34.5 to 49, without to 79.
- Continual. SEAL merges each step's adapter into the base and starts a new one, whose notes the merged model
  writes. Here one adapter goes on from step to step, and the untouched base writes the notes.
- Notes. SEAL: plain completion by a base model, top-p 0.95, up to 8192 tokens. Here: the same prompt through the
  chat template (the default model is an instruct model; SEAL's other template for such models is not used),
  top-k 50, up to `note_tokens`.
- Numbers: the base is float32, in SEAL bfloat16. The seed is given, SEAL takes the clock.

The same as SEAL's code: see `finetuning` for the optimizer; "---" also divides notes, a first line before "1." is
dropped, at most 30 notes, no notes at all: the passage twice.

Not here: the outer loop (ReST-EM on the note-writer), and SEAL's other genres of notes.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.systems.base import Asker
from benchmarks.systems.finetuning import FinetunedSystem, Recipe, TrainableBase, passages, titled, train
from benchmarks.tasks.base import Chunk
from seal_memory.engines.base import Prompt
from seal_memory.engines.local import TransformersEngine

MAX_NOTES = 30
_WRITTEN_AT_ONCE = 8
_Note = dict[str, Any]  # {"text": the notes, "seconds": of writing them}


def notes_prompt(chunk: Chunk) -> str:
    """SEAL's prompt for implications."""
    return (
        "Let's read the following passage and produce a list of implications derived directly or indirectly "
        f"from the content.\n\nPassage:\n{titled(chunk, chunk.text)}\n\nImplications:\n"
    )


def documents(chunk: Chunk, note: str) -> list[str]:
    """The training documents of a chunk: a line of the notes each, then the chunk itself."""
    lines = [line.strip() for part in note.split("---") for line in part.splitlines() if line.strip()]
    if len(lines) > 1 and lines[1].startswith("1."):  # "Sure, here are the implications:"
        lines = lines[1:]
    return [titled(chunk, text) for text in [*(lines[:MAX_NOTES] or [chunk.text]), chunk.text]]


class SealRecipe(FinetunedSystem):
    """The recipe over one adapter that goes on from step to step. `pad_to`: 2048 in SEAL, None for none."""

    name = "seal-recipe"

    def __init__(
        self,
        asker: Asker,
        base: TrainableBase,
        folder: Path,
        *,
        seed: int,
        pad_to: int | None = None,
        epochs: int = 10,
        note_tokens: int = 256,
    ) -> None:
        super().__init__(asker, base, folder, seal_settings(pad_to, epochs=epochs), seed=seed)
        self._notes = Notes(asker.engine, folder / "notes.json", seed=seed, max_tokens=note_tokens)

    def documents(self, chunks: Sequence[Chunk]) -> tuple[list[str], float]:
        """Each passage's notes and the passage, and the seconds of writing the notes."""
        return note_documents(chunks, self._notes)


def note_documents(chunks: Sequence[Chunk], notes: Notes) -> tuple[list[str], float]:
    """The training documents of chunks with their notes, and the seconds that the notes took."""
    wanted = passages(chunks)
    written = notes.of(wanted)
    texts = [d for c, n in zip(wanted, written, strict=True) for d in documents(c, n["text"])]
    return texts, sum(n["seconds"] for n in written)


def seal_settings(pad_to: int | None = 2048, *, epochs: int = 10, rank: int = 32, alpha: int = 64) -> Recipe:
    """SEAL's numbers; q_proj and v_proj are PEFT's default for its models, which SEAL does not change."""
    return Recipe(rank, alpha, ("q_proj", "v_proj"), 1e-3, epochs, pad_to)


class Notes:
    """The untouched base's notes about chunks, sampled once each: a killed run finds them again."""

    def __init__(self, engine: TransformersEngine, path: Path, *, seed: int, max_tokens: int) -> None:
        self.engine, self.path, self.seed, self.max_tokens = engine, path, seed, max_tokens
        self._known: dict[str, _Note] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def of(self, chunks: Sequence[Chunk]) -> list[_Note]:
        """The notes of each chunk, written where there are none yet."""
        new = [c for c in chunks if c.id not in self._known]
        for at in range(0, len(new), _WRITTEN_AT_ONCE):
            self._write(new[at : at + _WRITTEN_AT_ONCE])
        return [self._known[c.id] for c in chunks]

    def _write(self, chunks: Sequence[Chunk]) -> None:
        begin = time.perf_counter()
        asked = [Prompt([{"role": "user", "content": notes_prompt(c)}]) for c in chunks]
        seed = self.seed + zlib.crc32(chunks[0].id.encode())  # whatever the step: the chunk's own luck
        written = self.engine.complete(asked, max_tokens=self.max_tokens, temperature=1.0, seed=seed)
        seconds = (time.perf_counter() - begin) / len(chunks)
        for chunk, completion in zip(chunks, written, strict=True):
            self._known[chunk.id] = {"text": completion.text, "seconds": round(seconds, 3)}
        self._save()

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self._known, indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(unfinished, self.path)


def time_padded_candidate(
    asker: Asker,
    base: TrainableBase,
    chunks: Sequence[Chunk],
    *,
    steps: int = 2,
    pad_to: int = 2048,
    seed: int = 0,
    note_tokens: int = 256,
) -> dict[str, Any]:
    """The cost of one candidate as SEAL trains it: `steps` optimizer steps measured after a warm-up, the rest counted.

    A whole candidate takes half an hour and more on a small CPU, and every padded step costs the same: so the total
    is estimated, and says so. Where the CPU seconds of one thread are far below the wall seconds, the machine was busy.
    """
    recipe = seal_settings(pad_to)
    with tempfile.TemporaryDirectory() as folder:
        notes = Notes(asker.engine, Path(folder) / "notes.json", seed=seed, max_tokens=note_tokens)
        texts, writing = note_documents(chunks, notes)
        base.load()
        run = train(base, texts, recipe, into=Path(folder) / "adapter", seed=seed, max_steps=1 + steps)
    per_step, cpu_per_step = (run.wall[-1] - run.wall[0]) / steps, (run.cpu[-1] - run.cpu[0]) / steps
    total = len(texts) * recipe.epochs
    return {
        "pad_to": pad_to,
        "documents": len(texts),
        "epochs": recipe.epochs,
        "measured_steps": steps,
        "measured_seconds_per_step": per_step,
        "measured_cpu_seconds_per_step": cpu_per_step,
        "steps_of_a_candidate": total,
        "estimated_training_seconds": per_step * total,
        "estimated_training_cpu_seconds": cpu_per_step * total,
        "note_seconds": writing,
        "real_tokens_per_epoch": run.tokens_per_epoch,
        "padded_tokens_per_epoch": len(texts) * pad_to,
        "threads": torch.get_num_threads(),
    }
