"""One model request: check it, run it, then record it where recording is wanted.

The user's messages are recorded even when no answer came. The model's answer is recorded with the role assistant,
which is learned only if `learning.roles` includes it. Of a repeated history only the new messages are recorded.
Not here: HTTP (`chat`), answering (`SealMemory.converse`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from seal_memory.answering.answerer import Answer
from seal_memory.answering.conversation import Conversation
from seal_memory.engines.base import OnText
from seal_memory.intake.admission import from_messages
from seal_memory.memory import SealMemory
from seal_memory.server.auth import Caller
from seal_memory.server.errors import ApiError
from seal_memory.server.schemas import ChatRequest, CompletionRequest
from seal_memory.server.sessions import derived_session, keys_after
from seal_memory.server.state import Server


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """The memory options of one request; its body field `seal_memory` overrides its headers."""

    observe: bool | None
    session: str | None
    mode: str


@dataclass(slots=True)
class Exchange:
    """A checked request, made by `prepare_chat` or `prepare_completion`; then `run` it or `close` it."""

    server: Server
    memory: SealMemory
    caller_id: str
    ready: list[Conversation]
    messages: Sequence[Mapping[str, Any]]  # to record; empty: record nothing
    session: str | None
    source: str
    fingerprint: str
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
                answers += conversation.run(_offset(len(answers), on_text))
            return answers
        finally:
            self._end(answers)

    def close(self) -> None:
        """Release the memory and the request slot."""
        self._held.close()

    def _end(self, answers: Sequence[Answer]) -> None:
        try:
            self._record(answers)
        finally:
            self.close()
        metrics = self.server.metrics
        metrics.tokens.labels("read").inc(sum(a.prompt_tokens for a in answers))
        metrics.tokens.labels("made").inc(sum(a.generated_tokens for a in answers))

    def _record(self, answers: Sequence[Answer]) -> None:
        if not self.messages:
            return
        texts = [m for m in self.messages if not _is_blank(m)]
        known = sum(not _is_blank(m) for m in self.messages[: _replayed(self.messages)])
        with self.memory.ledger.atomic():
            self.memory.observe_messages(texts, source=self.source, session=self.session, replayed=known)
            if len(answers) == 1 and answers[0].text:  # of several, the next turn's history brings the chosen one
                made_by = {"model": self.server.name, "snapshot": answers[0].snapshot or 0}
                self.memory.observe(
                    answers[0].text, role="assistant", source=self.source, session=self.session, metadata=made_by
                )
            if self.session is not None:
                keys = keys_after(self.caller_id, self.messages, [a.text for a in answers])
                self.memory.ledger.sessions.note(self.session, keys)


def prepare_chat(server: Server, caller: Caller, body: ChatRequest, options: RequestOptions) -> Exchange:
    """Check a chat request and bind it to a snapshot. Raises `ApiError` or `InputError` for an unusable one."""
    observes = _observes(caller, options.observe, caller.observes)
    messages = body.message_dicts
    if observes:
        from_messages([m for m in messages if not _is_blank(m)])  # refuse now what could not be recorded later

    def ready(memory: SealMemory) -> list[Conversation]:
        n = body.n or 1
        return [memory.converse(messages, mode=options.mode, decoding=body.decoding, n=n, tools=body.offered_tools)]

    return _prepare(server, caller, ready, messages if observes else (), options.session, is_chat=True)


def prepare_completion(server: Server, caller: Caller, body: CompletionRequest, options: RequestOptions) -> Exchange:
    """Check a completion request, like `prepare_chat`; its texts are recorded only on request."""
    observes = _observes(caller, options.observe, False)
    messages = [{"role": "user", "content": text} for text in body.prompts] if observes else []
    if observes:
        from_messages(messages)

    def ready(memory: SealMemory) -> list[Conversation]:
        n = body.n or 1
        return [memory.converse(t, mode=options.mode, decoding=body.decoding, n=n) for t in body.prompts]

    return _prepare(server, caller, ready, messages, options.session)


def _prepare(
    server: Server,
    caller: Caller,
    ready: Any,
    messages: Sequence[Mapping[str, Any]],
    session: str | None,
    *,
    is_chat: bool = False,
) -> Exchange:
    with ExitStack() as stack:
        server.slots.take()
        stack.callback(server.slots.free)
        memory = stack.enter_context(server.pool.memory(caller.namespace))
        conversations = ready(memory)
        if is_chat and messages and session is None:
            session = derived_session(memory.ledger, caller.id, messages)
        source = "chat" if caller.key is None else f"chat/{caller.key.id}"
        fingerprint = f"{memory.answering.fingerprint[:12]}-{conversations[0].snapshot or 0}"
        return Exchange(
            server, memory, caller.id, conversations, messages, session, source, fingerprint, stack.pop_all()
        )


def _observes(caller: Caller, wanted: bool | None, default: bool) -> bool:
    """Whether to record. Raises `ApiError` (403) where the request asks for it and the key may not."""
    if wanted and not caller.observes and not caller.allows("observe"):
        raise ApiError(403, "scope_missing", "This key may not record conversations: it lacks the scope 'observe'.")
    return default if wanted is None else wanted


def _replayed(messages: Sequence[Mapping[str, Any]]) -> int:
    """Number of messages known from earlier turns: all up to the last answer."""
    return max((n + 1 for n, m in enumerate(messages) if m.get("role") == "assistant"), default=0)


def _is_blank(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, str) and not content.strip()


def _offset(first: int, on_text: OnText | None) -> OnText | None:
    return None if on_text is None else lambda sample, piece: on_text(first + sample, piece)
