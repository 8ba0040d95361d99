"""Many namespaces of one memory folder over one loaded model: each opens when it is first used, the least recently
used close. A namespace has its own ledger rows, adapter versions and settings' effects; only the base is shared.

Not here: who may use which namespace (`server.auth`), training them (`pool_trainer`).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seal_memory.config import Settings
from seal_memory.errors import InputError, SealMemoryError
from seal_memory.ledger import Ledger
from seal_memory.ledger.encoding import sortable_id
from seal_memory.memory import DEFAULT_MODEL, SealMemory

if TYPE_CHECKING:  # needs torch
    from seal_memory.engines.local import TransformersEngine
    from seal_memory.engines.vllm.engine import VllmEngine
    from seal_memory.routing.router import MakeRouter

KEPT_OPEN = 64  # namespaces; each is a connection to the ledger's file
LONGEST_NAME = 200

OnProgress = Callable[[str, str, int, int], None]  # (namespace, phase, done, total)


@dataclass(slots=True)
class _Open:
    """One open namespace and how many use it now."""

    memory: SealMemory
    users: int = 0


class MemoryPool:
    """A memory folder's namespaces. Use each inside `with pool.memory(name)`; threads may share the pool."""

    def __init__(
        self,
        folder: str | Path,
        *,
        model: str = DEFAULT_MODEL,
        settings: Settings | None = None,
        engine: TransformersEngine | None = None,
        answering: VllmEngine | None = None,
        router: MakeRouter | None = None,
        keep: int = KEPT_OPEN,
        clock: Callable[[], float] = time.time,
        make_id: Callable[[], str] = sortable_id,
        on_progress: OnProgress = lambda namespace, phase, done, total: None,
    ) -> None:
        """Open the folder's ledger; the model loads when it is first needed.

        `answering`, `router`: see `SealMemory.open`; a router is made for each namespace by itself.
        Raises `LedgerError` when the folder cannot be used, `SettingsError`, and `InputError` for keep under 1.
        """
        if keep < 1:
            raise InputError(f"keep is {keep}; expected at least 1 open namespace.")
        self.folder, self.model, self._keep = Path(folder).expanduser(), model, keep
        self.settings = settings if settings is not None else Settings.load(self.folder)
        self.on_progress = on_progress
        self._clock, self._make_id, self._router = clock, make_id, router
        self._engine, self._vllm, self._given_vllm = engine, answering, answering is not None
        self._loading, self._lock = threading.Lock(), threading.RLock()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._closed = False
        self._ledger = Ledger.open(self.folder, clock=clock, make_id=make_id)  # for what concerns all of them

    @property
    def engine(self) -> TransformersEngine:
        """The one engine; loads the model on first use. Raises `ModelUnavailableError`."""
        with self._loading:
            if self._engine is None:
                from seal_memory.runtime.loading import new_engine

                self._engine = new_engine(self.model, self.settings.engine)
            return self._engine

    @property
    def _by_server(self) -> bool:
        return self._given_vllm or self.settings.engine.name == "vllm"

    def _server_engine(self) -> VllmEngine:
        """The vLLM server's engine, which is not spoken to yet. Raises `ModelUnavailableError`."""
        if self._vllm is not None:  # without the lock, which is held while the model that trains is loaded
            return self._vllm
        with self._loading:
            if self._vllm is None:
                from seal_memory.runtime.loading import vllm_engine

                self._vllm = vllm_engine(self.model, self.settings.engine)
            return self._vllm

    def get_ready(self) -> None:
        """Load what answers, or greet its server. Raises `ModelUnavailableError`, `EngineUnavailableError`."""
        if self._by_server:
            self._server_engine().connect()
        else:
            self.engine  # noqa: B018 (the property loads it)

    @property
    def loaded(self) -> bool:
        """Whether what answers is there, so that an answer need not wait for it; may ask a server."""
        if self._by_server:
            return self._vllm is not None and self._vllm.reachable()
        return self._engine is not None

    @contextmanager
    def memory(self, namespace: str) -> Iterator[SealMemory]:
        """The memory of a namespace, which stays open inside the block.

        Raises `InputError` for a name that is empty, too long or holds control characters, `SealMemoryError` when the
        pool is closed.
        """
        check_name(namespace)
        with self._lock:
            if self._closed:
                raise SealMemoryError("The pool is closed; open a new one.")
            held = self._open.get(namespace)
            if held is None:
                held = self._open[namespace] = _Open(self._opened(namespace))
            self._open.move_to_end(namespace)
            held.users += 1
        try:
            yield held.memory
        finally:
            with self._lock:
                held.users -= 1
                self._shrink(0 if self._closed else self._keep)

    def _opened(self, namespace: str) -> SealMemory:
        return SealMemory.open(
            self.folder,
            model=self.model,
            namespace=namespace,
            settings=self.settings,
            clock=self._clock,
            make_id=self._make_id,
            progress=lambda phase, done, total: self.on_progress(namespace, phase, done, total),
            engine=lambda: self.engine,
            answering=self._server_engine if self._by_server else None,
            router=self._router,
        )

    def _shrink(self, keep: int) -> None:
        """Close the least recently used that nobody uses, until `keep` are open."""
        for name in [n for n, held in self._open.items() if not held.users][: max(0, len(self._open) - keep)]:
            self._open.pop(name).memory.close()

    def names(self) -> list[str]:
        """The namespaces in which something was ever observed, sorted."""
        return self._ledger.namespaces.names()

    def with_work(self, *, asked_only: bool = False) -> list[str]:
        """The namespaces with background work now; `asked_only`: only with jobs that are queued already."""
        return self._ledger.namespaces.with_work(asked_only=asked_only)

    @property
    def open_names(self) -> list[str]:
        """Which are open, the least recently used first."""
        with self._lock:
            return list(self._open)

    def close(self) -> None:
        """Close what nobody uses; the rest closes when its last user is done. Closing twice is fine."""
        with self._lock:
            self._closed = True
            self._shrink(0)
        if self._vllm is not None and not self._given_vllm:
            self._vllm.close()
        self._ledger.close()

    def __enter__(self) -> MemoryPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_name(namespace: str) -> str:
    """The name itself. Raises `InputError` where it is none."""
    is_name = isinstance(namespace, str) and 0 < len(namespace) <= LONGEST_NAME and namespace.isprintable()
    if not is_name:
        raise InputError(
            f"The namespace {str(namespace)[:40]!r} is no name; expected 1 to {LONGEST_NAME} printable characters."
        )
    return namespace
