"""The shape of every system: it learns chunks step by step and answers questions, in one or several ways.

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
    """An answer. `evidence`: ids of the chunks it came from, None where the way has no notion of that."""

    text: str
    prompt_tokens: int
    generated_tokens: int
    evidence: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What learning a step took: wall seconds, and real (unpadded) tokens that went through training."""

    seconds: float = 0.0
    tokens: int = 0


class System(Protocol):
    """One thing to compare, with its own folder for whatever it keeps. Fresh folder, fresh system."""

    name: str

    @property
    def ways(self) -> tuple[str, ...]:
        """The names under which results are reported; unique among all systems."""
        ...

    @property
    def dear_ways(self) -> tuple[str, ...]:
        """Those of `ways` that train anew for being asked: only asked at a run's end."""
        ...

    def learn(self, chunks: Sequence[Chunk], *, step: int) -> Cost:
        """Take in what happened in step `step` (0, 1, ...). Survives being killed and called again."""
        ...

    def resume(self, chunks: Sequence[Chunk], *, step: int) -> None:
        """In a new process: come back to the state after `learn(chunks, step=step)`, cheaply."""
        ...

    def answer(self, way: str, questions: Sequence[Question], *, max_tokens: int) -> list[Reply]:
        """Answer each question; in the order of the questions."""
        ...

    def forget(self, chunk_ids: Sequence[str]) -> None:
        """Forget chunks. Raises `Unsupported` where the system cannot."""
        ...

    def perplexity(self, way: str) -> float:
        """Perplexity on seal-memory's fixed text as this way would read it: what is left of general ability."""
        ...

    def bytes_on_disk(self) -> int:
        """What the system keeps on disk beside the base model; 0 for one that keeps nothing."""
        ...

    def close(self) -> None: ...


class Unsupported(Exception):
    """The system cannot do that, by its nature; the experiment reports it as such."""


class Asker:
    """The one engine of all systems, as an `Engine` that remembers.

    The same prompts under the same weights are continued alike, greedily or by the same draws, so what the untouched
    base, or an adapter whose id is content-addressed, said or scored once is not computed again. `timing()` computes
    everything anew.
    """

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine = engine
        self._said: dict[tuple[Any, ...], list[Completion]] = {}
        self._scored: dict[tuple[str | None, str, str], Score] = {}
        self._remember = True

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Inside, nothing is remembered: to take the time of an answer."""
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
    """Whether an adapter id can only ever name the same weights."""
    return adapter is None or _CONTENT_ADDRESSED.fullmatch(adapter) is not None


def _digest(prompt: Prompt) -> str:
    """A whole context need not be kept to be recognised."""
    told = [[dict(m) for m in prompt.messages], prompt.raw, [dict(t) for t in prompt.tools]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def to_reply(completion: Completion, evidence: tuple[str, ...] | None = None) -> Reply:
    """A completion as a reply."""
    return Reply(completion.text, completion.prompt_tokens, completion.generated_tokens, evidence)
