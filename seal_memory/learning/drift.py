"""Drift: how much a memory changes the model on unrelated text.

Two measures: perplexity on a fixed text that ships with the package, routed as the published memory routes it (a shard
reads it only where the router errs), and the share of unrelated prompts that the router sends to a shard.
Not here: retention of memories (`old_recall`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from seal_memory.engines import base_cache
from seal_memory.engines.base import Engine, Prompt
from seal_memory.language.metrics import mean
from seal_memory.routing.router import Router

GO_ON = ({"role": "user", "content": "Go on."},)  # the prompt for text without a question


@cache
def fixed_paragraphs() -> tuple[str, ...]:
    """The paragraphs of the fixed text."""
    text = (files("seal_memory") / "data" / "fixed_text.txt").read_text(encoding="utf-8")
    return tuple(p.strip().replace("\n", " ") for p in text.split("\n\n") if p.strip())


@cache
def unrelated_questions() -> tuple[str, ...]:
    """Everyday prompts that no agent's memory is about."""
    text = (files("seal_memory") / "data" / "unrelated_questions.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def perplexity(engine: Engine, adapters: Sequence[str | None]) -> float:
    """exp of the mean negative log-probability per token over the fixed paragraphs, one adapter each."""
    paragraphs = fixed_paragraphs()
    scores = base_cache.score(engine, [(_go_on(a), p) for p, a in zip(paragraphs, adapters, strict=True)])
    tokens = sum(s.tokens for s in scores)
    return math.exp(-sum(s.logprob * s.tokens for s in scores) / tokens)


def fixed_text_logprobs(
    engine: Engine, adapters: Sequence[str | None], *, paragraphs: int | None = None
) -> list[float]:
    """Mean log-probability per token of the fixed text under each adapter, unrouted, in one batch.

    `paragraphs`: how many to read, evenly spaced; None: all.
    """
    whole = fixed_paragraphs()
    count = min(len(whole), paragraphs or len(whole))
    read = [whole[n * len(whole) // count] for n in range(count)]
    scores = base_cache.score(engine, [(_go_on(a), p) for a in adapters for p in read])
    found = []
    for at in range(0, len(scores), count):
        own = scores[at : at + count]
        found.append(sum(s.logprob * s.tokens for s in own) / sum(s.tokens for s in own))
    return found


def routed_perplexity_increase(engine: Engine, router: Router) -> float:
    """Relative rise of perplexity over the base, as a share; 0.0 without scoring when nothing is routed."""
    routed = [router.route(p).adapter_id for p in fixed_paragraphs()]
    if all(a is None for a in routed):
        return 0.0
    base = perplexity(engine, [None] * len(routed))
    return perplexity(engine, routed) / base - 1.0


def misrouted_share(router: Router) -> float:
    """Share of the unrelated prompts that reach a shard."""
    return mean(float(router.route(q).episode_id is not None) for q in unrelated_questions())


def _go_on(adapter: str | None) -> Prompt:
    return Prompt(GO_ON, adapter)
