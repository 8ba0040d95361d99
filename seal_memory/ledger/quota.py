"""Quota of a namespace: how many bytes of text it may hold.

What is held is summed up at most once a minute and counted in between, so observing does not read the whole namespace.
Other processes' texts, forgets and texts that were known already are therefore noticed a minute later. Not here: the
size of one request (the server), disk space.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from seal_memory.errors import QuotaError
from seal_memory.ledger import interactions
from seal_memory.ledger.connection import Scope
from seal_memory.records import NewInteraction

COUNTED_FOR = 60.0  # seconds


class Quota:
    """Counts what one namespace holds against `limit` bytes; None: no limit. Threads may share it."""

    def __init__(self, scope: Scope, limit: int | None) -> None:
        self._scope, self._limit, self._lock = scope, limit, threading.Lock()
        self._held, self._counted_at = 0, float("-inf")

    def take(self, items: Sequence[NewInteraction]) -> None:
        """Count items that are about to be recorded. Raises `QuotaError` where they do not fit."""
        if self._limit is None:
            return
        size = sum(len(i.text.encode("utf-8", "replace")) + len(str(i.metadata)) for i in items)
        with self._lock:
            if time.monotonic() - self._counted_at > COUNTED_FOR or self._held + size > self._limit:
                self._held, self._counted_at = interactions.stored_bytes(self._scope), time.monotonic()
            if self._held + size > self._limit:
                raise QuotaError(
                    f"the memory {self._scope.namespace!r} holds {self._held:,} bytes of text and may hold "
                    f"{self._limit:,}; {size:,} more do not fit: forget something, or have the limit raised"
                )
            self._held += size
