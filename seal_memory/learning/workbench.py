"""`Workbench`: one memory's ledger, engine, store and settings, handed to everything that trains it.

Each room reads its own group of the settings only. Not here: opening any of it (`SealMemory`, `runtime`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seal_memory._internal.progress import Progress, silent, with_heartbeat
from seal_memory.config import Settings
from seal_memory.ledger import Ledger

if TYPE_CHECKING:  # torch
    from seal_memory.engines.local import TransformersEngine
    from seal_memory.lora.store import AdapterStore
    from seal_memory.routing.router import MakeRouter


@dataclass(frozen=True, slots=True)
class Workbench:
    """One memory's ledger, training engine, adapter store and settings, with clock, id-maker and progress.

    `open_engine` returns the one engine, and loads its model at the first call. `heartbeat` renews the namespace's
    lease and raises `BusyError` when it is lost.
    """

    ledger: Ledger
    open_engine: Callable[[], TransformersEngine]
    store: AdapterStore
    settings: Settings
    routers: MakeRouter
    base_model: str  # as the user named it
    clock: Callable[[], float]  # Unix seconds
    make_id: Callable[[], str]
    progress: Progress = silent
    heartbeat: Callable[[], None] = lambda: None

    @property
    def engine(self) -> TransformersEngine:
        """The engine that trains. Raises as `SealMemory.engine` does."""
        return self.open_engine()

    def with_settings(self, settings: Settings) -> Workbench:
        """The same bench under other settings."""
        return replace(self, settings=settings)

    def under_lease(self, heartbeat: Callable[[], None]) -> Workbench:
        """The same bench while a lease is held: progress renews it, too."""
        return replace(self, heartbeat=heartbeat, progress=with_heartbeat(self.progress, heartbeat))
