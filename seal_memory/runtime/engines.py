"""The engines of one memory: the local one, which trains and by default answers, and a vLLM server's, which answers.

Each opens when it is first needed. Closing closes those that were made here, not those that were passed in. Not here:
engines (`engines`), loading a model (`runtime.loading`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from seal_memory.config import EngineSettings
from seal_memory.ledger import Ledger
from seal_memory.records import Snapshot

if TYPE_CHECKING:  # these need torch, which takes seconds to import: only the verbs that use them import it
    from seal_memory.engines.batching import DynamicBatcher
    from seal_memory.engines.local import Fetch, TransformersEngine
    from seal_memory.engines.vllm.engine import VllmEngine
    from seal_memory.lora.store import AdapterStore
    from seal_memory.runtime.loading import StoredAdapters

    AnsweringEngine = TransformersEngine | VllmEngine


class MemoryEngines:
    """The engines of one memory; threads may share it."""

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        settings: EngineSettings,
        model: str,
        *,
        store: Callable[[], AdapterStore],
        engine: TransformersEngine | Callable[[], TransformersEngine] | None,
        answering: VllmEngine | Callable[[], VllmEngine] | None,
    ) -> None:
        self._folder, self._ledger, self._settings, self._model, self._store = folder, ledger, settings, model, store
        self._given, self._given_answering = engine, answering
        self._opening = threading.RLock()
        self._local: TransformersEngine | None = None
        self._source: Fetch | None = None
        self._vllm: VllmEngine | None = None
        self._shelf: StoredAdapters | None = None
        self._retained_version: int | None = None  # of the snapshot whose adapters the server was last told to keep

    @property
    def local(self) -> TransformersEngine:
        """The engine in this process; loads the model on first use. Raises as `SealMemory.engine`."""
        with self._opening:
            if self._local is None:
                self._local = self._open_local()
            return self._local

    @property
    def answering(self) -> AnsweringEngine:
        """The engine that answers. Raises as `SealMemory.answering`."""
        return self._vllm_engine() if self._by_server else self.local

    def _vllm_engine(self) -> VllmEngine:
        if self._vllm is not None:  # without the lock, which is held while the model that trains is loaded
            return self._vllm
        with self._opening:
            if self._vllm is None:
                self._vllm = self._open_vllm()
            return self._vllm

    @property
    def _by_server(self) -> bool:
        return self._given_answering is not None or self._settings.name == "vllm"

    @property
    def batched(self) -> DynamicBatcher | VllmEngine:
        """The engine that answers chats, with waiting ones in one batch; a vLLM server batches by itself."""
        from seal_memory.engines.batching import batcher_of
        from seal_memory.engines.local import TransformersEngine

        engine = self.answering
        return batcher_of(engine) if isinstance(engine, TransformersEngine) else engine

    def _open_local(self) -> TransformersEngine:
        from seal_memory.runtime.loading import adapter_source, check_base, load_engine

        given = self._given() if callable(self._given) else self._given
        engine = given or load_engine(self._model, self._settings, self._ledger)
        check_base(engine.fingerprint, self._model, self._ledger)
        self._source = adapter_source(engine, self._ledger, self._store())
        engine.add_source(self._source)
        return engine

    def _open_vllm(self) -> VllmEngine:
        from seal_memory.runtime.loading import StoredAdapters, check_base, vllm_engine

        given = self._given_answering() if callable(self._given_answering) else self._given_answering
        engine = given or vllm_engine(self._model, self._settings)
        check_base(engine.fingerprint, self._model, self._ledger)
        server_folder = self._settings.folder
        self._shelf = StoredAdapters(self._folder, self._ledger, self._store(), server_folder=server_folder)
        engine.add_source(self._shelf)
        return engine

    def open_server(self) -> None:
        """Open the vLLM server's engine, if one answers, without contacting it. Raises as `answering`."""
        if self._by_server:
            self.answering  # noqa: B018 (the property opens it)

    def load(self, adapter_id: str) -> None:
        """Make sure that an adapter can answer. Raises `CorruptAdapterError`, `UnknownIdError`."""
        if not self._by_server:
            if not self.local.holds(adapter_id):
                self.local.adapter(adapter_id)
        elif adapter_id not in self._vllm_engine().loaded and self._shelf is not None:
            self._shelf.find(adapter_id)  # the server loads it when it is asked

    def drop(self, adapter_id: str) -> bool:
        """Drop an adapter from both engines; also from a vLLM server that has it from another process.

        False where the server still answers with it, or cannot be asked.
        """
        if self._local is not None:
            self._local.drop(adapter_id)
        return self._vllm_engine().drop_and_verify(adapter_id) if self._by_server else True

    def retain(self, snapshot: Snapshot | None) -> None:
        """Let the server drop this memory's adapters that the published snapshot no longer names."""
        version = snapshot.version if snapshot is not None else 0
        if self._vllm is None or self._shelf is None or version == self._retained_version:
            return
        self._retained_version = version
        self._vllm.retain(self._shelf, snapshot.manifest.adapter_ids if snapshot is not None else ())

    def close(self) -> None:
        """Close the engines that were made here; those that were passed in stay open."""
        if self._local is not None and self._source is not None:
            self._local.remove_source(self._source)
        if self._vllm is not None and self._shelf is not None:
            self._vllm.remove_source(self._shelf)
            if self._given_answering is None:
                self._vllm.close()
        self._local = self._vllm = None
