"""Chat format: what a model's chat template can render, measured by rendering, and chats made to fit it.

Some templates know no system role, some refuse two turns of one role, some open the model's thinking; a base model has
no template at all and gets `PLAIN_TEMPLATE`. Thinking is always off: a reasoning model's adapters are trained and asked
without it. Not here: tokens (`encoding`), tool calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seal_memory.engines.base import Messages
from seal_memory.errors import InputError

__all__ = ["PLAIN_TEMPLATE", "ChatFormat", "measure"]

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + (eos_token or '') + '\n' }}"
    "{% else %}{{ message['role'].capitalize() + ': ' + message['content'] + '\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_SYSTEM, _USER, _ANSWER = "Systemmark", "Usermark", "Answermark"
_ASKED = ({"role": "user", "content": _USER},)
_OPENED = "<think>"
_CLOSING = "\n\n</think>\n\n"

Thinking = Literal["none", "switch", "opened"]


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """What a chat template renders. `own`: the model's, else the plain one.

    `system_role`: system messages reach the prompt; else they are folded into the user's turn. `any_order`: turns of
    one role may follow each other; else they are joined. `thinking`: the template has a switch, which is off, or it
    opens a thought, which is closed at once. `end_of_turn`: the text behind an assistant's turn.
    """

    own: bool
    system_role: bool
    any_order: bool
    thinking: Thinking
    end_of_turn: str

    def render(
        self, tokenizer: Any, messages: Messages, *, tools: Sequence[Mapping[str, Any]] = (), thinking: bool = False
    ) -> str:
        """The prompt's text, up to the start of the assistant's turn. Raises `InputError` for a chat it refuses."""
        text = _render(tokenizer, self.fit(messages), tools=tools, thinking=thinking)
        return text.rstrip() + _CLOSING if self.thinking == "opened" and _is_open(text) else text

    def fit(self, messages: Messages) -> list[dict[str, Any]]:
        """The messages as this template takes them, with nothing left out."""
        fitted = [dict(m) for m in messages]
        if not self.system_role:
            fitted = [{**m, "role": "user"} if m.get("role") == "system" else m for m in fitted]
        elif self.any_order:
            return fitted
        return _joined(fitted)


def measure(tokenizer: Any) -> ChatFormat:
    """Measure the template of a tokenizer, which gets the plain one where it has none."""
    own = tokenizer.chat_template not in (None, "", PLAIN_TEMPLATE)
    if not own:
        tokenizer.chat_template = PLAIN_TEMPLATE
    system = _try(tokenizer, [{"role": "system", "content": _SYSTEM}, *_ASKED])
    any_order = _try(tokenizer, [*_ASKED, *_ASKED])
    off = _try(tokenizer, _ASKED)
    on = _try(tokenizer, _ASKED, thinking=True)
    thinking: Thinking = "opened" if _is_open(off) else "switch" if on != off else "none"
    answered = _try(tokenizer, [*_ASKED, {"role": "assistant", "content": _ANSWER}], ask=False)
    end = answered.rpartition(_ANSWER)[2] if _ANSWER in answered else ""
    return ChatFormat(own, _SYSTEM in system, any_order.count(_USER) == 2, thinking, end)


def _joined(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring turns of one role as one turn, where both are plain text."""
    joined: list[dict[str, Any]] = []
    for message in messages:
        if joined and _is_text(message) and _is_text(joined[-1]) and joined[-1]["role"] == message["role"]:
            joined[-1] = {**joined[-1], "content": f"{joined[-1]['content']}\n\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def _is_text(message: Mapping[str, Any]) -> bool:
    return set(message) == {"role", "content"} and isinstance(message["content"], str)


def _is_open(text: str) -> bool:
    return text.rstrip().endswith(_OPENED)


def _render(
    tokenizer: Any,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    thinking: bool = False,
    ask: bool = True,
) -> str:
    from jinja2.exceptions import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            [dict(m) for m in messages],
            tools=[dict(t) for t in tools] or None,
            add_generation_prompt=ask,
            tokenize=False,
            enable_thinking=thinking,
        )
    except TemplateError as error:
        raise InputError(f"This model's chat template refuses the chat: {error}. Change the order of roles.") from error
    return text


def _try(tokenizer: Any, messages: Messages, *, thinking: bool = False, ask: bool = True) -> str:
    """The rendered chat, "" where the template refuses it."""
    try:
        return _render(tokenizer, messages, thinking=thinking, ask=ask)
    except InputError:
        return ""
