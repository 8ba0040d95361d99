"""Quarantine endpoints: list texts that instruct the model (scope read), approve or reject them (scope admin).

Not here: detecting them (`safety.injection`), the other endpoints (`memory_api`).
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from seal_memory._internal.jsonable import jsonable
from seal_memory.server.auth import AdminCaller, ReadCaller
from seal_memory.server.memory_api import in_memory
from seal_memory.server.memory_schemas import ReviewRequest

router = APIRouter(prefix="/v1/memory/quarantine", tags=["memory"])


@router.get("")
async def quarantine(request: Request, caller: ReadCaller, rejected: bool = False) -> dict[str, Any]:
    """Interactions that wait for a decision, with reasons; or the rejected ones."""
    held = await in_memory(request, caller, lambda memory: memory.quarantine(rejected=rejected))
    return {"rejected" if rejected else "quarantined": jsonable(held)}


@router.post("/approve")
async def approve(request: Request, body: ReviewRequest, caller: AdminCaller) -> dict[str, Any]:
    """Approve interactions: the next consolidation learns them. All or none."""
    done = await in_memory(request, caller, lambda memory: memory.approve(body.ids, reason=body.reason))
    return {"approved": jsonable(done)}


@router.post("/reject")
async def reject(request: Request, body: ReviewRequest, caller: AdminCaller) -> dict[str, Any]:
    """Reject interactions: they stay on record and are never learned. All or none."""
    done = await in_memory(request, caller, lambda memory: memory.reject(body.ids, reason=body.reason))
    return {"rejected": jsonable(done)}
