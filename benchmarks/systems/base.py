"""System protocol: learns chunks step by step and answers questions, in one or several ways.

All systems answer with the same model, the same prompts (`seal_memory.prompts`) and the same token limit, through
one `Asker`. A system's `ways` share what was learned: seal-memory answers from its weights, with the right shard
given, from its core and in hybrid mode, all from one memory.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.tasks.base import Chunk, Question
from seal_memory.engines.base import Completion, Prompt, Score
from seal_memory.engines.local import TransformersEngine


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `evidence`: ids of the chunks it came from; None where the way does not know them."""

    text: str
    prompt_tokens: int
    generated_tokens: int
    evidence: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of learning a step: wall seconds, and real (unpadded) training tokens."""

    seconds: float = 0.0
    tokens: int = 0


class System(Protocol):
    """One compared system, with its own folder; an empty folder is a fresh system."""

    name: str

    @property
    def ways(self) -> tuple[str, ...]:
        """The names under which results are reported; unique among all systems."""
        ...

    @property
    def costly_ways(self) -> tuple[str, ...]:
        """Those of `ways` that need training to be asked; only asked at the end of a run."""
        ...

    def learn(self, chunks: Sequence[Chunk], *, step: int) -> Cost:
        """Learn the chunks of step `step` (0, 1, ...). May be called again after a kill."""
        ...

    def resume(self, chunks: Sequence[Chunk], *, step: int) -> None:
        """In a new process: restore the state after `learn(chunks, step=step)`, cheaply."""
        ...

    def answer(self, way: str, questions: Sequence[Question], *, max_tokens: int) -> list[Reply]:
        """Answer each question; in the order of the questions."""
        ...

    def forget(self, chunk_ids: Sequence[str]) -> None:
        """Forget chunks. Raises `Unsupported` where the system cannot."""
        ...

    def perplexity(self, way: str) -> float:
        """Perplexity on seal-memory's fixed text in this way: the remaining general ability."""
        ...

    def bytes_on_disk(self) -> int:
        """Bytes on disk in addition to the base model; 0 if none."""
        ...

    def close(self) -> None: ...


class Unsupported(Exception):
    """The system cannot do that by design; the experiment reports it."""


class Asker:
    """The shared engine of all systems, as an `Engine` with a cache.

    Equal prompts under equal weights have equal completions (greedy, or with the same seed), so completions and scores
    of the untouched base, and of adapters with content-addressed ids, are cached. `timing()` turns the cache off.
    """

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine = engine
        self._said: dict[tuple[Any, ...], list[Completion]] = {}
        self._scored: dict[tuple[str | None, str, str], Score] = {}
        self._remember = True

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Turn the cache off inside the block, to time answers."""
        self._remember = False
        try:
            yield
        finally:
            self._remember = True

    def ask(self, prompts: Sequence[Prompt], *, max_tokens: int) -> list[Completion]:
        """Complete every prompt greedily, in order."""
        return self.complete(prompts, max_tokens=max_tokens)

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        """The `Engine` protocol."""
        options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        if not self._remember:
            return self.engine.complete(prompts, **options)
        keys = [(p.adapter, _digest(p), p.greedy, *options.values()) for p in prompts]
        wanted: dict[tuple[Any, ...], list[Prompt]] = {}
        for key, prompt in zip(keys, prompts, strict=True):
            copies = wanted.setdefault(key, [])
            if (temperature and not prompt.greedy) or not copies:  # greedily one stands for all
                copies.append(prompt)
        new = [k for k, copies in wanted.items() if len(self._said.get(k, ())) < len(copies)]
        made = iter(self.engine.complete([p for k in new for p in wanted[k]], **options))
        found = {k: [next(made) for _ in wanted[k]] for k in new}
        self._said |= {k: c for k, c in found.items() if _is_lasting(k[0])}
        said = {k: found.get(k) or self._said[k] for k in wanted}
        rest = {k: iter(own) for k, own in said.items()}
        return [
            next(rest[k]) if temperature and not p.greedy else said[k][0] for k, p in zip(keys, prompts, strict=True)
        ]

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """The `Engine` protocol."""
        if not self._remember:
            return self.engine.score(requests)
        keys = [(p.adapter, _digest(p), target) for p, target in requests]
        new = {k: r for k, r in zip(keys, requests, strict=True) if k not in self._scored}
        found = dict(zip(new, self.engine.score(list(new.values())), strict=True))
        self._scored |= {k: s for k, s in found.items() if _is_lasting(k[0])}
        return [found[k] if k in found else self._scored[k] for k in keys]


_CONTENT_ADDRESSED = re.compile(r"a-[0-9a-f]{24}")


def _is_lasting(adapter: str | None) -> bool:
    """Whether an adapter id always names the same weights."""
    return adapter is None or _CONTENT_ADDRESSED.fullmatch(adapter) is not None


def _digest(prompt: Prompt) -> str:
    """The cache key of a prompt: a hash, so that long contexts are not stored."""
    told = [[dict(m) for m in prompt.messages], prompt.raw, [dict(t) for t in prompt.tools]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def to_reply(completion: Completion, evidence: tuple[str, ...] | None = None) -> Reply:
    """A completion as a reply."""
    return Reply(completion.text, completion.prompt_tokens, completion.generated_tokens, evidence)
