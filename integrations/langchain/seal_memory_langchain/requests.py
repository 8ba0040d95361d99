"""What a LangChain call asks of `ChatSealMemory`: options that are honoured, off or refused, and messages as chats.

Not here: the model (`chat_model`), tools and formats, which `SealMemory.converse` checks.
"""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, convert_to_openai_messages

from seal_memory.errors import InputError
from seal_memory.frameworks.recording import UNSAID
from seal_memory.intake.blocks import unsupported_parts
from seal_memory.intake.messages import parse_message

OPTIONS = ("max_tokens", "temperature", "top_p", "seed")
ANSWERS = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
HONOURED = frozenset({*OPTIONS, "max_completion_tokens", "mode", "model", "stop", "stream", *ANSWERS})
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
    "stream_options": (None, {}, {"include_usage": True}),
    "ls_structured_output_format": (None,),
}
# LangChain's standard parameters of a model behind a network; nothing here waits for one.
NETWORK = frozenset({"api_key", "max_retries", "timeout"})


def refuse_unless_off(name: str, value: object) -> None:
    if value not in _OFF.get(name, (None, False)):
        raise InputError(f"The option {name!r} is not supported by this model; leave it out.")


def as_chat(messages: list[BaseMessage]) -> list[dict[str, Any]]:
    """Messages for the chat template: role, text, and tool calls."""
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
            turn["tool_calls"] = raw["tool_calls"]
        chat.append(turn)
    return chat
