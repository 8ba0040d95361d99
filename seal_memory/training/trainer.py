"""What trains a memory, each piece of work under the namespace's lease: consolidating, sleep, and refining the policy.

Before anything is built the published snapshot is looked at. Not here: the work itself (`learning`, `policy`), when it
is done (`worker`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Protocol

from seal_memory._internal.progress import Progress, with_heartbeat
from seal_memory.config import Settings
from seal_memory.engines.local import TransformersEngine
from seal_memory.learning.candidates import ArmSource, Candidates
from seal_memory.learning.consolidate import ConsolidateReport, Consolidator, reopen
from seal_memory.learning.pruning import needed, prune_snapshots
from seal_memory.learning.publishing import Publisher
from seal_memory.ledger import Ledger
from seal_memory.ledger.leases import lease
from seal_memory.lora.store import AdapterStore
from seal_memory.policy.arms import arm_source
from seal_memory.policy.refining import Refiner, RefineReport
from seal_memory.policy.rest_em import RoundPlan
from seal_memory.policy.versions import NoteWriters, current_writer
from seal_memory.records import Manifest
from seal_memory.routing.router import MakeRouter
from seal_memory.runtime.loading import SnapshotGuard
from seal_memory.sleep.sleeper import Sleeper, SleepReport


class TrainerMemory(Protocol):
    """What is trained; `SealMemory` is one."""

    settings: Settings
    model: str

    @property
    def ledger(self) -> Ledger: ...

    @property
    def engine(self) -> TransformersEngine: ...

    @property
    def store(self) -> AdapterStore: ...

    @property
    def routers(self) -> MakeRouter: ...


@contextmanager
def leased(
    memory: TrainerMemory,
    guard: SnapshotGuard,
    *,
    clock: Callable[[], float],
    make_id: Callable[[], str],
    progress: Progress,
) -> Iterator[Trainer]:
    """Who trains a memory, under its lease. Raises `BusyError` while another process does."""
    with lease(memory.ledger, "consolidate") as heartbeat:
        guard.usable()  # nothing is built on a damaged snapshot
        memory.routers(Manifest(), memory.ledger)  # what it lacks is told before anything is trained
        yield Trainer(
            memory.ledger,
            memory.engine,
            memory.store,
            memory.settings,
            routers=memory.routers,
            base_model=memory.model,
            clock=clock,
            make_id=make_id,
            progress=progress,
            heartbeat=heartbeat,
        )


class Trainer:
    """Trains one memory; `heartbeat` renews the lease and raises `BusyError` when it is lost."""

    def __init__(
        self,
        ledger: Ledger,
        engine: TransformersEngine,
        store: AdapterStore,
        settings: Settings,
        *,
        routers: MakeRouter,
        base_model: str,
        clock: Callable[[], float],
        make_id: Callable[[], str],
        progress: Progress,
        heartbeat: Callable[[], None],
    ) -> None:
        self.ledger, self.engine, self.store, self.settings = ledger, engine, store, settings
        self.routers, self.base_model, self.clock, self.make_id = routers, base_model, clock, make_id
        self.progress, self.heartbeat = progress, heartbeat

    def consolidate(self, *, core: bool, rebuild: Sequence[str]) -> ConsolidateReport:
        """As `SealMemory.consolidate`; then what the settings no longer keep is pruned."""
        self._sweep()
        seed = (self.settings.seed + (reopen(self.ledger, rebuild) if rebuild else 0)) % (1 << 32)
        settings = self.settings.changed(seed=seed)
        arms = arm_source(self.ledger, self.engine, self.settings, routers=self.routers)
        candidates = self._candidates(settings, arms=arms, note_writer=self._note_writer())
        consolidator = Consolidator(candidates, self._publisher(settings), heartbeat=self.heartbeat)
        report = consolidator.run()
        decision = self._sleeper().build_core() if core else None
        if decision is not None:
            version = decision.snapshot_version or report.version
            report = replace(report, version=version, decisions=(*report.decisions, decision))
        self._prune()
        return report

    def sleep(self, *, merge: bool, core: bool, again: bool) -> SleepReport:
        """As `SealMemory.sleep`; then what the settings no longer keep is pruned."""
        self._sweep()
        report = self._sleeper().run(merge=merge, core=core, again=again)
        self._prune()
        return report

    def refine(self, number: int) -> RefineReport:
        """As `SealMemory.refine`."""
        self._sweep()
        settings = self.settings
        writers = NoteWriters(
            self.ledger,
            self.engine,
            self.store,
            settings,
            base_model=self.base_model,
            clock=self.clock,
            heartbeat=self.heartbeat,
        )
        candidates = self._candidates(settings)
        if settings.policy.refine in ("notes", "both"):
            writers.retrain(progress=candidates.progress)  # what a forget took: the round starts from the newest writer
        if settings.policy.executor == "local":
            return Refiner(candidates, writers).run(number)
        from seal_memory.policy.ray_executor import RayExecutor

        address = None if settings.policy.executor == "ray" else settings.policy.executor
        fingerprint = self.engine.fingerprint
        with closing(RayExecutor(self.base_model, settings, fingerprint=fingerprint, address=address)) as executor:
            return Refiner(candidates, writers, plan=RoundPlan(executor=executor)).run(number)

    def _sweep(self) -> None:
        """Files that nothing names: a killed trainer's, or those of pruned versions."""
        self.store.sweep(needed(self.ledger))

    def _prune(self) -> None:
        prune_snapshots(self.ledger, self.store, keep=self.settings.storage.snapshots_kept, drop=self.engine.drop)

    def _note_writer(self) -> str | None:
        if not self.settings.learning.notes_per_statement:  # then nobody writes, and no file need be read
            return None
        return current_writer(self.ledger, self.store, self.engine.fingerprint)

    def _candidates(
        self, settings: Settings, *, arms: ArmSource | None = None, note_writer: str | None = None
    ) -> Candidates:
        return Candidates(
            self.ledger,
            self.engine,
            settings,
            routers=self.routers,
            clock=self.clock,
            make_id=self.make_id,
            progress=with_heartbeat(self.progress, self.heartbeat),
            arms=arms,
            note_writer=note_writer,
        )

    def _publisher(self, settings: Settings) -> Publisher:
        return Publisher(
            self.ledger,
            self.engine,
            self.store,
            settings.gate,
            routers=self.routers,
            base_model=self.base_model,
            clock=self.clock,
        )

    def _sleeper(self) -> Sleeper:
        settings = self.settings
        return Sleeper(self._candidates(settings), self._publisher(settings), heartbeat=self.heartbeat)
