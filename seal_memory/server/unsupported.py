"""Request fields of OpenAI's and other servers' endpoints that this server cannot honour and that change the answer.

A value that switches such a field off passes; any other is refused with the field's name, and so is a field that is
not known. Not here: the fields that are honoured (`schemas`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, WithJsonSchema, model_validator

from seal_memory.server.request_fields import Body

# Fields that change no answer here: who asks, and how a provider bills, keeps, caches or schedules requests.
IGNORED = frozenset(
    {
        "cache_prompt", "cache_salt", "keep_alive", "metadata", "prediction", "priority",
        "prompt_cache_key", "prompt_cache_retention", "request_id", "safety_identifier", "service_tier", "store",
        "user",
    }
)  # fmt: skip


def _is_off(value: Any) -> bool:
    return value is None or value in (0, False, "", [], {})


def _off(value: Any) -> Any:
    if _is_off(value):
        return value
    raise ValueError("not supported by this server; leave it out")


def _null(value: Any) -> Any:
    """For a field that an empty object switches on."""
    if value is None:
        return value
    raise ValueError("not supported by this server; leave it out")


def _one(value: Any) -> Any:
    if value is None or (value == 1 and not isinstance(value, bool)):
        return value
    raise ValueError("only 1, which changes nothing, is supported; leave it out")


def _text_only(value: Any) -> Any:
    if value is None or value == ["text"]:
        return value
    raise ValueError('only ["text"] is supported; leave it out')


def _use_tools(value: Any) -> Any:
    if value is None or value in ("none", [], "auto"):
        return value
    raise ValueError("not supported by this server; send `tools` and `tool_choice` instead")


_NULL = WithJsonSchema({"type": "null", "description": "not supported"})
Off = Annotated[Any, BeforeValidator(_off), _NULL]
One = Annotated[Any, BeforeValidator(_one), _NULL]


class Unsupported(Body):
    """Fields that must be off. Others that a schema does not have are unknown, but for those of no consequence."""

    model_config = ConfigDict(extra="forbid")

    # OpenAI's
    frequency_penalty: Off = None
    presence_penalty: Off = None
    logit_bias: Off = None
    functions: Annotated[Any, BeforeValidator(_use_tools), _NULL] = None
    function_call: Annotated[Any, BeforeValidator(_use_tools), _NULL] = None
    modalities: Annotated[Any, BeforeValidator(_text_only), _NULL] = None
    audio: Off = None
    web_search_options: Annotated[Any, BeforeValidator(_null), _NULL] = None
    # vLLM's, llama.cpp's and LM Studio's
    min_p: Off = None
    typical_p: One = None
    repetition_penalty: One = None
    repeat_penalty: One = None
    length_penalty: One = None
    min_tokens: Off = None
    ignore_eos: Off = None
    use_beam_search: Off = None
    stop_token_ids: Off = None
    bad_words: Off = None
    mirostat: Off = None
    grammar: Off = None
    json_schema: Off = None
    guided_json: Off = None
    guided_regex: Off = None
    guided_choice: Off = None
    guided_grammar: Off = None
    structured_outputs: Off = None
    prompt_logprobs: Off = None
    continue_final_message: Off = None

    @model_validator(mode="before")
    @classmethod
    def _without_consequence(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        gone = {name for name in value if name in IGNORED or _is_off(value[name])} - cls.model_fields.keys()
        return {name: one for name, one in value.items() if name not in gone}
