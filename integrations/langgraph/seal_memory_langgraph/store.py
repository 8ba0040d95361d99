"""`SealMemoryStore`: LangGraph's long-term store in a memory's folder, whose items are also learned.

Items are in `langgraph.sqlite` beside the ledger. A `query` ranks by BM25 over the observed texts and filters nothing
out; there are no embeddings (no `index` configuration). Errors: LangGraph's `InvalidNamespaceError` and `ValueError`,
and `LedgerError`, since LangGraph has none for storage. Not here: learning (`consolidate`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from seal_memory import SealMemory
from seal_memory.errors import BusyError, InputError, LedgerError, UnknownIdError
from seal_memory.ledger.arguments import require_text
from seal_memory_langgraph.items import Items, Row, to_json
from seal_memory_langgraph.matching import as_text, matches, matches_namespace

logger = logging.getLogger(__name__)

FILE_NAME = "langgraph.sqlite"
MOST_RANKED = 1000  # interactions that a query is compared with, best first


class SealMemoryStore(BaseStore):
    """`StateGraph.compile(store=SealMemoryStore(memory))`; keeps its items across processes.

    A put item is observed with session "ns/…" and source "langgraph/ns/…/key" (labels percent-encoded), so that
    `memory.forget(session=…)` forgets a namespace; its items leave the store too (what another process forgets, when
    the store is next used). Deleting, overwriting and expiring
    an item forgets what was learned from it; while the ledger is locked this waits for a later operation
    (`due_to_forget`). `put(index=False)` keeps an item without learning it, `index=[paths]` learns only those parts.
    `ttl`: LangGraph's configuration, in minutes; expired items are swept when the store is used, at most every
    `sweep_interval_minutes`, or by `sweep_ttl`.
    """

    supports_ttl = True

    def __init__(
        self, memory: SealMemory, *, ttl: TTLConfig | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.memory, self.ttl_config, self._clock = memory, ttl, clock
        self._items = Items(memory.folder / FILE_NAME, memory.ledger.namespace)
        self._swept = clock()
        memory.after_forget(self._drop_forgotten)

    def close(self) -> None:
        """Close the store's file; the memory stays open."""
        self._items.close()

    def due_to_forget(self) -> int:
        """Count the interactions of deleted items that wait for a running consolidation to end."""
        return len(self._items.due())

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations: reads see the state before the batch; of two puts to one key the last counts."""
        todo = list(ops)
        for op in todo:
            validate_op_namespace(op)
            _check(op)
        self._sweep_if_time()
        puts = {(op.namespace, op.key): op for op in todo if isinstance(op, PutOp)}
        results = [None if isinstance(op, PutOp) else self._read(op) for op in todo]
        for put in puts.values():
            self._write(put)
        self._forget_due()
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run `batch` in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    # -- reading ----------------------------------------------------------------------------------

    def _read(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            row = self._items.get(tuple(op.namespace), op.key)
            known = self._known([row] if row is not None else [])
            return next((Item(**_fields(r)) for r in self._refreshed(known, op.refresh_ttl)), None)
        if isinstance(op, SearchOp):
            return self._search(op)
        if isinstance(op, ListNamespacesOp):
            return self._namespaces(op)
        raise ValueError(f"Unknown operation type: {type(op)}")

    def _search(self, op: SearchOp) -> list[SearchItem]:
        prefix = tuple(op.namespace_prefix)
        rows = [r for r in self._known(self._items.rows()) if r.namespace[: len(prefix)] == prefix]
        found = [r for r in rows if all(matches(r.value.get(k), w) for k, w in (op.filter or {}).items())]
        scores = self._scores(op.query) if op.query else {}
        scored = [(max((scores[i] for i in r.interactions if i in scores), default=None), r) for r in found]
        scored.sort(key=lambda pair: -(pair[0] or 0.0))  # stable: items that do not match keep their order, at the end
        page = scored[op.offset : op.offset + op.limit]
        self._refreshed([r for _, r in page], op.refresh_ttl)
        return [SearchItem(**_fields(r), score=score) for score, r in page]

    def _scores(self, query: str) -> dict[str, float]:
        return {h.interaction.id: h.score for h in self.memory.recall(query, limit=MOST_RANKED)}

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        found = {r.namespace for r in self._known(self._items.rows())}
        fitting = {n for n in found if all(matches_namespace(c, n) for c in op.match_conditions or ())}
        return sorted({n[: op.max_depth] for n in fitting})[op.offset : op.offset + op.limit]

    def _known(self, rows: Sequence[Row]) -> list[Row]:
        """Rows to show: none whose interactions were forgotten, nor (if so configured) expired ones."""
        gone = self._forgotten({i for r in rows for i in r.interactions})
        for row in rows:
            if gone.intersection(row.interactions):
                self._items.remove(row)
        now, omits = self._clock(), (self.ttl_config or {}).get("omit_expired", False)
        return [r for r in rows if not gone.intersection(r.interactions) and not (omits and _expired(r, now))]

    def _drop_forgotten(self) -> None:
        """Remove the items whose interactions were forgotten; where the file cannot be written, the next use does."""
        try:
            self._known(self._items.rows())
        except LedgerError as error:
            logger.warning("forgotten items stay in the store's file for now (%s)", type(error).__name__)

    def _forgotten(self, ids: set[str]) -> set[str]:
        """The ids that the ledger no longer holds."""
        if not ids:
            return set()
        try:
            self.memory.ledger.interactions(ids=sorted(ids))
        except UnknownIdError:
            return ids - {i.id for i in self.memory.ledger.interactions()}
        return set()

    def _refreshed(self, rows: Sequence[Row], refresh: bool) -> Sequence[Row]:
        if refresh:
            self._items.touch(rows, self._clock())
        return rows

    # -- writing ----------------------------------------------------------------------------------

    def _write(self, op: PutOp) -> None:
        before, now = self._items.get(tuple(op.namespace), op.key), self._clock()
        if op.value is None:
            if before is not None:
                self._items.remove(before)
            return
        text = "" if op.index is False else as_text(op.value, op.index).strip()
        same = before is not None and before.learned == text
        ids = before.interactions if before is not None and same else self._observed(op, text)
        created = before.created if before is not None else now
        expires = None if op.ttl is None else now + 60 * op.ttl
        row = Row(tuple(op.namespace), op.key, dict(op.value), text, created, now, op.ttl, expires, ids)
        with self._items.atomic():
            self._items.put(row)
            if before is not None and not same:
                self._items.forget_later(before.interactions)

    def _observed(self, op: PutOp, text: str) -> tuple[str, ...]:
        if not text:
            return ()
        session = "/".join(quote(label, safe="") for label in op.namespace)
        source = f"langgraph/{session}/{quote(op.key, safe='')}"
        try:
            seen = self.memory.observe(text, role="document", source=source, session=session)
        except InputError as error:  # any JSON may be kept, but only text that a memory takes is learned
            logger.warning("an item is kept but not learned (%s)", type(error).__name__)
            return ()
        return tuple(o.id for o in seen)

    def _forget_due(self) -> None:
        due = self._items.due()
        if not due:
            return
        held = sorted(set(due) - self._forgotten(set(due)))
        try:
            if held:
                self.memory.forget(held)
        except BusyError:
            logger.info("%d deleted interactions wait until the ledger is free", len(held))
            return
        self._items.forgotten(due)

    # -- time to live -----------------------------------------------------------------------------

    def sweep_ttl(self) -> int:
        """Delete and forget the expired items; returns their number."""
        self._swept = self._clock()
        expired = self._items.expired(self._swept)
        for row in expired:
            self._items.remove(row)
        self._forget_due()
        return len(expired)

    def _sweep_if_time(self) -> None:
        minutes = (self.ttl_config or {}).get("sweep_interval_minutes")
        if minutes is not None and abs(self._clock() - self._swept) >= 60 * minutes:  # the clock may be set back
            self.sweep_ttl()


def _check(op: Op) -> None:
    """Refuse what the file cannot hold before anything is written. Raises `InputError`."""
    if isinstance(op, GetOp | PutOp):
        require_text(op.key, "the key")
        to_json(tuple(op.namespace))
    if isinstance(op, PutOp) and op.value is not None:
        to_json(op.value)


def _expired(row: Row, now: float) -> bool:
    return row.expires is not None and row.expires <= now


def _fields(row: Row) -> dict[str, Any]:
    return {
        "namespace": row.namespace,
        "key": row.key,
        "value": row.value,
        "created_at": datetime.fromtimestamp(row.created, UTC),
        "updated_at": datetime.fromtimestamp(row.updated, UTC),
    }
