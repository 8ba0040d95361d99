"""Export endpoint: the published adapters as a streamed zip of PEFT folders. File names come from the ledger alone.

Not here: the contents of an export (`runtime.export`), merged models (`seal-memory export --merged`).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from seal_memory.errors import InputError
from seal_memory.lora.store import AdapterStore
from seal_memory.memory import SealMemory
from seal_memory.records import Snapshot
from seal_memory.runtime.export import adapter_files
from seal_memory.server.auth import AdminCaller, Caller, revoked
from seal_memory.server.chat import SNAPSHOT_HEADER
from seal_memory.server.errors import ApiError
from seal_memory.server.memory_api import in_memory
from seal_memory.server.state import Server, server_of

router = APIRouter(prefix="/v1/memory", tags=["memory"])


@router.get("/export", response_class=StreamingResponse)
async def export(request: Request, caller: AdminCaller) -> Response:
    """Download the published version as a zip: each adapter as a PEFT folder, and manifest.json.

    If a file turns out damaged or is forgotten meanwhile, or the key is revoked, the transfer breaks off and the zip
    is incomplete.
    """
    server = server_of(request)
    snapshot, store = await in_memory(request, caller, partial(_exportable, server))
    files = _while_valid(adapter_files(snapshot, store, base_model=server.name), server, caller)
    name = f"seal-memory-v{snapshot.version}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', SNAPSHOT_HEADER: str(snapshot.version)}
    return StreamingResponse(zip_stream(files), media_type="application/zip", headers=headers)


def _while_valid(files: Iterable[tuple[str, bytes]], server: Server, caller: Caller) -> Iterator[tuple[str, bytes]]:
    """The files; breaks off once the caller's key is revoked."""
    for file in files:
        if not caller.is_valid(server.keys):
            raise revoked()
        yield file


def _exportable(server: Server, memory: SealMemory) -> tuple[Snapshot, AdapterStore]:
    snapshot = memory.published(verify=True)
    if snapshot is None:
        raise InputError("Nothing is published yet, so there is nothing to export; consolidate first.")
    size = sum(a.bytes for a in memory.ledger.adapters(ids=snapshot.manifest.adapter_ids))
    if size > server.limits.export_bytes:
        raise ApiError(
            413, "too_large", f"This export has {size:,} bytes; the server's limit is {server.limits.export_bytes:,}."
        )
    return snapshot, memory.store


def zip_stream(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Stream (name, content) pairs as an uncompressed zip (weights do not shrink), one file in memory at a time."""
    sink = _Buffer()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content)
            yield sink.drain()
    yield sink.drain()


class _Buffer(io.RawIOBase):
    """A write-only buffer that `drain` empties; not seekable."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def drain(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
