"""Trainer: consolidates, sleeps and refines the policy of one memory, under the namespace's lease.

The published snapshot is verified first. Not here: the work itself (`learning`, `sleep`, `policy`), its schedule
(`worker`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from seal_memory.engines.profile import suited
from seal_memory.errors import ChangedError, CorruptAdapterError, UnknownIdError
from seal_memory.learning.consolidate import ConsolidateReport, Consolidator, reopen
from seal_memory.learning.pruning import needed, prune_snapshots
from seal_memory.learning.workbench import Workbench
from seal_memory.ledger.leases import lease
from seal_memory.policy.arms import best_arm
from seal_memory.policy.refining import Refiner, RefineReport
from seal_memory.policy.rest_em import RoundPlan
from seal_memory.policy.versions import NoteWriters
from seal_memory.records import Manifest
from seal_memory.runtime.loading import SnapshotGuard
from seal_memory.sleep.sleeper import Sleeper, SleepReport


@contextmanager
def leased(bench: Workbench, guard: SnapshotGuard) -> Iterator[Trainer]:
    """The trainer of a memory, under its lease.

    Raises `BusyError` while another process trains it, `ChangedError` where a forget or correction took away what the
    work needs, or a published adapter turned out damaged: it is to be started again.
    """
    with lease(bench.ledger, "consolidate") as heartbeat:
        guard.usable()  # nothing is built on a damaged snapshot
        bench.routers(Manifest(), bench.ledger)  # a missing router model fails here, before anything is trained
        edits = bench.ledger.edits()
        try:
            yield Trainer(bench.under_lease(heartbeat))
        except (UnknownIdError, CorruptAdapterError) as error:
            if bench.ledger.edits() == edits:
                if isinstance(error, CorruptAdapterError) and guard.heal():
                    raise ChangedError(f"{error} What it held is pending: start again") from error
                raise
            raise ChangedError(f"something was forgotten or corrected meanwhile: start again ({error})") from error


class Trainer:
    """Trains one memory, whose lease is held."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def consolidate(self, *, core: bool, rebuild: Sequence[str], limit: int | None = None) -> ConsolidateReport:
        """As `SealMemory.consolidate`; then snapshots beyond `storage.snapshots_kept` are pruned."""
        self._sweep()
        bench, settings = self.bench, self.bench.settings
        seed = (settings.seed + (reopen(bench.ledger, rebuild) if rebuild else 0)) % (1 << 32)
        seeded = bench.with_settings(settings.changed(seed=seed))
        arm = best_arm(bench)
        consolidator = Consolidator(seeded, arms=lambda episode_id: [arm], note_writer=self._note_writer())
        report = consolidator.run(limit=limit)
        decision = Sleeper(self.bench).build_core() if core else None
        if decision is not None:
            version = decision.snapshot_version or report.version
            report = replace(report, version=version, decisions=(*report.decisions, decision))
        self._prune()
        return report

    def sleep(self, *, merge: bool, core: bool, again: bool) -> SleepReport:
        """As `SealMemory.sleep`; then snapshots beyond `storage.snapshots_kept` are pruned."""
        self._sweep()
        report = Sleeper(self.bench).run(merge=merge, core=core, again=again)
        self._prune()
        return report

    def refine(self, number: int) -> RefineReport:
        """As `SealMemory.refine`."""
        self._sweep()
        bench, settings = self.bench, self.bench.settings
        if settings.policy.refine in ("notes", "both"):
            NoteWriters(bench).retrain()  # a lost adapter is trained again: the round starts from the newest writer
        if settings.policy.executor == "local":
            return Refiner(bench).run(number)
        from seal_memory.policy.ray_executor import RayExecutor

        address = None if settings.policy.executor == "ray" else settings.policy.executor
        fingerprint = bench.engine.fingerprint
        terms = suited(settings, bench.engine.profile)
        with closing(RayExecutor(bench.base_model, terms, fingerprint=fingerprint, address=address)) as executor:
            return Refiner(bench, plan=RoundPlan(executor=executor)).run(number)

    def _sweep(self) -> None:
        """Remove files that nothing names: a killed trainer's, or those of pruned versions."""
        self.bench.store.sweep(needed(self.bench.ledger))

    def _prune(self) -> None:
        bench = self.bench
        prune_snapshots(bench.ledger, bench.store, keep=bench.settings.storage.snapshots_kept, drop=bench.engine.drop)

    def _note_writer(self) -> str | None:
        if not self.bench.settings.learning.notes_per_statement:  # nothing is written, so no file need be read
            return None
        version = NoteWriters(self.bench).current()
        return version.adapter_id if version is not None else None
