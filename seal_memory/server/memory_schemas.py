"""Request schemas of the memory API. None has a field for a path, a file or a namespace.

Not here: OpenAI's request schemas (`schemas`), and the responses, which are the records that the verbs return.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from seal_memory.intake.cleaning import without_surrogates
from seal_memory.server.request_fields import Body, MaxTokens, Questions, check_depth, encodable, mapped_texts
from seal_memory.server.schemas import Mode

MAX_TEXT = 1 << 20
Name = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(min_length=1, max_length=100)]


class ObserveRequest(Body):
    """One text that the agent saw."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": "The alarm code is K-7741.", "session": "monday"}]},
    )

    text: str = Field(min_length=1, max_length=MAX_TEXT)
    role: Literal["user", "assistant", "system", "tool", "document"] = "user"
    source: Name | None = None
    session: Name | None = None
    title: Name | None = None
    time: float | None = Field(None, ge=0, le=1e11, description="Unix seconds")
    metadata: dict[str, Any] = Field(default_factory=dict, max_length=64)


class ObserveBatchRequest(Body):
    """Several texts, or a conversation of OpenAI messages."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"items": [{"text": "Pelle Grandin sold the workshop."}, {"text": "Velmar Timber asks for cash."}]},
                {"messages": [{"role": "user", "content": "The alarm code is K-7741."}], "session": "monday"},
            ]
        },
    )

    items: list[ObserveRequest] = Field(default_factory=list, max_length=1000)
    messages: list[dict[str, Any]] = Field(default_factory=list, max_length=1000)
    source: Name | None = Field(None, description="of the messages")
    session: Name | None = Field(None, description="of the messages")

    @model_validator(mode="before")
    @classmethod
    def _encodable(cls, value: Any) -> Any:
        """Replace halves of surrogate pairs in messages, as chats do; in items they are refused."""
        check_depth(value)
        if isinstance(value, dict) and "messages" in value:
            value = {**value, "messages": mapped_texts(value["messages"], without_surrogates)}
        return encodable(value)

    @model_validator(mode="after")
    def _items_or_messages(self) -> ObserveBatchRequest:
        if bool(self.items) == bool(self.messages):
            raise ValueError("give either items or messages")
        return self


class ConsolidateRequest(Body):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"core": False}]})

    core: bool = Field(False, description="also train the core")


class AskRequest(Body):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"question": "What is the alarm code?", "mode": "weights"}]}
    )

    question: Questions
    mode: Mode = "hybrid"
    max_tokens: MaxTokens = None
    max_completion_tokens: MaxTokens = None

    @property
    def token_limit(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class RecallRequest(Body):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"query": "alarm code", "limit": 5}]})

    query: str = Field(max_length=20_000)
    limit: int = Field(5, ge=1, le=100)


class QuizRequest(Body):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"mode": "weights", "limit": 20}]})

    mode: Mode = "weights"
    limit: int = Field(100, ge=1, le=1000)


class CorrectRequest(Body):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"id": "0197-…", "text": "The alarm code is K-9002."}]}
    )

    id: Id
    text: str = Field(min_length=1, max_length=MAX_TEXT)


class ForgetRequest(Body):
    """The interactions to destroy: by ids, or by session and/or source."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"session": "monday"}]})

    ids: list[Id] | None = Field(None, min_length=1, max_length=1000)
    session: Name | None = None
    source: Name | None = None

    @model_validator(mode="after")
    def _ids_or_filter(self) -> ForgetRequest:
        if (self.ids is not None) == bool(self.session or self.source):
            raise ValueError("give either ids, or a session and/or a source")
        return self


class RollbackRequest(Body):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 3}]})

    version: int = Field(ge=0, lt=1 << 63, description="0 is the untouched base")


class ReviewRequest(Body):
    """A person's decision about quarantined interactions."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ids": ["0197-…"], "reason": "ours"}]})

    ids: list[Id] = Field(min_length=1, max_length=1000)
    reason: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
