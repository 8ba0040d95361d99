"""Results of `SealMemory.correct`, `export` and `status`. No behaviour. Not here: the ledger's records (`records`)."""

from __future__ import annotations

from dataclasses import dataclass

from seal_memory.records import QueuedJob, Status


@dataclass(frozen=True, slots=True)
class Correction:
    """Result of `correct`: the old and new interaction, and the adapters and snapshots that were removed.

    `status` and `reason` are the new interaction's: a correction may be quarantined, too. `still_served`: as in
    `ForgetReport`.
    """

    old_id: str
    new_id: str
    adapters: tuple[str, ...]
    snapshots: tuple[int, ...]
    status: Status
    reason: str | None
    still_served: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of `export`: the folder, and the names written into it, relative to it."""

    folder: str
    version: int
    merged: bool
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """Result of `status`: counts and sizes. `interactions` maps each status to its count.

    `queue`: background jobs that wait or run, oldest first; `dead`: those given up, newest first, with their reasons.
    """

    folder: str
    namespace: str
    model: str
    version: int | None
    versions: int
    shards: int
    core: str | None
    interactions: dict[str, int]
    quiz_items: int
    adapter_bytes: int
    queue: tuple[QueuedJob, ...]
    dead: tuple[QueuedJob, ...]
    note_writer: int | None  # the policy version that writes notes; None: the untouched model
    policy_versions: int
    arms_tried: int
    audits_due: int
    next_audit: float | None  # Unix seconds
