"""`ChatSealMemory`: a memory's own model as a LangChain chat model, in this process.

It answers from the weights, from retrieved text or both, as `mode` says, and learns nothing by itself
(`SealMemoryMiddleware` does). Decoding follows the schemas of forced tool calls and structured output. Not here:
options and messages (`requests`), message parts that are not text.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any, Literal

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ConfigDict, Field, model_validator

from seal_memory import SealMemory
from seal_memory.answering.answerer import Answer
from seal_memory.engines.base import Decoding
from seal_memory.errors import InputError
from seal_memory.frameworks.concurrency import stream_from_thread
from seal_memory_langchain.errors import langchain_errors
from seal_memory_langchain.requests import ANSWERS, HONOURED, NETWORK, OPTIONS, as_chat, refuse_unless_off


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
        for name in given.keys() - cls.model_fields.keys() - NETWORK:
            refuse_unless_off(name, given[name])
        return given

    @property
    def _llm_type(self) -> str:
        return "seal-memory"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        named = {"model": self.memory.model, "namespace": self.memory.ledger.namespace, "mode": self.mode}
        return named | {name: getattr(self, name) for name in OPTIONS}

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
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer the tools. `tool_choice`: "auto", "none", "any", "required" or True, or a tool's name.

        A forced call is exactly one and always valid, with `strict` or without.
        """
        choice = {True: "required", False: None}[tool_choice] if isinstance(tool_choice, bool) else tool_choice
        offered = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        return self.bind(tools=offered, tool_choice=choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "json_mode", "function_calling"] = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answer with an object of the schema, which decoding follows in each `method`, strict or not."""
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        if kwargs or method not in ("json_schema", "json_mode"):
            raise ValueError(f"method={method!r} and {kwargs} are not supported; expected json_schema or json_mode")
        described = convert_to_json_schema(schema)
        wanted = {"name": described.get("title", "answer"), "schema": described, "strict": True}
        llm = self.bind(
            response_format={"type": "json_schema", "json_schema": wanted},
            ls_structured_output_format={"kwargs": {"method": method}, "schema": schema},
        )
        parser: BaseOutputParser[Any] = JsonOutputParser()
        if isinstance(schema, type) and is_basemodel_subclass(schema):
            parser = PydanticOutputParser(pydantic_object=schema)
        if not include_raw:
            return llm | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")

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
        given, message_id = "", f"lc_run--{run_manager.run_id if run_manager else uuid.uuid4()}"
        with langchain_errors():
            for piece in stream_from_thread(lambda on_text: self._converse(messages, stop, kwargs, on_text)):
                if piece == "":
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
        chosen = {name: options.get(name, getattr(self, name)) for name in OPTIONS}
        if options.get("max_completion_tokens") is not None:
            chosen["max_tokens"] = options["max_completion_tokens"]
        if chosen["seed"] is None:
            chosen["seed"] = secrets.randbelow(2**31)
        wanted = {name: options[name] for name in ANSWERS if options.get(name) is not None}
        ends = stop or self.stop or ()
        decoding = Decoding(**chosen, stop=(ends,) if isinstance(ends, str) else tuple(ends))
        chat, mode = as_chat(messages), options.get("mode", self.mode)
        conversation = self.memory.converse(chat, mode=mode, decoding=decoding, **wanted)
        return conversation.run(lambda _, piece: on_text(piece))[0]

    def _check(self, options: dict[str, Any]) -> None:
        for name, value in options.items():
            if name not in HONOURED:
                refuse_unless_off(name, value)
        if options.get("model", self.memory.model) != self.memory.model:
            raise InputError(f"Model {options['model']!r} cannot answer: this memory belongs to {self.memory.model!r}.")

    def _last(self, answer: Answer, *, given: str = "", message_id: str | None = None) -> Any:
        """The last chunk of an answer: the text after `given`, tool calls, usage and the answer's origin."""
        origin: dict[str, Any] = {name: getattr(answer, name) for name in ("snapshot", "confidence")}
        origin |= {"mode": answer.mode.value, "sources": list(answer.sources)}
        origin |= {"shards": [asdict(s) for s in answer.shards]}
        message = AIMessageChunk(
            content=answer.text[len(given) :],
            id=message_id,
            tool_call_chunks=[
                tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=n)
                for n, call in enumerate(answer.tool_calls)
            ],
            usage_metadata=UsageMetadata(
                input_tokens=answer.prompt_tokens,
                output_tokens=answer.generated_tokens,
                total_tokens=answer.prompt_tokens + answer.generated_tokens,
            ),
            response_metadata={
                "model_name": self.memory.model,
                "model_provider": "seal_memory",
                "finish_reason": answer.finish,
                "seal_memory": origin,
            },
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)
