"""The core on its way into the published memory: trained over all that is published, judged, put beside the shards.

Not here: what the core is trained on and judged by (`core`), the lease (`training`).
"""

from __future__ import annotations

from collections.abc import Callable

from seal_memory.learning import core as core_room
from seal_memory.learning.candidates import Candidates, candidate_id
from seal_memory.learning.gate import Verdict
from seal_memory.learning.publishing import Publisher
from seal_memory.ledger import Ledger
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.records import AdapterKind, Decision, SelfEdit, Snapshot


class Sleeper:
    """Works over one memory's published shards; `heartbeat` renews the lease and raises `BusyError` when it is lost."""

    def __init__(self, candidates: Candidates, publisher: Publisher, *, heartbeat: Callable[[], None]) -> None:
        self.candidates, self.publisher, self.heartbeat = candidates, publisher, heartbeat
        self.engine, self.settings = candidates.engine, candidates.settings

    @property
    def ledger(self) -> Ledger:
        return self.candidates.ledger

    def build_core(self) -> Decision | None:
        """Train the core, judge it, and publish it if it passes; None where nothing is published to train it on."""
        current = self.ledger.current()
        if current is None or not current.manifest.shards:
            return None
        edit = core_room.core_edit(self.ledger, current.manifest, self.candidates)
        self.ledger.add_self_edits([edit])
        core = core_room.train_core(edit, self.candidates)
        verdict = core_room.judge_core(edit, core, self.ledger, self.candidates)
        return self._commit_core(edit, core, verdict, current)

    def _commit_core(self, edit: SelfEdit, core: LoraAdapter, verdict: Verdict, current: Snapshot) -> Decision:
        record = self.publisher.store(edit, core, AdapterKind.CORE) if verdict.accepted else None
        with self.ledger.atomic():
            self.heartbeat()
            version = None
            if record is not None:
                self.ledger.add_adapter(record)
                manifest = core_room.with_core(current.manifest, record.id)
                version = self.ledger.add_snapshot(
                    manifest, parent=current.version, base_fingerprint=self.engine.fingerprint, note="core"
                ).version
            decision = self._decision(edit, record.id if record is not None else None, verdict, version)
        self.engine.drop(candidate_id(edit))
        return decision

    def _decision(self, edit: SelfEdit, adapter_id: str | None, verdict: Verdict, version: int | None) -> Decision:
        """The verdict, on record."""
        made = Decision(
            self.candidates.make_id(),
            adapter_id,
            edit.episode_id,
            verdict.accepted,
            verdict.reasons,
            verdict.measures,
            version,
            self.candidates.clock(),
        )
        self.ledger.add_decision(made)
        return made
