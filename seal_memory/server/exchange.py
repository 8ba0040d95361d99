"""One model request: check it, run it, then record it where recording is wanted.

The user's messages are recorded even when no answer came. The model's answer is recorded with the role assistant,
which is learned only if `learning.roles` includes it. Of a repeated history only the new messages are recorded.
Not here: HTTP (`chat`), answering (`SealMemory.converse`), text that cannot be recorded (`intake.recording`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from seal_memory.answering.answerer import Answer
from seal_memory.answering.conversation import Conversation
from seal_memory.engines.base import OnText
from seal_memory.intake.blocks import flatten_blocks, unsupported_parts
from seal_memory.intake.recording import Recorded
from seal_memory.memory import SealMemory
from seal_memory.server.auth import Caller
from seal_memory.server.errors import ApiError
from seal_memory.server.recording import Record
from seal_memory.server.schemas import ChatRequest, CompletionRequest
from seal_memory.server.sessions import derived_session, keys_after
from seal_memory.server.state import Server


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """The memory options of one request; its body field `seal_memory` overrides its headers."""

    observe: bool | None
    session: str | None
    mode: str | None  # None: as the request needs it


@dataclass(slots=True)
class Exchange:
    """A checked request, made by `prepare_chat` or `prepare_completion`; then `run` it or `close` it."""

    server: Server
    memory: SealMemory
    caller: Caller
    ready: list[Conversation]
    messages: Sequence[Mapping[str, Any]]  # to record; empty: record nothing
    session: str | None
    fingerprint: str
    recorded: Recorded = field(default_factory=Recorded)
    _held: ExitStack = field(default_factory=ExitStack)

    @property
    def snapshot(self) -> int | None:
        """The published version that answers."""
        return self.ready[0].snapshot

    @property
    def choices(self) -> int:
        return sum(c.n for c in self.ready)

    def run(self, on_text: OnText | None = None) -> list[Answer]:
        """Generate all answers in the order of the choices, and record the exchange before returning them."""
        answers: list[Answer] = []
        try:
            for conversation in self.ready:
                with self.server.shares.rows(self.caller.id, conversation.n):
                    answers += conversation.run(_offset(len(answers), on_text))
            return answers
        finally:
            self._end(answers)

    def close(self) -> None:
        """Release the memory and the request slot."""
        self._held.close()

    def _end(self, answers: Sequence[Answer]) -> None:
        try:
            if self.messages:
                memory = partial(self.server.pool.memory, self.caller.namespace)
                record = self._record(answers)
                self.recorded = self.server.recorder.record(record.parts(memory))
                if self.recorded.deferred and record.session is not None:
                    self.server.waiting_sessions.note(self.caller.namespace, record.session, record.session_keys)
        finally:
            self.close()
        metrics = self.server.metrics
        metrics.tokens.labels("read").inc(sum(a.prompt_tokens for a in answers))
        metrics.tokens.labels("made").inc(sum(a.generated_tokens for a in answers))

    def _record(self, answers: Sequence[Answer]) -> Record:
        answer, texts = None, [a.text for a in answers]
        if len(answers) == 1:  # of several, the next turn's history brings the chosen one
            answer = texts[0], {"model": self.server.name, "snapshot": answers[0].snapshot or 0}
        source = "chat" if self.caller.key is None else f"chat/{self.caller.key.id}"
        keys = keys_after(self.caller.id, self.messages, texts) if self.session is not None else []
        return Record(
            self.messages, replayed_in(self.messages), answer, source, self.session, keys, self.server.clock()
        )


def prepare_chat(server: Server, caller: Caller, body: ChatRequest, options: RequestOptions) -> Exchange:
    """Check a chat request and bind it to a snapshot. Raises `ApiError` or `InputError` for an unusable one."""
    observes = may_record(caller, options.observe, caller.observes)
    messages = flatten_blocks(body.message_dicts)
    _check_parts(messages)
    how = {"mode": options.mode, "decoding": body.decoding, "n": body.n or 1, **body.contract_fields}

    def ready(memory: SealMemory) -> list[Conversation]:
        return [memory.converse(messages, **how)]

    recorded = messages if observes else ()
    return _prepare(server, caller, ready, recorded, options.session, body.fresh_seed(), is_chat=True)


def prepare_completion(server: Server, caller: Caller, body: CompletionRequest, options: RequestOptions) -> Exchange:
    """Check a completion request, like `prepare_chat`; its texts are recorded only on request."""
    observes = may_record(caller, options.observe, False)
    messages = [{"role": "user", "content": text} for text in body.prompts] if observes else []
    decoding = body.decoding

    def ready(memory: SealMemory) -> list[Conversation]:
        n = body.n or 1
        return [memory.converse(t, mode=options.mode, decoding=decoding, n=n) for t in body.prompts]

    return _prepare(server, caller, ready, messages, options.session, body.fresh_seed())


def _prepare(
    server: Server,
    caller: Caller,
    ready: Callable[[SealMemory], list[Conversation]],
    messages: Sequence[Mapping[str, Any]],
    session: str | None,
    seed: int | None,
    *,
    is_chat: bool = False,
) -> Exchange:
    with ExitStack() as stack:
        stack.enter_context(server.slots.slot(caller.id))
        memory = stack.enter_context(server.pool.memory(caller.namespace))
        conversations = [replace(c, seed=seed) for c in ready(memory)]
        if is_chat and messages and session is None:
            if not server.recorder.counts.waiting:
                server.waiting_sessions.clear()
            session = derived_session(memory.ledger, caller.id, messages, server.waiting_sessions)
        fingerprint = f"{memory.answering.fingerprint[:12]}-{conversations[0].snapshot or 0}"
        return Exchange(server, memory, caller, conversations, messages, session, fingerprint, _held=stack.pop_all())


def _check_parts(messages: Sequence[Mapping[str, Any]]) -> None:
    """Refuse images, audio and files by name. Raises `ApiError` (400)."""
    for number, message in enumerate(messages):
        kinds = unsupported_parts(message)
        if kinds:
            where = f"messages.{number}.content"
            told = f"{where} has a part of type {kinds[0]!r}, which this model cannot read; send text parts only."
            raise ApiError(400, "unsupported_content", told, param=where)


def may_record(caller: Caller, wanted: bool | None, default: bool) -> bool:
    """Whether to record. Raises `ApiError` (403) where the request asks for it and the key may not."""
    if wanted and not caller.observes and not caller.allows("observe"):
        raise ApiError(403, "scope_missing", "This key may not record conversations: it lacks the scope 'observe'.")
    return default if wanted is None else wanted


def replayed_in(messages: Sequence[Mapping[str, Any]]) -> int:
    """Number of messages known from earlier turns: all up to the last answer."""
    return max((n + 1 for n, m in enumerate(messages) if m.get("role") == "assistant"), default=0)


def _offset(first: int, on_text: OnText | None) -> OnText | None:
    return None if on_text is None else lambda sample, piece: on_text(first + sample, piece)
