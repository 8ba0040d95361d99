"""Read-only endpoints for browsing: access rights, interactions page by page, sessions, preview of a forget.

Not here: the memory's verbs (`memory_api`), adapters and decisions (`learned_api`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from seal_memory import __version__
from seal_memory._internal.jsonable import jsonable
from seal_memory.forgetting.consequences import consequences
from seal_memory.forgetting.edits import ids_to_forget
from seal_memory.ledger.browsing import InteractionRow
from seal_memory.memory import SealMemory
from seal_memory.records import Role, Status
from seal_memory.server.auth import ReadCaller
from seal_memory.server.keys import SCOPES
from seal_memory.server.memory_api import in_memory
from seal_memory.server.memory_schemas import ForgetRequest
from seal_memory.server.state import server_of

router = APIRouter(prefix="/v1/memory", tags=["memory"])

StatusName = Literal["pending", "learned", "skipped", "refused", "superseded", "quarantined", "rejected"]
RoleName = Literal["user", "assistant", "system", "tool", "document"]
Words = Annotated[str, Query(max_length=1000, description="words that must all occur in the text or the title")]
Statuses = Annotated[list[StatusName] | None, Query(max_length=7)]
Ids = Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]] | None, Query(max_length=100)]
Name = Annotated[str | None, Query(min_length=1, max_length=200)]


@router.get("/access")
async def access(request: Request, caller: ReadCaller) -> dict[str, Any]:
    """The request's namespace, the other namespaces open to it, and its scopes."""
    server = server_of(request)
    if caller.key is None:
        known = await server.in_thread(server.pool.names)
        names = sorted({*known, server.namespace, caller.namespace})
    else:
        names = list(caller.key.namespaces)
    return {
        "namespace": caller.namespace,
        "namespaces": names,
        "scopes": [s for s in SCOPES if caller.allows(s)],
        "key": caller.key.id if caller.key is not None else None,
        "model": server.name,
        "mode": server.mode,
        "trains": server.trainer is not None,
        "version": __version__,
    }


@router.get("/interactions")
async def interactions(
    request: Request,
    caller: ReadCaller,
    words: Words = "",
    id: Ids = None,
    status: Statuses = None,
    role: RoleName | None = None,
    session: Name = None,
    source: Name = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    offset: Annotated[int, Query(ge=0, lt=1 << 40)] = 0,
) -> dict[str, Any]:
    """Recorded interactions that match the filters, newest first, each with its status and shard."""

    def verb(memory: SealMemory) -> dict[str, Any]:
        found = memory.ledger.browsing.interactions(
            words,
            ids=id,
            status=[Status(s) for s in status or ()],
            role=Role(role) if role is not None else None,
            session=session,
            source=source,
            limit=limit,
            offset=offset,
        )
        shards = _shards(memory)
        return {"total": found.total, "offset": offset, "items": [_row(one, shards) for one in found.items]}

    return await in_memory(request, caller, verb)


def _shards(memory: SealMemory) -> dict[str, str]:
    """Interaction id -> the published shard that holds it."""
    current = memory.ledger.current()
    return {i: s.adapter_id for i, s in current.manifest.holders.items()} if current else {}


def _row(one: InteractionRow, shards: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = jsonable(one.interaction)
    del fields["content_hash"]
    return {**fields, "superseded_by": one.superseded_by, "shard": shards.get(one.interaction.id)}


@router.get("/sessions")
async def sessions(request: Request, caller: ReadCaller) -> dict[str, Any]:
    """Sessions with their number of interactions, the latest first; at most 200."""
    found = await in_memory(request, caller, lambda memory: memory.ledger.browsing.sessions())
    return {"sessions": [{"session": name, "interactions": count} for name, count in found]}


@router.post("/forget/preview")
async def forget_preview(request: Request, body: ForgetRequest, caller: ReadCaller) -> dict[str, Any]:
    """Preview of a forget: what it would destroy, and which interactions would be learned again. Changes nothing."""
    found: dict[str, Any] = jsonable(await in_memory(request, caller, lambda memory: _preview(memory, body)))
    return found


def _preview(memory: SealMemory, body: ForgetRequest) -> Any:
    ledger = memory.ledger
    return consequences(ledger, ids_to_forget(ledger, body.ids, session=body.session, source=body.source))
