"""`ChatSealMemory`: a memory's own model as a LangChain chat model, in this process.

It answers from the weights, from retrieved text or both, as `mode` says, and learns nothing by itself
(`SealMemoryMiddleware` does). Not here: forcing a tool (`tool_choice="any"`), and message parts that are not text.
"""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, model_validator

from seal_memory import SealMemory
from seal_memory.answering.answerer import Answer
from seal_memory.engines.base import Decoding
from seal_memory.errors import InputError
from seal_memory.frameworks.concurrency import stream_from_thread
from seal_memory.frameworks.recording import UNSAID
from seal_memory.intake.blocks import unsupported_parts
from seal_memory.intake.messages import parse_message
from seal_memory_langchain.errors import langchain_errors

# A tool call as Qwen, Hermes and SmolLM write it; calls of other templates stay text.
_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_OPTIONS = ("max_tokens", "temperature", "top_p", "seed")
_HONOURED = frozenset({*_OPTIONS, "max_completion_tokens", "mode", "model", "stop", "stream", "tools", "tool_choice"})
# Values of other options that change nothing, beside None and False.
_OFF: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "top_k": (None, 0, -1),
    "min_p": (None, 0),
    "typical_p": (None, 1),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "logit_bias": (None, {}),
    "modalities": (None, ["text"]),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "parallel_tool_calls": (None, True, False),
    "stream_options": (None, {}, {"include_usage": True}),
    "ls_structured_output_format": (None,),
}
# LangChain's standard parameters of a model behind a network; nothing here waits for one.
_NETWORK = frozenset({"api_key", "max_retries", "timeout"})


class ChatSealMemory(BaseChatModel):
    """A chat model that remembers: `ChatSealMemory(memory=SealMemory.open(folder))`.

    `mode`: "weights", "retrieval", "hybrid" or "compose"; None: as the request needs it (see `converse`). `seed`:
    None draws a fresh one for each answer. Each option may also be given per call; an option that this model cannot
    honour is refused by name. The answer's `response_metadata["seal_memory"]` says where it came from. Raises
    LangChain's `ModelError`s.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    memory: SealMemory = Field(exclude=True)
    mode: str | None = None
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[str] | None = None
    streaming: bool = False

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_option(cls, values: Any) -> Any:
        given = dict(values)
        if (limit := given.pop("max_completion_tokens", None)) is not None:
            given["max_tokens"] = limit
        for name in given.keys() - cls.model_fields.keys() - _NETWORK:
            _refuse_unless_off(name, given[name])
        return given

    @property
    def _llm_type(self) -> str:
        return "seal-memory"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        named = {"model": self.memory.model, "namespace": self.memory.ledger.namespace, "mode": self.mode}
        return named | {name: getattr(self, name) for name in _OPTIONS}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "seal_memory"
        params.setdefault("ls_model_name", self.memory.model)
        return params

    def get_token_ids(self, text: str) -> list[int]:
        """The text's token ids in this memory's model, without special tokens."""
        with langchain_errors():
            return self.memory.answering.encoder.ids(text)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Put the tools into the chat template; a call fails if the template has no place for them."""
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            return generate_from_stream(iter([self._last(self._converse(messages, stop, kwargs, lambda _: None))]))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        tools = bool(kwargs.get("tools"))  # a tool call is recognised only at its end
        given, message_id = "", f"lc_run--{run_manager.run_id if run_manager else uuid.uuid4()}"
        with langchain_errors():
            for piece in stream_from_thread(lambda on_text: self._converse(messages, stop, kwargs, on_text)):
                if isinstance(piece, str) and (tools or not piece):
                    continue
                if isinstance(piece, str):
                    given += piece
                    chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece, id=message_id))
                else:
                    chunk = self._last(piece, given=given, message_id=message_id)
                if run_manager and chunk.text:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _converse(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        options: dict[str, Any],
        on_text: Callable[[str], None],
    ) -> Answer:
        self._check(options)
        chosen = {name: options.get(name, getattr(self, name)) for name in _OPTIONS}
        if options.get("max_completion_tokens") is not None:
            chosen["max_tokens"] = options["max_completion_tokens"]
        if chosen["seed"] is None:
            chosen["seed"] = secrets.randbelow(2**31)
        tools = () if options.get("tool_choice") == "none" else tuple(options.get("tools") or ())
        ends = stop or self.stop or ()
        decoding = Decoding(**chosen, stop=(ends,) if isinstance(ends, str) else tuple(ends))
        chat, mode = _as_chat(messages), options.get("mode", self.mode)
        conversation = self.memory.converse(chat, mode=mode, decoding=decoding, tools=tools)
        return conversation.run(lambda _, piece: on_text(piece))[0]

    def _check(self, options: dict[str, Any]) -> None:
        for name, value in options.items():
            if name not in _HONOURED:
                _refuse_unless_off(name, value)
        if options.get("model", self.memory.model) != self.memory.model:
            raise InputError(f"Model {options['model']!r} cannot answer: this memory belongs to {self.memory.model!r}.")
        if options.get("tool_choice") not in (None, "auto", "none"):
            raise InputError(f"tool_choice {options['tool_choice']!r} cannot be forced on this model; expected 'auto'.")

    def _last(self, answer: Answer, *, given: str = "", message_id: str | None = None) -> Any:
        """The last chunk of an answer: the text after `given`, tool calls, usage and the answer's origin."""
        calls = [c for found in _CALL.findall(answer.text) for c in _parsed(found)]
        text = _CALL.sub("", answer.text).strip() if calls else answer.text[len(given) :]
        origin: dict[str, Any] = {name: getattr(answer, name) for name in ("snapshot", "confidence")}
        origin |= {"mode": answer.mode.value, "sources": list(answer.sources)}
        origin |= {"shards": [asdict(s) for s in answer.shards]}
        message = AIMessageChunk(
            content=text,
            id=message_id,
            tool_call_chunks=[
                tool_call_chunk(name=name, args=json.dumps(args), id=f"call_{uuid.uuid4().hex}", index=n)
                for n, (name, args) in enumerate(calls)
            ],
            usage_metadata=UsageMetadata(
                input_tokens=answer.prompt_tokens,
                output_tokens=answer.generated_tokens,
                total_tokens=answer.prompt_tokens + answer.generated_tokens,
            ),
            response_metadata={
                "model_name": self.memory.model,
                "model_provider": "seal_memory",
                "finish_reason": "tool_calls" if calls else answer.finish,
                "seal_memory": origin,
            },
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)


def _refuse_unless_off(name: str, value: object) -> None:
    if value not in _OFF.get(name, (None, False)):
        raise InputError(f"The option {name!r} is not supported by this model; leave it out.")


def _as_chat(messages: list[BaseMessage]) -> list[dict[str, Any]]:
    """Messages for the chat template: role, text, and tool calls with their arguments as mappings."""
    for n, message in enumerate(messages):
        media = [kind for kind in unsupported_parts({"content": message.content}) if kind not in UNSAID]
        if media:
            raise InputError(f"message {n} holds {', '.join(media)}; this model reads only text.")
    chat = []
    for n, raw in enumerate(convert_to_openai_messages(messages)):
        parsed = parse_message(raw, f"message {n}")
        if parsed.media_parts:
            raise InputError(f"message {n} holds {', '.join(parsed.media_parts)}; this model reads only text.")
        turn: dict[str, Any] = {"role": parsed.role.value, "content": parsed.text} | dict(parsed.metadata)
        if raw.get("tool_calls"):
            functions = [c["function"] for c in raw["tool_calls"]]
            turn["tool_calls"] = [
                {"type": "function", "function": {"name": f["name"], "arguments": json.loads(f["arguments"])}}
                for f in functions
            ]
        chat.append(turn)
    return chat


def _parsed(found: str) -> list[tuple[str, dict[str, Any]]]:
    """The (name, arguments) of tool calls in JSON text, an object or a list of objects; none where it is neither."""
    try:
        value = json.loads(found)
    except ValueError:
        return []
    calls = [c for c in (value if isinstance(value, list) else [value]) if isinstance(c, dict)]
    return [(str(c["name"]), args) for c in calls if isinstance(args := c.get("arguments", {}), dict) and "name" in c]
