"""Results of the MCP tools as pydantic models, so that every tool has an output schema. They only copy fields."""

from __future__ import annotations

from pydantic import BaseModel, Field

from seal_memory import Answer
from seal_memory.records import Interaction, Observed


class Remembered(BaseModel):
    """One recorded passage."""

    id: str = Field(description="The memory's id; correct and forget take it.")
    new: bool = Field(description="False when the same text was known already.")
    status: str = Field(description="pending: will be learned; skipped: recorded only.")
    reason: str | None = Field(description="Why it will not be learned, where it will not.")
    session: str = Field(description="The session it belongs to; forget takes it.")

    @classmethod
    def of(cls, observed: Observed, session: str) -> Remembered:
        return cls(
            id=observed.id, new=observed.new, status=observed.status.value, reason=observed.reason, session=session
        )


class Recollection(BaseModel):
    """One stored memory and its origin."""

    id: str
    text: str
    role: str
    session: str | None
    source: str | None
    title: str | None
    time: float = Field(description="Unix seconds.")
    status: str
    score: float | None = Field(default=None, description="Larger is a better match; null when nothing was searched.")

    @classmethod
    def of(cls, found: Interaction, score: float | None = None) -> Recollection:
        same = {name: getattr(found, name) for name in ("id", "text", "session", "source", "title", "time")}
        return cls(**same, role=found.role.value, status=found.status.value, score=score)


class Answered(BaseModel):
    """An answer and its origin."""

    text: str
    confidence: float = Field(description="Geometric mean of the answer's token probabilities, 0..1.")
    mode: str = Field(description="The way that was taken: weights (no stored text was read) or retrieval.")
    sources: list[str] = Field(description="Ids of the memories behind it.")
    shards: list[str] = Field(description="Adapters that answered; empty: the untouched model.")
    prompt_tokens: int

    @classmethod
    def of(cls, answer: Answer) -> Answered:
        return cls(
            text=answer.text,
            confidence=answer.confidence,
            mode=answer.mode.value,
            sources=list(answer.sources),
            shards=[s.adapter_id for s in answer.shards],
            prompt_tokens=answer.prompt_tokens,
        )


class Corrected(BaseModel):
    """The id of the new wording; the old one stays in the history, out of training."""

    old_id: str
    new_id: str
    dropped_adapters: int


class Forgotten(BaseModel):
    """Counts of what a forget destroyed."""

    interactions: int
    adapters: int
    snapshots: int
    to_relearn: list[str] = Field(description="Ids that shared an adapter with it and are learned again.")
    left: str = Field(description="What could not be destroyed yet; empty: nothing.")


class State(BaseModel):
    """Counts: needs no model."""

    version: int | None = Field(description="The published version; null is the untouched model.")
    shards: int
    interactions: dict[str, int]
    model: str
    namespace: str
    background_jobs: int
    given_up: int
