"""Health endpoints: liveness, readiness, Prometheus metrics.

Liveness and readiness need no key and reveal nothing else. Not here: the counters (`metrics`).
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from seal_memory.errors import SealMemoryError
from seal_memory.server.auth import ReadCaller
from seal_memory.server.state import server_of

router = APIRouter(tags=["health"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Liveness: the process answers."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"description": "Still loading, stopping, or unable to read the ledger."}})
async def readyz(request: Request) -> Response:
    """Readiness: the model is loaded (or its server answers), the ledger is readable, the server is not stopping."""
    server = server_of(request)
    loaded = await server.in_thread(lambda: server.pool.loaded)
    checks: dict[str, Any] = {"model": loaded, "running": not server.stopping.is_set()}
    try:
        await server.in_thread(server.pool.names)
        checks["ledger"] = True
    except SealMemoryError:
        checks["ledger"] = False
    ready = all(checks.values())
    return JSONResponse({"status": "ready" if ready else "not ready", **checks}, 200 if ready else 503)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, caller: ReadCaller) -> Response:
    """Metrics in Prometheus' text format, without namespaces."""
    server = server_of(request)
    server.metrics.open.set(len(server.pool.open_names))
    return Response(server.metrics.text(), media_type=CONTENT_TYPE_LATEST)
