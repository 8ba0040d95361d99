"""One request to the model: checked first, then run, then recorded where that is wanted.

What somebody said is recorded even when no answer came of it; what the model said is recorded as the assistant's,
which is learned only where `learning.roles` says so. Of a history that comes again only what is new is recorded.
Not here: HTTP (`chat`), how answers are made (`SealMemory.converse`).
"""

from __future__ import annotations

import hashlib
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
from seal_memory.server.state import Server


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What a request wants of the memory: its own field before its headers."""

    observe: bool | None
    session: str | None
    mode: str


@dataclass(slots=True)
class Exchange:
    """Prepared by `of_chat` or `of_texts`; then `run` it, or `close` it."""

    server: Server
    memory: SealMemory
    ready: list[Conversation]
    said: Sequence[Mapping[str, Any]]  # to record; nothing: nothing is
    session: str | None
    source: str
    fingerprint: str
    _held: ExitStack = field(default_factory=ExitStack)

    @property
    def snapshot(self) -> int | None:
        """The version that answers."""
        return self.ready[0].snapshot

    @property
    def choices(self) -> int:
        return sum(c.n for c in self.ready)

    def run(self, on_text: OnText | None = None) -> list[Answer]:
        """All answers, in the order of the choices; recorded before they are returned."""
        answers: list[Answer] = []
        try:
            for conversation in self.ready:
                answers += conversation.run(_from(len(answers), on_text))
            return answers
        finally:
            self._end(answers)

    def close(self) -> None:
        """Let go of the memory and the place in the queue."""
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
        if not self.said:
            return
        heard = [m for m in self.said if not _is_blank(m)]
        known = sum(not _is_blank(m) for m in self.said[: _replayed(self.said)])
        with self.memory.ledger.atomic():
            self.memory.observe_messages(heard, source=self.source, session=self.session, replayed=known)
            if len(answers) == 1 and answers[0].text:  # of several, the chosen one comes with the next turn's history
                made_by = {"model": self.server.name, "snapshot": answers[0].snapshot or 0}
                self.memory.observe(
                    answers[0].text, role="assistant", source=self.source, session=self.session, metadata=made_by
                )


def of_chat(server: Server, caller: Caller, body: ChatRequest, wishes: RequestOptions) -> Exchange:
    """Check a chat and bind it to a snapshot. Raises what is wrong with it."""
    observes = _observes(caller, wishes.observe, caller.observes)
    said = body.said
    if observes:
        from_messages([m for m in said if not _is_blank(m)])  # what cannot be recorded is refused, not lost
    session = wishes.session or _session(caller, said)

    def ready(memory: SealMemory) -> list[Conversation]:
        n = body.n or 1
        return [memory.converse(said, mode=wishes.mode, decoding=body.decoding, n=n, tools=body.offered)]

    return _prepared(server, caller, ready, said if observes else (), session)


def of_texts(server: Server, caller: Caller, body: CompletionRequest, wishes: RequestOptions) -> Exchange:
    """The same for texts to continue, which are recorded only when the request asks for it."""
    observes = _observes(caller, wishes.observe, False)
    said = [{"role": "user", "content": text} for text in body.prompts] if observes else []
    if observes:
        from_messages(said)

    def ready(memory: SealMemory) -> list[Conversation]:
        n = body.n or 1
        return [memory.converse(t, mode=wishes.mode, decoding=body.decoding, n=n) for t in body.prompts]

    return _prepared(server, caller, ready, said, wishes.session)


def _prepared(
    server: Server, caller: Caller, ready: Any, said: Sequence[Mapping[str, Any]], session: str | None
) -> Exchange:
    with ExitStack() as stack:
        server.places.take()
        stack.callback(server.places.free)
        memory = stack.enter_context(server.pool.memory(caller.namespace))
        conversations = ready(memory)
        source = "chat" if caller.key is None else f"chat/{caller.key.id}"
        fingerprint = f"{memory.answering.fingerprint[:12]}-{conversations[0].snapshot or 0}"
        return Exchange(server, memory, conversations, said, session, source, fingerprint, stack.pop_all())


def _observes(caller: Caller, wanted: bool | None, default: bool) -> bool:
    """Raises `ApiError` where a request wants to be recorded and its key may not."""
    if wanted and not caller.observes and not caller.allows("observe"):
        raise ApiError(403, "scope_missing", "This key's conversations are not recorded: it lacks the scope 'observe'.")
    return default if wanted is None else wanted


def _session(caller: Caller, said: Sequence[Mapping[str, Any]]) -> str:
    """The same for every turn of a conversation whose client names none: made of how it began."""
    first = next((str(m.get("content")) for m in said if m.get("role") == "user"), "")
    digest = hashlib.sha256(f"{caller.id}\n{first}".encode()).hexdigest()
    return f"chat-{digest[:16]}"


def _replayed(said: Sequence[Mapping[str, Any]]) -> int:
    """How many messages were there at an earlier turn: all up to the last answer."""
    return max((n + 1 for n, m in enumerate(said) if m.get("role") == "assistant"), default=0)


def _is_blank(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, str) and not content.strip()


def _from(first: int, on_text: OnText | None) -> OnText | None:
    return None if on_text is None else lambda sample, piece: on_text(first + sample, piece)
