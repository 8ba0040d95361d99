"""Prompt context from a memory, and conversations into it: the two directions that agent frameworks need.

Context is stored passages, or an answer from the weights, for prompts of other models. Not here: each framework's
types, and answering with the memory's own model (`SealMemory.ask`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from seal_memory.frameworks.concurrency import call_in_thread, thread_safe
from seal_memory.memory import SealMemory
from seal_memory.records import Interaction

__all__ = ["ContextItem", "ContextMode", "has_words", "memory_context", "observe_conversation", "source_name"]

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
    if not query.strip():
        return []
    if mode == "recall":
        hits = memory.recall(query, limit=limit)
        return [ContextItem(h.interaction.text, (h.interaction.id,), h.interaction) for h in hits]
    answer = thread_safe(memory.ask)(query, mode=mode)
    remembered = answer.text.strip() and (answer.shards or answer.mode == "retrieval") and answer.sources
    return [ContextItem(answer.text, answer.sources)] if remembered else []


async def observe_conversation(
    memory: SealMemory, messages: Iterable[Mapping[str, Any]], *, session: str | None, source: str
) -> None:
    """Observe, in a thread, the OpenAI message dicts that hold words, all or none. Raises as `observe_messages`."""
    worded = [m for m in messages if has_words(m.get("content"))]
    if worded:
        await call_in_thread(memory.observe_messages, worded, session=session, source=source)


def has_words(content: object) -> bool:
    """Whether a message's content, a string or OpenAI content parts, holds more than whitespace."""
    if isinstance(content, str):
        return bool(content.strip())
    parts = content if isinstance(content, list) else []
    return any(str(p.get("text") or p.get("refusal") or "").strip() for p in parts if isinstance(p, Mapping))


def source_name(framework: str, name: str | None) -> str:
    """The source `FRAMEWORK:NAME`, of an agent or a key; without a name `FRAMEWORK`."""
    return f"{framework}:{name}" if name else framework
