"""Ways to answer the requests of the composition task, all with one model and one system message.

`untouched`: the request alone. `oracle`: the evidence's texts in front of it; `oracle-notes`: the same texts as the
notes of compose mode. `weights`, `compose`, `hybrid`: the memory's modes. `bm25-fts5`, `dense`: the best stored texts
in front of it. Not here: judging (`checks`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.composing.requests import Request
from benchmarks.sleeping.world import World
from benchmarks.systems.retrieval import INDEXES
from seal_memory import prompts
from seal_memory.answering.answerer import Answerer, Mode
from seal_memory.engines.base import Decoding, Prompt

SYSTEM = "You are a helpful assistant."
MODES = {"weights": Mode.WEIGHTS, "compose": Mode.COMPOSE, "hybrid": Mode.HYBRID}
WAYS = ("untouched", "oracle", "oracle-notes", "weights", "compose", "hybrid", "bm25-fts5")
MORE_WAYS = ("dense",)
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A trained world, and what its ways need beside it."""

    world: World
    folder: Path
    max_tokens: int
    passages: int


def answer(way: str, requests: Sequence[Request], asked: Asked) -> list[Record]:
    """One record for each request: the answer, the tokens of the prompt that answers, and all prompt tokens spent."""
    if way in MODES:
        return _by_memory(MODES[way], requests, asked)
    prompt = _prompter(way, requests, asked)
    rows = [prompt(n, r) for n, r in enumerate(requests)]
    done = asked.world.engine.complete(rows, max_tokens=asked.max_tokens)
    return [
        {"request": r.id, "text": c.text, "prompt_tokens": c.prompt_tokens, "spent": c.prompt_tokens}
        for r, c in zip(requests, done, strict=True)
    ]


def _by_memory(mode: Mode, requests: Sequence[Request], asked: Asked) -> list[Record]:
    world = asked.world
    router = world.router(world.manifest)
    answerer = Answerer(world.engine, router, world.memory.ledger, world.settings.answering, snapshot=None)
    rows = [Prompt(_chat(r.text)) for r in requests]
    done = answerer.converse(rows, [r.text for r in requests], mode, Decoding(asked.max_tokens))
    return [
        {
            "request": r.id,
            "text": a.text,
            "mode": a.mode.value,
            "notes": list(a.notes),
            "prompt_tokens": _composing_tokens(r, a.notes, world) if mode is Mode.COMPOSE else a.prompt_tokens,
            "spent": a.prompt_tokens,
        }
        for r, a in zip(requests, done, strict=True)
    ]


def _composing_tokens(request: Request, notes: Sequence[str], world: World) -> int:
    """Tokens of the prompt with the notes in it: what a chat model reads that uses them."""
    return len(world.engine.encode_prompt(_with_notes(request.text, notes)))


def _prompter(way: str, requests: Sequence[Request], asked: Asked) -> Callable[[int, Request], Prompt]:
    texts = asked.world.text_of
    if way == "untouched":
        return lambda n, r: Prompt(_chat(r.text))
    if way == "oracle":
        return lambda n, r: Prompt(_with_texts(r.text, [texts[c] for c in r.chunk_ids]))
    if way == "oracle-notes":
        return lambda n, r: Prompt(_with_notes(r.text, [texts[c] for c in r.chunk_ids]))
    folder = asked.folder / way
    folder.mkdir(parents=True, exist_ok=True)
    index = INDEXES[way](folder)
    try:
        index.hold(texts)
        found = index.search([r.text for r in requests], asked.passages)
    finally:
        index.close()
    return lambda n, r: Prompt(_with_texts(r.text, [texts[c] for c in found[n]]))


def _chat(text: str, system: str = SYSTEM) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def _with_notes(text: str, notes: Sequence[str]) -> list[dict[str, str]]:
    return _chat(text, f"{SYSTEM}\n\n{prompts.remembered(notes)}") if notes else _chat(text)


def _with_texts(text: str, texts: Sequence[str]) -> list[dict[str, str]]:
    return _chat(prompts.read_passages(texts, text)[-1]["content"]) if texts else _chat(text)
