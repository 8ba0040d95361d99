"""`RemoteMemory`: a memory behind a seal-memory server, with the verbs that retriever, tools and middleware need.

Not here: chat (any OpenAI-compatible chat model does that), and the server's own observing of chats.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import httpx

from seal_memory.errors import EngineUnavailableError, InputError, QuotaError
from seal_memory.records import Hit, Interaction, Role, Status

__all__ = ["Memory", "RemoteMemory", "TranslatedMemory"]

logger = logging.getLogger(__name__)

_LATER = frozenset({408, 409, 429})  # statuses under 500 that are worth another try
_FULL = 507  # is not, though it is over 500


class Memory(Protocol):
    """The verbs that this package calls; `SealMemory` and `RemoteMemory` have them."""

    def observe_messages(
        self, messages: Sequence[Mapping[str, Any]], *, source: str | None = None, session: str | None = None
    ) -> Any: ...

    def recall(self, query: str, *, limit: int = 5) -> list[Hit]: ...

    def forget(
        self, ids: str | Sequence[str] | None = None, *, session: str | None = None, source: str | None = None
    ) -> Any: ...


class RemoteMemory:
    """A server's memory, which the bearer key selects. `client` has the base URL, the key and the time limits.

    `httpx.Client(base_url="http://127.0.0.1:8000", headers={"Authorization": f"Bearer {key}"}, timeout=60)`.
    Raises `httpx.HTTPError`, which becomes LangChain's `ModelError` at this package's boundary.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def observe_messages(
        self, messages: Sequence[Mapping[str, Any]], *, source: str | None = None, session: str | None = None
    ) -> Any:
        """Record OpenAI message dicts, all or none."""
        return self._post("observe/batch", messages=list(messages), source=source, session=session)

    def recall(self, query: str, *, limit: int = 5) -> list[Hit]:
        """Search the interactions, best match first."""
        return [_hit(found) for found in self._post("recall", query=query, limit=limit)["hits"]]

    def forget(
        self, ids: str | Sequence[str] | None = None, *, session: str | None = None, source: str | None = None
    ) -> Any:
        """Destroy interactions and everything derived from them; returns the server's report."""
        named = [ids] if isinstance(ids, str) else ids
        return self._post("forget", ids=named, session=session, source=source)

    def _post(self, verb: str, **body: Any) -> Any:
        sent = {name: value for name, value in body.items() if value is not None}
        ascii_only = json.dumps(sent)  # half of a surrogate pair crosses as an escape, and the server decides
        headers = {"Content-Type": "application/json"}
        response = self.client.post(f"/v1/memory/{verb}", content=ascii_only, headers=headers)
        return response.raise_for_status().json()


class TranslatedMemory:
    """The observing of a memory, with HTTP's errors as ours: refused (`InputError`), or worth another try."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def observe_messages(
        self, messages: Sequence[Mapping[str, Any]], *, source: str | None, session: str | None
    ) -> Any:
        """Observe through the memory. Raises `InputError`, `QuotaError` or `EngineUnavailableError`."""
        try:
            return self.memory.observe_messages(messages, source=source, session=session)
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            logger.warning("the memory server answered a record with status %d", status)
            if status == _FULL:
                raise QuotaError("the namespace holds as much as it may") from error
            kind = InputError if status < 500 and status not in _LATER else EngineUnavailableError
            raise kind(f"the memory server answered {status}") from error
        except httpx.HTTPError as error:
            raise EngineUnavailableError(f"the memory server cannot be reached: {error}") from error


def _hit(found: Mapping[str, Any]) -> Hit:
    interaction = Interaction(
        id=found["id"],
        namespace=found.get("namespace", ""),
        text=found["text"],
        role=Role(found.get("role", Role.DOCUMENT)),
        source=found.get("source"),
        session=found.get("session"),
        title=found.get("title"),
        time=found.get("time", 0.0),
        metadata=found.get("metadata", {}),
        content_hash="",
        status=Status(found.get("status", Status.PENDING)),
        reason=found.get("reason"),
        sightings=found.get("sightings", 1),
    )
    return Hit(interaction, found["score"])
