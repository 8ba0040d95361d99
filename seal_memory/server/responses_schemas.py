"""Request schema of OpenAI's Responses endpoint, as far as the Agents SDK needs it; checked as a chat request.

Not here: conversations that the server keeps (`previous_response_id`, `conversation`), and built-in tools.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from seal_memory.server.request_fields import MaxTokens
from seal_memory.server.responses_format import messages_of
from seal_memory.server.schemas import ChatRequest, MemoryOptions
from seal_memory.server.unsupported import Off, Unsupported


class ResponseRequest(Unsupported):
    """POST /v1/responses"""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "smollm2-135m", "input": "Who bought it?", "max_output_tokens": 24}]}
    )

    model: str = Field(max_length=1000)
    input: str | list[dict[str, Any]] = Field(max_length=1 << 20)
    instructions: str | None = None
    max_output_tokens: MaxTokens = None
    temperature: float | None = Field(0.0, ge=0, le=2)
    top_p: float | None = Field(1.0, gt=0, le=1)
    tools: list[dict[str, Any]] | None = Field(None, max_length=128)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = True
    text: dict[str, Any] | None = None
    stream: bool | None = False
    include: list[str] | None = None  # what it adds to an answer is not there to add
    truncation: Literal["disabled"] | None = None
    reasoning: Off = None
    previous_response_id: Off = None
    conversation: Off = None
    background: Off = None
    prompt: Off = None
    max_tool_calls: Off = None
    top_logprobs: Off = None
    seal_memory: MemoryOptions = Field(default_factory=lambda: MemoryOptions.model_validate({}))
    _chat: ChatRequest = PrivateAttr()

    @model_validator(mode="after")
    def _as_chat(self) -> ResponseRequest:
        """Check the request as the chat request that it means."""
        try:
            self._chat = ChatRequest.model_validate(self._chat_fields())
        except ValidationError as error:
            first = error.errors()[0]
            where, told = ".".join(str(part) for part in first["loc"]), str(first["msg"]).removeprefix("Value error, ")
            raise ValueError(f"{where}: {told}") from None
        return self

    @property
    def chat(self) -> ChatRequest:
        """The same request to the chat endpoint."""
        return self._chat

    def _chat_fields(self) -> dict[str, Any]:
        described = (self.text or {}).get("format") or {"type": "text"}
        is_schema = described.get("type") == "json_schema"
        return {
            "model": self.model,
            "messages": messages_of(self.input, self.instructions),
            "max_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "tools": [_chat_tool(tool) for tool in self.tools or ()],
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": {"type": "json_schema", "json_schema": described} if is_schema else described,
            "stream": self.stream,
            "seal_memory": self.seal_memory,
        }


def _chat_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A function as the chat endpoint has it; other types are refused there by name."""
    if tool.get("type") != "function":
        return tool
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}
