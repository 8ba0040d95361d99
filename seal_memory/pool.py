"""`MemoryPool`: many namespaces of one memory folder over one loaded model.

A namespace opens when it is first used, and the least recently used ones close. Each has its own interactions, adapters
and versions; only the base model is shared. Not here: permissions (`server.auth`), training (`server.pool_trainer`).
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
from seal_memory.ledger.arguments import require_count
from seal_memory.ledger.encoding import sortable_id
from seal_memory.memory import DEFAULT_MODEL, SealMemory
from seal_memory.safety.classifiers import TextClassifier

if TYPE_CHECKING:  # needs torch
    from seal_memory.engines.local import TransformersEngine
    from seal_memory.engines.vllm.engine import VllmEngine
    from seal_memory.routing.router import MakeRouter

KEPT_OPEN = 64  # namespaces; each is a connection to the ledger's file
MAX_NAME = 200  # characters

OnProgress = Callable[[str, str, int, int], None]  # (namespace, phase, done, total)


@dataclass(slots=True)
class _OpenMemory:
    """One open namespace and the number of its current users."""

    memory: SealMemory
    users: int = 0


class MemoryPool:
    """The namespaces of a memory folder. Use each inside `with pool.memory(name)`; threads may share the pool."""

    def __init__(
        self,
        folder: str | Path,
        *,
        model: str = DEFAULT_MODEL,
        settings: Settings | None = None,
        engine: TransformersEngine | None = None,
        answering: VllmEngine | None = None,
        router: MakeRouter | None = None,
        classifier: TextClassifier | None = None,
        keep: int = KEPT_OPEN,
        quota: int | None = None,
        clock: Callable[[], float] = time.time,
        make_id: Callable[[], str] = sortable_id,
        on_progress: OnProgress = lambda namespace, phase, done, total: None,
    ) -> None:
        """Open the folder's ledger; the model loads when it is first needed.

        Args:
            folder: The memory folder; `~` is expanded.
            model: As for `SealMemory.open`; so are `settings`, `clock` and `make_id`.
            engine: An engine to use; None loads `model`.
            answering: A vLLM server's engine that answers.
            router: As for `SealMemory.open`; each namespace gets a router of its own.
            quota: Bytes of text that each namespace may hold.
            classifier: As for `SealMemory.open`; all namespaces share it.
            keep: Most namespaces that stay open when nobody uses them.
            on_progress: Called with the namespace, a phase, and how much of it is done of how much.

        Raises:
            LedgerError: The folder cannot be used.
            SettingsError: A setting is unknown or out of range.
            InputError: `keep` is under 1.
        """
        require_count(keep, "keep", least=1)
        if quota is not None:
            require_count(quota, "quota")
        self.folder, self.model, self._keep, self._quota = Path(folder).expanduser(), model, keep, quota
        self.settings = settings if settings is not None else Settings.load(self.folder)
        self.on_progress = on_progress
        self._clock, self._make_id, self._router = clock, make_id, router
        self._classifier = classifier
        self._engine, self._vllm, self._given_vllm = engine, answering, answering is not None
        self._loading, self._lock = threading.Lock(), threading.RLock()
        self._open: OrderedDict[str, _OpenMemory] = OrderedDict()
        self._closed = False
        self._ledger = Ledger.open(self.folder, clock=clock, make_id=make_id)  # for queries over all namespaces

    @property
    def engine(self) -> TransformersEngine:
        """The shared engine in this process; loads the model on first use. Raises `ModelUnavailableError`."""
        with self._loading:
            if self._engine is None:
                from seal_memory.runtime.loading import new_engine

                self._engine = new_engine(self.model, self.settings.engine)
            return self._engine

    @property
    def _by_server(self) -> bool:
        return self._given_vllm or self.settings.engine.name == "vllm"

    def _server_engine(self) -> VllmEngine:
        """The vLLM server's engine, which is not contacted yet. Raises `ModelUnavailableError`."""
        if self._vllm is not None:  # without the lock, which is held while the model that trains is loaded
            return self._vllm
        with self._loading:
            if self._vllm is None:
                from seal_memory.runtime.loading import vllm_engine

                self._vllm = vllm_engine(self.model, self.settings.engine)
            return self._vllm

    def get_ready(self) -> None:
        """Load the model that answers, or contact its vLLM server.

        Raises `ModelUnavailableError`, and `EngineUnavailableError` when the server cannot be reached.
        """
        if self._by_server:
            self._server_engine().connect()
        else:
            self.engine  # noqa: B018 (the property loads it)

    @property
    def loaded(self) -> bool:
        """Whether the engine that answers is ready; may contact a vLLM server."""
        if self._by_server:
            return self._vllm is not None and self._vllm.reachable()
        return self._engine is not None

    @contextmanager
    def memory(self, namespace: str) -> Iterator[SealMemory]:
        """Open a namespace's memory and keep it open inside the `with` block.

        Raises `InputError` for a name that is empty, longer than 200 characters or not printable, and
        `SealMemoryError` when the pool is closed.
        """
        check_name(namespace)
        with self._lock:
            if self._closed:
                raise SealMemoryError("The pool is closed; open a new one.")
            held = self._open.get(namespace)
            if held is None:
                held = self._open[namespace] = _OpenMemory(self._open_memory(namespace))
            self._open.move_to_end(namespace)
            held.users += 1
        try:
            yield held.memory
        finally:
            with self._lock:
                held.users -= 1
                self._shrink(0 if self._closed else self._keep)

    def _open_memory(self, namespace: str) -> SealMemory:
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
            quota=self._quota,
            classifier=self._classifier,
        )

    def _shrink(self, keep: int) -> None:
        """Close the least recently used namespaces without users, until `keep` are open."""
        for name in [n for n, held in self._open.items() if not held.users][: max(0, len(self._open) - keep)]:
            self._open.pop(name).memory.close()

    def names(self) -> list[str]:
        """List the namespaces in which something was ever observed, sorted."""
        return self._ledger.namespaces.names()

    def with_work(self, *, asked_only: bool = False) -> list[str]:
        """List the namespaces with background work now; `asked_only`: only those with queued jobs."""
        interval = self.settings.background.audit_interval
        return self._ledger.namespaces.with_work(audit_interval=interval, asked_only=asked_only)

    def revive_jobs(self) -> int:
        """Queue the jobs of all namespaces that were given up again; returns how many."""
        return self._ledger.namespaces.revive_jobs()

    def retry_wipe(self) -> bool:
        """Overwrite what was deleted and could not be overwritten then, see `Ledger.retry_wipe`."""
        return self._ledger.retry_wipe()

    @property
    def open_names(self) -> list[str]:
        """The open namespaces, least recently used first."""
        with self._lock:
            return list(self._open)

    def close(self) -> None:
        """Close the namespaces without users; others close with their last user. Closing twice is allowed."""
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
    """Return the name. Raises `InputError` for one that is no text, empty, too long or not printable."""
    is_name = isinstance(namespace, str) and 0 < len(namespace) <= MAX_NAME and namespace.isprintable()
    if not is_name:
        shown = namespace[:40] if isinstance(namespace, str) else type(namespace).__name__
        raise InputError(f"The namespace {shown!r} is no name; expected 1 to {MAX_NAME} printable characters.")
    return namespace
