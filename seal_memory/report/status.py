"""Status of a memory: counts, sizes, the published version, and the background trainer's queue.

Not here: showing it (`cli`), and the report page (`page`).
"""

from __future__ import annotations

from pathlib import Path

from seal_memory.learning.pruning import needed
from seal_memory.ledger import Ledger
from seal_memory.records import JobState, Status
from seal_memory.results import MemoryStatus

WAITING = (JobState.QUEUED, JobState.RUNNING, JobState.FAILED)


def memory_status(ledger: Ledger, folder: Path, model: str, *, now: float) -> MemoryStatus:
    """Collect the status at the time `now` (Unix seconds); needs no model."""
    current = ledger.current()
    counts = {status.value: 0 for status in Status}
    counts.update({s.value: n for s, n in ledger.counts().items()})
    audits = ledger.audits.due()
    versions = ledger.policy.versions()
    files = needed(ledger)  # a pruned adapter has a record and no file
    return MemoryStatus(
        folder=str(folder),
        namespace=ledger.namespace,
        model=model,
        version=current.version if current else None,
        versions=len(ledger.history()),
        shards=len(current.manifest.shards) if current else 0,
        core=current.manifest.core if current else None,
        interactions=counts,
        quiz_items=len(ledger.quiz_items()),
        adapter_bytes=sum(a.bytes for a in ledger.adapters() if a.id in files),
        queue=tuple(reversed(ledger.queue.jobs(states=WAITING))),
        dead=tuple(ledger.queue.jobs(states=[JobState.DEAD])),
        note_writer=next((v.version for v in reversed(versions) if v.promoted and v.adapter_id is not None), None),
        policy_versions=len(versions),
        arms_tried=len(ledger.policy.arm_rewards()),
        audits_due=sum(a.due <= now for a in audits),
        next_audit=min((a.due for a in audits), default=None),
    )
