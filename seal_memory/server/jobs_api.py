"""Background jobs over HTTP: queue a consolidation, list jobs, follow one by server-sent events.

Jobs are stored in the ledger, so this process's trainer or a `seal-memory worker` may run them.
Not here: running them (`pool_trainer`, `training.worker`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from seal_memory._internal.jsonable import jsonable
from seal_memory.errors import SealMemoryError
from seal_memory.memory import SealMemory
from seal_memory.records import JobState, QueuedJob
from seal_memory.server.auth import AdminCaller, Caller, ReadCaller, revoked
from seal_memory.server.memory_api import in_memory
from seal_memory.server.memory_schemas import ConsolidateRequest
from seal_memory.server.state import server_of
from seal_memory.server.streaming import error_event, event
from seal_memory.training.worker import CONSOLIDATE, PRIORITY

router = APIRouter(prefix="/v1/memory", tags=["jobs"])

POLL_SECONDS = 0.2  # between two reads of a followed job
MAX_FOLLOW_SECONDS = 3600.0
_ENDED = (JobState.DONE, JobState.DEAD)


@router.post("/consolidate", status_code=202)
async def consolidate(request: Request, body: ConsolidateRequest, caller: AdminCaller) -> Response:
    """Queue a consolidation of everything pending; returns at once with the job, or an equal one already queued."""
    job = await in_memory(request, caller, lambda memory: _enqueue(memory, body.core))
    server = server_of(request)
    if server.trainer is not None:
        server.trainer.wake()
    headers = {"Location": f"{server.root_path}/v1/memory/jobs/{job.id}"}
    return JSONResponse({"job": _view(job)}, status_code=202, headers=headers)


def _enqueue(memory: SealMemory, core: bool) -> QueuedJob:
    waiting = memory.ledger.queue.jobs(states=[JobState.QUEUED, JobState.FAILED])
    equal = [j for j in waiting if j.kind == CONSOLIDATE and (not core or j.payload.get("core"))]
    if equal:
        return equal[-1]
    payload = {"core": True} if core else {}
    return memory.ledger.queue.enqueue_job(CONSOLIDATE, payload, priority=PRIORITY[CONSOLIDATE])


@router.get("/jobs")
async def jobs(
    request: Request, caller: ReadCaller, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> dict[str, Any]:
    """The namespace's jobs, newest first."""
    found = await in_memory(request, caller, lambda memory: memory.ledger.queue.jobs(limit=limit))
    return {"jobs": [_view(j) for j in found]}


@router.get("/jobs/{job_id}")
async def job(request: Request, job_id: str, caller: ReadCaller) -> dict[str, Any]:
    """One job's current state."""
    return {"job": _view(await _job(request, caller, job_id))}


@router.get("/jobs/{job_id}/events", response_class=StreamingResponse)
async def job_events(request: Request, job_id: str, caller: ReadCaller) -> Response:
    """Follow a job by server-sent events: `state` on a change, `progress` while it runs, `end`."""
    first = await _job(request, caller, job_id)
    return StreamingResponse(_follow(request, caller, first), media_type="text/event-stream")


async def _follow(request: Request, caller: Caller, found: QueuedJob) -> AsyncIterator[bytes]:
    server, end = server_of(request), asyncio.get_running_loop().time() + MAX_FOLLOW_SECONDS
    shown: JobState | None = None
    sent: object = None
    while True:
        if found.state is not shown:
            shown = found.state
            yield event({"job": _view(found)}, "state")
        progress = server.progress.get(caller.namespace) if found.state is JobState.RUNNING else None
        if progress is not None and progress != sent:
            sent = progress
            yield event({"phase": progress[0], "done": progress[1], "total": progress[2]}, "progress")
        if shown in _ENDED or server.stopping.is_set() or asyncio.get_running_loop().time() > end:
            break
        await asyncio.sleep(POLL_SECONDS)
        try:
            if not await server.in_thread(partial(caller.is_valid, server.keys)):
                raise revoked()
            found = await _job(request, caller, found.id)
        except SealMemoryError as error:
            yield error_event(error, request.state.request_id)
            return
    yield event({"job": _view(found)}, "end")


async def _job(request: Request, caller: Caller, job_id: str) -> QueuedJob:
    return await in_memory(request, caller, lambda memory: memory.ledger.queue.job(job_id))


def _view(job: QueuedJob) -> dict[str, Any]:
    """A job's fields without `owner`, which names a machine and a process."""
    fields: dict[str, Any] = jsonable(job)
    del fields["owner"]
    return fields
