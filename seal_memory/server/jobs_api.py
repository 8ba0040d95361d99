"""Background jobs over HTTP: ask for a consolidation, look at jobs, follow one while it works.

The jobs wait in the ledger, so any trainer may do them: this process's, or a `seal-memory worker`.
Not here: doing them (`pool_trainer`, `worker`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from seal_memory._internal.jsonable import jsonable
from seal_memory.errors import SealMemoryError
from seal_memory.memory import SealMemory
from seal_memory.records import JobState, QueuedJob
from seal_memory.server.auth import Administering, Caller, Reading
from seal_memory.server.memory_api import in_memory
from seal_memory.server.memory_schemas import Consolidation
from seal_memory.server.state import server_of
from seal_memory.server.streaming import event, failed
from seal_memory.training.worker import CONSOLIDATE, PRIORITY

router = APIRouter(prefix="/v1/memory", tags=["jobs"])

LOOK = 0.2  # seconds between two looks at a job that is followed
LONGEST = 3600.0  # seconds that one is followed
_ENDED = (JobState.DONE, JobState.DEAD)


@router.post("/consolidate", status_code=202)
async def consolidate(request: Request, body: Consolidation, caller: Administering) -> Response:
    """Ask for everything pending to be learned; answers at once with the job, or the equal one that waits."""
    job = await in_memory(request, caller, lambda memory: _enqueued(memory, body.core))
    trainer = server_of(request).trainer
    if trainer is not None:
        trainer.wake()
    headers = {"Location": f"/v1/memory/jobs/{job.id}"}
    return JSONResponse({"job": _view(job)}, status_code=202, headers=headers)


def _enqueued(memory: SealMemory, core: bool) -> QueuedJob:
    waiting = memory.ledger.queue.jobs(states=[JobState.QUEUED, JobState.FAILED])
    equal = [j for j in waiting if j.kind == CONSOLIDATE and (not core or j.payload.get("core"))]
    if equal:
        return equal[-1]
    payload = {"core": True} if core else {}
    return memory.ledger.queue.enqueue_job(CONSOLIDATE, payload, priority=PRIORITY[CONSOLIDATE])


@router.get("/jobs")
async def jobs(request: Request, caller: Reading, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> dict[str, Any]:
    """The namespace's jobs, newest first."""
    found = await in_memory(request, caller, lambda memory: memory.ledger.queue.jobs(limit=limit))
    return {"jobs": [_view(j) for j in found]}


@router.get("/jobs/{job_id}")
async def job(request: Request, job_id: str, caller: Reading) -> dict[str, Any]:
    """One job as it is now."""
    return {"job": _view(await _job(request, caller, job_id))}


@router.get("/jobs/{job_id}/events", response_class=StreamingResponse)
async def job_events(request: Request, job_id: str, caller: Reading) -> Response:
    """Follow a job by server-sent events: `state` when it changes, `progress` while it works, `end`."""
    first = await _job(request, caller, job_id)
    return StreamingResponse(_follow(request, caller, first), media_type="text/event-stream")


async def _follow(request: Request, caller: Caller, found: QueuedJob) -> AsyncIterator[bytes]:
    server, end = server_of(request), asyncio.get_running_loop().time() + LONGEST
    shown: JobState | None = None
    done: object = None
    while True:
        if found.state is not shown:
            shown = found.state
            yield event({"job": _view(found)}, "state")
        doing = server.doing.get(caller.namespace) if found.state is JobState.RUNNING else None
        if doing is not None and doing != done:
            done = doing
            yield event({"phase": doing[0], "done": doing[1], "total": doing[2]}, "progress")
        if shown in _ENDED or server.stopping.is_set() or asyncio.get_running_loop().time() > end:
            break
        await asyncio.sleep(LOOK)
        try:
            found = await _job(request, caller, found.id)
        except SealMemoryError as error:
            yield failed(error, request.state.request_id)
            return
    yield event({"job": _view(found)}, "end")


async def _job(request: Request, caller: Caller, job_id: str) -> QueuedJob:
    return await in_memory(request, caller, lambda memory: memory.ledger.queue.job(job_id))


def _view(job: QueuedJob) -> dict[str, Any]:
    """A job without its owner, which names a machine and a process."""
    told: dict[str, Any] = jsonable(job)
    del told["owner"]
    return told
