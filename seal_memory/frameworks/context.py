"""What a memory has to say about a text, for prompts of other models: stored passages, or an answer from the weights.

Here and not in one integration, because LlamaIndex, Google ADK, pydantic-ai and Microsoft Agent Framework all put it
into a prompt. Not here: how each framework wants it, and answering with the memory's own model (`SealMemory.ask`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seal_memory.frameworks.concurrency import in_turn
from seal_memory.memory import SealMemory
from seal_memory.records import Interaction

__all__ = ["Consult", "Note", "consult"]

Consult = Literal["recall", "weights", "retrieval", "hybrid"]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that the memory says. `interaction` is None for an answer; `sources` are ids of interactions."""

    text: str
    sources: tuple[str, ...]
    interaction: Interaction | None = None


def consult(memory: SealMemory, query: str, *, mode: Consult = "recall", limit: int = 5) -> list[Note]:
    """What the memory says about `query`; nothing for an empty one.

    `recall`: the `limit` passages that match best; needs no model. Else one answer in the mode of that name, and none
    where the answer would come from no memory: the untouched model's guess is not one. Raises `InputError` for an
    unknown mode.
    """
    if not query.strip():
        return []
    if mode == "recall":
        hits = memory.recall(query, limit=limit)
        return [Note(h.interaction.text, (h.interaction.id,), h.interaction) for h in hits]
    answer = in_turn(memory.ask)(query, mode=mode)
    remembered = answer.text.strip() and (answer.shards or answer.mode == "retrieval") and answer.sources
    return [Note(answer.text, answer.sources)] if remembered else []
