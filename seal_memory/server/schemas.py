"""Request schemas of OpenAI's two endpoints. Unsupported fields that would change the answer are refused by name
(`unsupported`), and so are unknown ones.

Not here: the memory API's requests (`memory_schemas`), responses (`openai_format`).
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from seal_memory.answering.contract import parse_contract
from seal_memory.engines.base import ALL_TOKENS, DEFAULT_TOP_K, Decoding
from seal_memory.errors import InputError
from seal_memory.intake.cleaning import without_surrogates
from seal_memory.server.request_fields import Body, Content, MaxTokens, Prompts, Stop, check_depth, mapped_texts
from seal_memory.server.unsupported import Off, One, Unsupported

MAX_COMPLETION = 16  # tokens of /v1/completions where no limit is given, as OpenAI has it
Mode = Literal["weights", "retrieval", "hybrid", "compose"]  # the values of answering.answerer.Mode


class MemoryOptions(Body):
    """Memory options of one request; a missing one takes the key's or the server's default."""

    model_config = ConfigDict(extra="forbid")

    observe: bool | None = Field(None, description="record this conversation")
    mode: Mode | None = Field(None, description="where the answer may come from")
    session: str | None = Field(None, min_length=1, max_length=200, description="the conversation's session")


class StreamOptions(Body):
    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    include_obfuscation: bool = False  # padding against eavesdroppers: no part of the answer


class Generation(Unsupported):
    """Generation parameters of both endpoints."""

    model: str = Field(max_length=1000)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: MaxTokens = None
    max_completion_tokens: MaxTokens = None
    temperature: float | None = Field(0.0, ge=0, le=2, description="0, the default, is greedy")
    top_p: float | None = Field(1.0, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, lt=1 << 31, description="likeliest tokens to draw from; 0 or -1: all")
    n: int | None = Field(1, ge=1, le=8)
    seed: int | None = Field(None, ge=-(1 << 63), lt=1 << 63, description="none: a fresh one for each request")
    stop: Stop = None
    seal_memory: MemoryOptions = Field(default_factory=lambda: MemoryOptions.model_validate({}))

    @model_validator(mode="before")
    @classmethod
    def _encodable(cls, value: Any) -> Any:
        """Replace halves of surrogate pairs: a client that cuts a text inside a character gets its answer."""
        check_depth(value)
        return mapped_texts(value, without_surrogates)

    def make_decoding(self, top_logprobs: int | None, *, default_tokens: int | None = None) -> Decoding:
        """The decoding options; `fresh_seed` goes beside them."""
        limit = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        temperature = self.temperature or 0.0
        return Decoding(
            default_tokens if limit is None else limit,
            temperature=temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=DEFAULT_TOP_K if self.top_k is None else self.top_k if self.top_k > 0 else ALL_TOKENS,
            seed=self.seed or 0,
            stop=self.stop or (),
            top_logprobs=top_logprobs,
        )

    def fresh_seed(self) -> int | None:
        """A seed for this request's prompts, where its answers are sampled and it names none; else None.

        It goes with the prompts, so that requests of equal decoding options still share a batch.
        """
        return secrets.randbits(63) if self.temperature and self.seed is None else None

    @property
    def include_usage_chunk(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class Message(BaseModel):
    """One chat message; its content is checked when the conversation is built."""

    model_config = ConfigDict(extra="allow")

    role: str = Field(max_length=50)
    content: Content = None
    # Media beside the content, as OpenAI's answers, Ollama and others have it.
    images: Off = None
    audio: Off = None
    files: Off = None
    attachments: Off = None


def _check_contract(field: str, fields: dict[str, Any]) -> None:
    """Raises ValueError for a field that says nothing usable about the answer."""
    try:
        parse_contract(**{name: value for name, value in fields.items() if value is not None})
    except InputError as error:
        raise ValueError(str(error).removeprefix(f"{field}: ")) from None


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
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[dict[str, Any]] | None = Field(None, max_length=128)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = True
    response_format: dict[str, Any] | None = None

    @field_validator("tools", "response_format")
    @classmethod
    def _usable(cls, value: Any, info: ValidationInfo) -> Any:
        _check_contract(str(info.field_name), {str(info.field_name): value})
        return value

    @field_validator("tool_choice")
    @classmethod
    def _offered(cls, value: str | dict[str, Any] | None, info: ValidationInfo) -> str | dict[str, Any] | None:
        if "tools" in info.data:  # else they are refused already
            _check_contract("tool_choice", {"tools": info.data["tools"], "tool_choice": value})
        return value

    @field_validator("top_logprobs")
    @classmethod
    def _with_logprobs(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and not info.data.get("logprobs"):
            raise ValueError("needs logprobs: true")
        return value

    @property
    def message_dicts(self) -> list[dict[str, Any]]:
        return [{"content": None, **m.model_dump(exclude_unset=True)} for m in self.messages]  # left out: as null

    @property
    def contract_fields(self) -> dict[str, Any]:
        """What the answer may be, as `SealMemory.converse` takes it."""
        return {
            "tools": self.tools or (),
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "response_format": self.response_format,
        }

    @property
    def decoding(self) -> Decoding:
        return self.make_decoding((self.top_logprobs or 0) if self.logprobs else None)


class CompletionRequest(Generation):
    """POST /v1/completions"""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "smollm2-135m", "prompt": "The boat workshop belongs to", "max_tokens": 12}]
        }
    )

    prompt: Annotated[Prompts, Field(description="one text, or up to 8")]
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: Off = None
    suffix: Off = None
    best_of: One = None

    @property
    def prompts(self) -> list[str]:
        return list(self.prompt)

    @property
    def decoding(self) -> Decoding:
        return self.make_decoding(self.logprobs, default_tokens=MAX_COMPLETION)
