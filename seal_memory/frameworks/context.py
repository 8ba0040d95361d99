"""Prompt context from a memory: stored passages, or an answer from the weights, for prompts of other models.

Not here: each framework's types, recording conversations (`recording`), and answering with the memory's own model
(`SealMemory.ask`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, get_args

from seal_memory.errors import InputError, SealMemoryError
from seal_memory.frameworks.concurrency import call_in_thread, thread_safe
from seal_memory.intake.cleaning import without_surrogates
from seal_memory.memory import SealMemory
from seal_memory.records import Interaction

__all__ = ["ContextItem", "ContextMode", "context_or_nothing", "memory_context", "source_name"]

logger = logging.getLogger(__name__)

ContextMode = Literal["recall", "weights", "retrieval", "hybrid"]


@dataclass(frozen=True, slots=True)
class ContextItem:
    """A stored passage with its `interaction`, or an answer (None). `sources` are ids of interactions."""

    text: str
    sources: tuple[str, ...]
    interaction: Interaction | None = None


def memory_context(
    memory: SealMemory, query: str, *, mode: ContextMode = "recall", limit: int = 5
) -> list[ContextItem]:
    """Find what the memory knows about `query`; nothing for an empty query.

    `recall`: the `limit` passages that match best; needs no model. Other modes: one answer of `SealMemory.ask` in that
    mode, and none that comes from no memory, since the untouched model only guesses. Raises `InputError` for an
    unknown mode.
    """
    query = without_surrogates(query)
    if not query.strip():
        return []
    if mode == "recall":
        hits = memory.recall(query, limit=limit)
        return [ContextItem(h.interaction.text, (h.interaction.id,), h.interaction) for h in hits]
    answer = thread_safe(memory.ask)(query, mode=mode)
    remembered = answer.text.strip() and (answer.shards or answer.mode == "retrieval") and answer.sources
    return [ContextItem(answer.text, answer.sources)] if remembered else []


async def context_or_nothing(
    memory: SealMemory, query: str, *, mode: ContextMode = "recall", limit: int = 5
) -> list[ContextItem]:
    """Run `memory_context` in a thread; nothing, and a line in the log, where the memory cannot answer.

    For prompts of an agent whose own run must go on. Raises `InputError` for an unknown mode only.
    """
    if mode not in get_args(ContextMode):
        raise InputError(f"mode {mode!r} is unknown; expected one of {', '.join(get_args(ContextMode))}.")
    try:
        return await call_in_thread(memory_context, memory, query, mode=mode, limit=limit)
    except SealMemoryError as error:
        logger.warning("a prompt gets no context: memory cannot answer (%s)", type(error).__name__)
        return []


def source_name(framework: str, name: str | None) -> str:
    """The source `FRAMEWORK:NAME`, of an agent or a key; without a name `FRAMEWORK`."""
    return f"{framework}:{name}" if name else framework
