"""Request fields of OpenAI's and other servers' endpoints that this server cannot honour and that change the answer.

A value that switches such a field off passes; any other is refused with the field's name. Not here: the fields that
are honoured (`schemas`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from seal_memory.server.request_fields import Body


def _off(value: Any) -> Any:
    if value is None or value in (0, False, "", [], {}):
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
    """Fields that must be off."""

    # OpenAI's
    frequency_penalty: Off = None
    presence_penalty: Off = None
    logit_bias: Off = None
    functions: Annotated[Any, BeforeValidator(_use_tools), _NULL] = None
    function_call: Annotated[Any, BeforeValidator(_use_tools), _NULL] = None
    modalities: Annotated[Any, BeforeValidator(_text_only), _NULL] = None
    audio: Off = None
    web_search_options: Off = None
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
