"""Conversation: one request to continue a chat or a text, checked and bound to a snapshot before it runs.

Checking first means that errors are known before the first piece of an answer is sent. Not here: making an answer
(`answerer`), recording messages (`SealMemory.observe_messages`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seal_memory.answering.answerer import Answer, Answerer, Mode
from seal_memory.answering.contract import FREE, Contract
from seal_memory.answering.tool_calls import certain_text
from seal_memory.engines.base import Decoding, OnText, Prompt
from seal_memory.errors import InputError
from seal_memory.intake.messages import parse_message
from seal_memory.ledger.arguments import require_sequence
from seal_memory.records import Role

LONG_CHAT = 8  # messages; a longer conversation is nothing that an adapter was trained to continue
_KEPT = ("name", "tool_call_id")  # message keys that chat templates may use beside role and content


@dataclass(frozen=True, slots=True)
class Conversation:
    """A checked chat or text, ready to be continued `n` times; `seed`: of its samples, instead of the decoding's."""

    answerer: Answerer
    prompt: Prompt
    question: str
    mode: Mode
    decoding: Decoding
    n: int = 1
    seed: int | None = None
    contract: Contract = FREE

    @property
    def snapshot(self) -> int | None:
        """The snapshot's version that will answer; None: the untouched base."""
        return self.answerer.snapshot

    def run(self, on_text: OnText | None = None) -> list[Answer]:
        """Make the `n` answers; `on_text(sample, piece)` gets the text while it is made, and may raise to end it.

        Tool calls are no part of the text.
        """
        prompt = self.prompt if self.seed is None else replace(self.prompt, seed=self.seed)
        asked, questions = [prompt] * self.n, [self.question] * self.n
        told = _Told(on_text, self.contract, self.n) if on_text is not None and self.contract.tools else None
        made = self.answerer.converse(asked, questions, self.mode, self.decoding, on_text=told or on_text)
        answers = [self.contract.read(answer) for answer in made]
        if told is not None:
            told.close(answers)
        return answers


class _Told:
    """The listener of answers that may hold tool calls: text goes through once it can be no part of a call."""

    def __init__(self, on_text: OnText, contract: Contract, samples: int) -> None:
        self._on_text, self._contract = on_text, contract
        self._texts, self._sent = [""] * samples, [0] * samples

    def __call__(self, sample: int, piece: str) -> None:
        self._texts[sample] += piece
        self._send(sample, "" if self._contract.forced else certain_text(self._texts[sample]))

    def close(self, answers: Sequence[Answer]) -> None:
        """Send what the answers have beyond it."""
        for sample, answer in enumerate(answers):
            self._send(sample, answer.text)

    def _send(self, sample: int, text: str) -> None:
        piece = text[self._sent[sample] :]
        self._sent[sample] += len(piece)
        self._on_text(sample, piece)


def default_mode(prompt: Prompt, *, structured: bool = False) -> Mode:
    """The mode of a request that names none: compose for tools, structured output and long conversations, else hybrid.

    An adapter recites what it knows, whatever is asked; such requests need the untouched model's skills.
    """
    spoken = sum(m["role"] != Role.SYSTEM.value for m in prompt.messages)
    return Mode.COMPOSE if prompt.tools or structured or spoken > LONG_CHAT else Mode.HYBRID


def chat_prompt(messages: Sequence[Mapping[str, Any]]) -> tuple[Prompt, str]:
    """The prompt of OpenAI message dicts, and its query for routing: the last user message.

    A tool's result may be empty, as a silent command's is. Raises `InputError` naming a bad message, or when they do
    not end with a user's words or a tool's results.
    """
    parsed = [parse_message(m, f"message {n}") for n, m in enumerate(require_sequence(messages, "messages"))]
    said = [m.text for m in parsed if m.role is Role.USER and m.text.strip()]
    last = parsed[-1] if parsed else None
    asks = last is not None and (last.role is Role.TOOL or (last.role is Role.USER and bool(last.text.strip())))
    if not said or not asks:
        raise InputError(
            "chat needs messages that end with a user message that has text, or with a tool's results after one."
        )
    kept = [_kept(m, f"message {n}") for n, m in enumerate(messages)]
    chat = [{"role": p.role.value, "content": p.text, **more} for p, more in zip(parsed, kept, strict=True)]
    return Prompt(chat), said[-1]


def _kept(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a chat template may use of a message beside role and content. Raises `InputError` for a broken call."""
    kept: dict[str, Any] = {key: message[key] for key in _KEPT if isinstance(message.get(key), str)}
    calls = message.get("tool_calls") or ()
    for call in calls if isinstance(calls, list | tuple) else (calls,):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise InputError(f"{where}: 'tool_calls' needs a list of calls, each with a function and its name")
    return kept | ({"tool_calls": list(calls)} if calls else {})


def text_prompt(text: str) -> tuple[Prompt, str]:
    """The prompt of plain text, and its query: the same text. Raises `InputError` when it is empty."""
    if not text.strip():
        raise InputError("The prompt is empty; expected text to continue.")
    return Prompt((), raw=text), text
