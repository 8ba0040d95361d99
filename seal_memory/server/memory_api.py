"""The memory API: observe, ask, recall, quiz, correct, forget, history, rollback, status, retention.

Each endpoint is one verb of `SealMemory` in the caller's namespace. Not here: background jobs (`jobs_api`), exports
(`export_api`), chats (`chat`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request

from seal_memory._internal.jsonable import fields_of, jsonable
from seal_memory.forgetting import retention
from seal_memory.intake.blocks import flatten_blocks
from seal_memory.intake.cleaning import clean_messages
from seal_memory.memory import SealMemory
from seal_memory.records import Audit, Observed, Snapshot
from seal_memory.report.names import episode_names
from seal_memory.server.auth import AdminCaller, Caller, ObserveCaller, ReadCaller
from seal_memory.server.memory_schemas import (
    AskRequest,
    CorrectRequest,
    ForgetRequest,
    ObserveBatchRequest,
    ObserveRequest,
    QuizRequest,
    RecallRequest,
    RollbackRequest,
)
from seal_memory.server.state import server_of

router = APIRouter(prefix="/v1/memory", tags=["memory"])

T = TypeVar("T")


async def in_memory(
    request: Request, caller: Caller, verb: Callable[[SealMemory], T], *, uses_model: bool = False, rows: int = 1
) -> T:
    """Run a verb in a thread, in the caller's namespace.

    `uses_model`: hold a request slot meanwhile, and `rows` of the key's share of the model's batch.
    """
    server = server_of(request)

    def run() -> T:
        with server.pool.memory(caller.namespace) as memory:
            return verb(memory)

    if not uses_model:
        return await server.in_thread(run)

    def run_with_model() -> T:
        with server.shares.rows(caller.id, rows):
            return run()

    with server.slots.slot(caller.id):
        return await server.in_thread(run_with_model)


# -- observe ------------------------------------------------------------------------------------------


@router.post("/observe")
async def observe(request: Request, body: ObserveRequest, caller: ObserveCaller) -> dict[str, Any]:
    """Record one text. Returns for each chunk whether it is new, and its status."""
    seen = await in_memory(request, caller, lambda memory: _observe(memory, body))
    return {"observed": jsonable(seen)}


@router.post("/observe/batch")
async def observe_batch(request: Request, body: ObserveBatchRequest, caller: ObserveCaller) -> dict[str, Any]:
    """Record several texts, or the messages of a conversation, all or none.

    Messages are cleaned as in a chat, and what holds nothing readable is left out: the answer counts both.
    """
    found = clean_messages(flatten_blocks(body.messages))

    def verb(memory: SealMemory) -> list[Observed]:
        if body.messages:
            return memory.observe_messages(found.messages, source=body.source, session=body.session)
        with memory.ledger.atomic():
            return [seen for item in body.items for seen in _observe(memory, item)]

    seen = await in_memory(request, caller, verb)
    return {"observed": jsonable(seen), "cleaned": found.changed, "skipped": found.skipped}


def _observe(memory: SealMemory, item: ObserveRequest) -> list[Observed]:
    return memory.observe(
        item.text,
        role=item.role,
        source=item.source,
        session=item.session,
        title=item.title,
        time=item.time,
        metadata=item.metadata,
    )


# -- ask ----------------------------------------------------------------------------------------------


@router.post("/ask")
async def ask(request: Request, body: AskRequest, caller: ReadCaller) -> dict[str, Any]:
    """Answer one or several questions, with the origin of each answer. Records nothing."""

    def verb(memory: SealMemory) -> Any:
        return memory.ask(list(body.question), mode=body.mode, max_tokens=body.token_limit)

    found = await in_memory(request, caller, verb, uses_model=True, rows=len(body.question))
    return {"answers": jsonable(found)}


@router.post("/recall")
async def recall(request: Request, body: RecallRequest, caller: ReadCaller) -> dict[str, Any]:
    """The interactions that match a query best. Needs no model."""
    hits = await in_memory(request, caller, lambda memory: memory.recall(body.query, limit=body.limit))
    return {"hits": [{**jsonable(h.interaction), "score": jsonable(h.score)} for h in hits]}


@router.post("/quiz")
async def quiz(request: Request, body: QuizRequest, caller: ReadCaller) -> dict[str, Any]:
    """Ask the held-out questions and report recall."""
    report = await in_memory(
        request, caller, lambda memory: memory.quiz(mode=body.mode, limit=body.limit), uses_model=True
    )
    asked = [{"id": i.id, "question": i.question, "expected": i.answer, "answer": jsonable(a)} for i, a in report.items]
    return {**jsonable({k: v for k, v in fields_of(report).items() if k != "items"}), "items": asked}


# -- correct, forget, versions ------------------------------------------------------------------------


@router.post("/correct")
async def correct(request: Request, body: CorrectRequest, caller: AdminCaller) -> dict[str, Any]:
    """Replace an interaction's text; adapters trained on the old wording are destroyed."""
    return _record(await in_memory(request, caller, lambda memory: memory.correct(body.id, body.text)))


@router.post("/forget")
async def forget(request: Request, body: ForgetRequest, caller: AdminCaller) -> dict[str, Any]:
    """Destroy interactions and everything derived from them; returns a report."""

    recorder = server_of(request).recorder

    def verb(memory: SealMemory) -> Any:
        recorder.record_waiting()  # or what waits for the ledger would come back
        return memory.forget(body.ids, session=body.session, source=body.source)

    done = await in_memory(request, caller, verb, uses_model=True)
    return {**_record(done), "left": done.left}


@router.get("/history")
async def history(request: Request, caller: ReadCaller) -> dict[str, Any]:
    """Published versions, newest first, and the current one."""
    versions, current = await in_memory(request, caller, lambda memory: (memory.history(), memory.ledger.current()))
    return {"current": current.version if current else 0, "versions": [_version(s) for s in versions]}


def _version(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "version": snapshot.version,
        "parent": snapshot.parent,
        "created": snapshot.created,
        "shards": [s.adapter_id for s in snapshot.manifest.shards],
        "interactions": len(snapshot.manifest.holders),
        "core": snapshot.manifest.core,
        "base_fingerprint": snapshot.base_fingerprint,
        "note": snapshot.note,
    }


@router.post("/rollback")
async def rollback(request: Request, body: RollbackRequest, caller: AdminCaller) -> dict[str, Any]:
    """Publish an earlier version again; 0 is the untouched base."""
    snapshot = await in_memory(request, caller, lambda memory: memory.rollback(body.version))
    return {"version": snapshot.version if snapshot else 0, "shards": len(snapshot.manifest.shards) if snapshot else 0}


@router.get("/status")
async def status(request: Request, caller: ReadCaller) -> dict[str, Any]:
    """Counts, published version, sizes, and the job queue."""
    found = await in_memory(request, caller, lambda memory: memory.status())
    body = _record(found)
    del body["folder"]  # paths stay on the server
    for job in (*body["queue"], *body["dead"]):
        del job["owner"]
    return {**body, "model": server_of(request).name}


@router.get("/retention")
async def retained(request: Request, caller: ReadCaller) -> dict[str, Any]:
    """Audit results: recall by memory and time, names, backward transfer, and the forgetting curve."""

    def verb(memory: SealMemory) -> tuple[list[Audit], dict[str, str]]:
        return memory.ledger.audits.results(), episode_names(memory.ledger)

    audits, names = await in_memory(request, caller, verb)
    known = {a.episode_id for a in audits}
    return {
        "matrix": jsonable(retention.retention_matrix(audits)),
        "names": {memory: name for memory, name in names.items() if memory in known},
        "backward_transfer": retention.transfer(audits),
        "forgetting": retention.forgetting_by_memory(audits),
        "curve": [{"asked_again": k, "change": change} for k, change in retention.kept_by_age(audits)],
    }


def _record(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = jsonable(value)
    return found
