"""Read-only endpoints for the results of learning: adapters, publish decisions, edit policy, charts.

Not here: versions and rollback (`memory_api`), jobs (`jobs_api`), drawing (`report.charts`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from seal_memory._internal.jsonable import jsonable
from seal_memory.forgetting import retention
from seal_memory.ledger import Ledger
from seal_memory.memory import SealMemory
from seal_memory.records import AdapterRecord, Decision, PolicyVersion
from seal_memory.report import charts
from seal_memory.report import policy as policy_report
from seal_memory.report.names import episode_names
from seal_memory.server.auth import ReadCaller
from seal_memory.server.memory_api import in_memory

router = APIRouter(prefix="/v1/memory", tags=["memory"])

Limit = Annotated[int, Query(ge=1, le=1000)]
Picture = Literal["retention", "curve", "lineage", "policy"]


@router.get("/adapters")
async def adapters(request: Request, caller: ReadCaller, limit: Limit = 200) -> dict[str, Any]:
    """Trained adapters on record, newest first, each with its interactions and whether it is published."""
    return {"adapters": await in_memory(request, caller, lambda memory: _adapters(memory.ledger, limit))}


def _adapters(ledger: Ledger, limit: int) -> list[dict[str, Any]]:
    current, names = ledger.current(), episode_names(ledger)
    published = set(current.manifest.adapter_ids) if current is not None else set()
    return [_adapter(a, names, a.id in published) for a in ledger.adapters()[: -limit - 1 : -1]]


def _adapter(record: AdapterRecord, names: dict[str, str], published: bool) -> dict[str, Any]:
    return {
        "id": record.id,
        "kind": record.kind.value,
        "name": names.get(record.episode_id or ""),
        "interactions": list(record.interaction_ids),
        "rank": jsonable(record.config.get("rank")),
        "bytes": record.bytes,
        "created": record.created,
        "published": published,
    }


@router.get("/decisions")
async def decisions(request: Request, caller: ReadCaller, limit: Limit = 50) -> dict[str, Any]:
    """Decisions of the publish gate with their reasons, newest first."""

    def verb(memory: SealMemory) -> list[dict[str, Any]]:
        names = episode_names(memory.ledger)
        return [_decision(d, names) for d in memory.ledger.decisions(limit)]

    return {"decisions": await in_memory(request, caller, verb)}


def _decision(decision: Decision, names: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = jsonable(decision)
    return {**fields, "name": names.get(decision.episode_id or "")}


@router.get("/policy")
async def policy(request: Request, caller: ReadCaller) -> dict[str, Any]:
    """The edit policy: its versions with their verdicts, and each arm's mean reward."""
    return await in_memory(request, caller, lambda memory: _policy(memory.ledger))


def _policy(ledger: Ledger) -> dict[str, Any]:
    return {
        "summary": policy_report.lead(ledger),
        "versions": [_policy_version(v) for v in reversed(ledger.policy.versions())],
        "arms": [
            {"arm": arm, "tried": tried, "mean_reward": jsonable(mean)}
            for arm, tried, mean in policy_report.arm_means(ledger)
        ],
    }


def _policy_version(version: PolicyVersion) -> dict[str, Any]:
    measured: dict[str, Any] = jsonable(version.measures)
    return {
        "version": version.version,
        "parent": version.parent,
        "round": measured.get("round"),
        "reward_old": measured.get("reward_old"),
        "reward_new": measured.get("reward_new"),
        "verdict": policy_report.verdict(version),
        "reasons": list(version.reasons),
        "created": version.created,
    }


@router.get("/pictures/{picture}")
async def picture(request: Request, picture: Picture, caller: ReadCaller) -> dict[str, Any]:
    """A chart of the report as SVG text without colours; null while there is nothing to draw."""
    return {"svg": await in_memory(request, caller, lambda memory: _PICTURES[picture](memory.ledger))}


def _heat_map(ledger: Ledger) -> str | None:
    audits = ledger.audits.results()
    if not audits:
        return None
    matrix, names = retention.retention_matrix(audits), episode_names(ledger)
    return charts.heat_map(matrix, [names.get(m, m) for m in matrix.memories])


def _curve(ledger: Ledger) -> str | None:
    points = retention.kept_by_age(ledger.audits.results())
    return charts.curve(points) if len(points) > 1 else None


def _lineage(ledger: Ledger) -> str | None:
    history, current = ledger.history(), ledger.current()
    return charts.lineage(history, current.version if current else 0) if history else None


_PICTURES: dict[Picture, Callable[[Ledger], str | None]] = {
    "retention": _heat_map,
    "curve": _curve,
    "lineage": _lineage,
    "policy": lambda ledger: policy_report.picture(ledger) or None,
}
