"""Derived sessions: the session of a chat whose client names none, told by the history that it sends.

A new conversation gets a session of its own. Each exchange is noted under two keys: the history with an answer, and the
history without it, for clients that shorten or rewrite answers; system prompts do not count. A client that cuts its
history at the front is taken for a new conversation; one that wants to be sure sends back the session that the answer
named. Not here: where keys are kept (`ledger.sessions`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from seal_memory.ledger import Ledger
from seal_memory.ledger.encoding import normalise, sortable_id

Messages = Sequence[Mapping[str, Any]]
_STANDING = ("system", "developer")  # clients write the hour, or what they have found, into these at every turn


class WaitingSessions:
    """Sessions of exchanges that wait for the ledger, which cannot tell them yet: each by namespace and key."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[str]] = {}

    def note(self, namespace: str, session: str, keys: Sequence[str]) -> None:
        for key in keys:
            self._found.setdefault((namespace, key), []).append(session)

    def continued_by(self, namespace: str, keys: Sequence[str]) -> str | None:
        """Take the oldest session that had one of these histories, by the first known key; None: there is none."""
        return next((found.pop(0) for key in keys if (found := self._found.get((namespace, key)))), None)

    def clear(self) -> None:
        self._found.clear()


def derived_session(ledger: Ledger, caller: str, messages: Messages, waiting: WaitingSessions) -> str:
    """The session of the conversation that the messages continue, else a new one; reads only."""
    answered = [n for n, m in enumerate(messages) if m.get("role") == "assistant"]
    keys = [key for n in reversed(answered) for key in (_key(caller, messages[: n + 1]), _key(caller, messages[:n]))]
    known = ledger.sessions.continued_by(keys) or waiting.continued_by(ledger.namespace, keys)
    return known or f"chat-{sortable_id()}"


def keys_after(caller: str, messages: Messages, answers: Sequence[str]) -> list[str]:
    """The keys under which the next turn finds its session, one per answer and one without."""
    answered = ([*messages, {"role": "assistant", "content": text}] for text in answers)
    return list(dict.fromkeys([*(_key(caller, history) for history in answered), _key(caller, messages)]))


def _key(caller: str, messages: Messages) -> str:
    said = [(str(m.get("role")), _text(m.get("content"))) for m in messages if m.get("role") not in _STANDING]
    return hashlib.sha256(json.dumps([caller, said]).encode()).hexdigest()


def _text(content: object) -> str:
    """A message's text with its white space made equal; parts that are not text do not count."""
    if isinstance(content, str):
        return normalise(content)
    parts = content if isinstance(content, Sequence) else ()
    return normalise(" ".join(str(p["text"]) for p in parts if isinstance(p, Mapping) and p.get("text")))
