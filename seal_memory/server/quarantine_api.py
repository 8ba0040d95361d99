"""What instructs the model and waits for a person: listed for readers, decided by administrators.

Not here: how texts are found (`safety.injection`), and the rest of the API (`memory_api`).
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from seal_memory._internal.jsonable import jsonable
from seal_memory.server.auth import Administering, Reading
from seal_memory.server.memory_api import in_memory
from seal_memory.server.memory_schemas import Reviewing

router = APIRouter(prefix="/v1/memory/quarantine", tags=["memory"])


@router.get("")
async def quarantine(request: Request, caller: Reading, rejected: bool = False) -> dict[str, Any]:
    """What waits for a decision, with its reason; or what was rejected."""
    held = await in_memory(request, caller, lambda memory: memory.quarantine(rejected=rejected))
    return {"rejected" if rejected else "quarantined": jsonable(held)}


@router.post("/approve")
async def approve(request: Request, body: Reviewing, caller: Administering) -> dict[str, Any]:
    """Let them be learned by the next consolidation; all or none."""
    done = await in_memory(request, caller, lambda memory: memory.approve(body.ids, reason=body.reason))
    return {"approved": jsonable(done)}


@router.post("/reject")
async def reject(request: Request, body: Reviewing, caller: Administering) -> dict[str, Any]:
    """Keep them on record and out for good; all or none."""
    done = await in_memory(request, caller, lambda memory: memory.reject(body.ids, reason=body.reason))
    return {"rejected": jsonable(done)}
