"""Request schemas of OpenAI's two endpoints. Unsupported fields that would change the answer are refused by name;
other unknown fields are ignored.

Not here: the memory API's requests (`memory_schemas`), responses (`openai_format`).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from seal_memory.engines.base import Decoding

MAX_TOKENS = 1 << 20
Mode = Literal["weights", "retrieval", "hybrid"]  # the values of answering.answerer.Mode
Stop = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """Base of all requests; refuses text that UTF-8 cannot encode, and too deep nesting."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _encodable(cls, value: Any) -> Any:
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("a text holds half of a surrogate pair; expected valid Unicode") from None
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        return value


class MemoryOptions(Body):
    """Memory options of one request; a missing one takes the key's or the server's default."""

    model_config = ConfigDict(extra="forbid")

    observe: bool | None = Field(None, description="record this conversation")
    mode: Mode | None = Field(None, description="where the answer may come from")
    session: str | None = Field(None, min_length=1, max_length=200, description="the conversation's session")


class StreamOptions(Body):
    include_usage: bool = False


class Generation(Body):
    """Generation parameters of both endpoints."""

    model: str = Field(max_length=1000)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    temperature: float | None = Field(0.0, ge=0, le=2, description="0, the default, is greedy")
    top_p: float | None = Field(1.0, gt=0, le=1)
    n: int | None = Field(1, ge=1, le=8)
    seed: int | None = Field(0, ge=-(1 << 63), lt=1 << 63)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seal_memory: MemoryOptions = Field(default_factory=lambda: MemoryOptions.model_validate({}))

    @field_validator("frequency_penalty", "presence_penalty", "logit_bias")
    @classmethod
    def _unsupported(cls, value: Any) -> Any:
        if value:
            raise ValueError("not supported by this server; leave it out")
        return value

    def make_decoding(self, max_tokens: int | None, top_logprobs: int | None) -> Decoding:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Decoding(
            max_tokens,
            temperature=self.temperature or 0.0,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed or 0,
            stop=stop,
            top_logprobs=top_logprobs,
        )

    @property
    def include_usage_chunk(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class Message(BaseModel):
    """One chat message; its content is checked when the conversation is built."""

    model_config = ConfigDict(extra="allow")

    role: str = Field(max_length=50)
    content: str | list[dict[str, Any]] | None = None


class ChatRequest(Generation):
    """POST /v1/chat/completions"""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "smollm2-135m",
                    "messages": [{"role": "user", "content": "Who bought the boat workshop?"}],
                    "max_tokens": 24,
                }
            ]
        }
    )

    messages: list[Message] = Field(min_length=1, max_length=2048)
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[dict[str, Any]] | None = Field(None, max_length=128)
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None

    @field_validator("response_format")
    @classmethod
    def _text_only(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and value.get("type", "text") != "text":
            raise ValueError("only {'type': 'text'} is supported; leave it out")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.tool_choice not in (None, "auto", "none"):
            raise ValueError("tool_choice must be 'auto' or 'none'; this server cannot force a tool")
        return self

    @property
    def message_dicts(self) -> list[dict[str, Any]]:
        return [m.model_dump(exclude_unset=True) for m in self.messages]

    @property
    def offered_tools(self) -> list[dict[str, Any]]:
        return [] if self.tool_choice == "none" else list(self.tools or [])

    @property
    def decoding(self) -> Decoding:
        top = (self.top_logprobs or 0) if self.logprobs else None
        return self.make_decoding(self.max_completion_tokens or self.max_tokens, top)


class CompletionRequest(Generation):
    """POST /v1/completions"""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "smollm2-135m", "prompt": "The boat workshop belongs to", "max_tokens": 12}]
        }
    )

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=8)]
    max_tokens: int | None = Field(16, ge=1, le=MAX_TOKENS)
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = False
    suffix: str | None = None
    best_of: int | None = None

    @field_validator("echo", "suffix", "best_of")
    @classmethod
    def _unsupported_here(cls, value: Any) -> Any:
        if value and value != 1:
            raise ValueError("not supported by this server; leave it out")
        return value

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    @property
    def decoding(self) -> Decoding:
        return self.make_decoding(self.max_tokens, self.logprobs)
