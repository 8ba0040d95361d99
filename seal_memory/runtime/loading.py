"""Loading a memory's model, adapters and published snapshot, with checks of the base model and the files.

Adapters whose files are damaged or missing are not served: the snapshot is published again without them, with an error
in the log, and what only they held becomes pending. Not here: opening the ledger.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from seal_memory.config import EngineSettings
from seal_memory.engines.hardware import detect
from seal_memory.engines.local import Fetch, TransformersEngine
from seal_memory.engines.models import load, resolve
from seal_memory.engines.vllm.blank import Blank
from seal_memory.errors import (
    AdapterError,
    BaseModelMismatchError,
    CorruptAdapterError,
    LedgerError,
    ModelUnavailableError,
    UnknownIdError,
)
from seal_memory.ledger import Ledger
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.peft_files import CONFIG_FILE, TENSORS_FILE
from seal_memory.lora.store import AdapterStore
from seal_memory.records import Snapshot, Status

if TYPE_CHECKING:
    from seal_memory.engines.vllm.engine import VllmEngine  # needs httpx

logger = logging.getLogger(__name__)

KEY_VARIABLE = "SEAL_MEMORY_ENGINE_KEY"  # the vLLM server's --api-key
_VERIFIED = "verified adapters"  # ledger meta key: JSON of adapter id -> its files' stamp when the checksum was right


def load_engine(model: str, settings: EngineSettings, ledger: Ledger) -> TransformersEngine:
    """Load one memory's model on the hardware that the settings choose.

    Raises `ModelUnavailableError`, and `BaseModelMismatchError` before the model is loaded.
    """
    files = resolve(model, cache_dir=settings.cache_dir)
    check_base(files.fingerprint, model, ledger)
    return TransformersEngine(load(files, detect(settings.device, settings.dtype)))


def new_engine(model: str, settings: EngineSettings) -> TransformersEngine:
    """Load a model for several memories, each of which checks its own base. Raises `ModelUnavailableError`."""
    files = resolve(model, cache_dir=settings.cache_dir)
    return TransformersEngine(load(files, detect(settings.device, settings.dtype)))


def vllm_engine(model: str, settings: EngineSettings) -> VllmEngine:
    """Make the engine of the vLLM server that the settings name, without contacting it.

    Raises `ModelUnavailableError` where the model's files or httpx are missing.
    """
    if find_spec("httpx") is None:
        raise ModelUnavailableError("engine=vllm needs httpx: pip install 'seal-memory[vllm]'")
    from seal_memory.engines.vllm.engine import VllmEngine

    return VllmEngine(
        settings.url or "",
        model,
        max_loras=settings.max_loras,
        key=os.environ.get(KEY_VARIABLE),
        timeout=settings.timeout,
        cache_dir=settings.cache_dir,
    )


def check_base(fingerprint: str, model: str, ledger: Ledger) -> None:
    """Raise `BaseModelMismatchError` when the published adapters were trained on another base model."""
    current = ledger.current()
    if current is not None and current.base_fingerprint != fingerprint:
        raise BaseModelMismatchError(
            f"This memory's adapters were trained on a base model with fingerprint {current.base_fingerprint[:16]}…, "
            f"but {model!r} has {fingerprint[:16]}…: open it with the model it was made with, or use a new "
            "namespace or folder for this one."
        )


def adapter_source(engine: TransformersEngine, ledger: Ledger, store: AdapterStore) -> Fetch:
    """The function from which an engine reads this memory's adapters when they are first used."""
    return partial(_fetch, ledger, store, engine)


def _fetch(ledger: Ledger, store: AdapterStore, engine: TransformersEngine, adapter_id: str) -> LoraAdapter:
    records = ledger.adapters(ids=[adapter_id])
    if not records:
        raise UnknownIdError(f"The memory {ledger.namespace!r} holds no adapter {adapter_id}.")
    return store.read(
        adapter_id,
        sha256=records[0].sha256,
        shapes=engine.stack.shapes,
        base_fingerprint=engine.fingerprint,
        device=engine.device,
    )


class StoredAdapters:
    """Adapter folders of one memory by the paths that a vLLM server sees; an `AdapterSource`.

    `server_folder`: the memory's folder as the server sees it; None: the same path.
    """

    def __init__(self, folder: Path, ledger: Ledger, store: AdapterStore, *, server_folder: str | None) -> None:
        self._folder, self._ledger, self._store, self._server_folder = folder.resolve(), ledger, store, server_folder

    def find(self, adapter_id: str) -> str:
        """The path of an adapter, verified.

        Raises `UnknownIdError` for another memory's id, `CorruptAdapterError` for damaged files.
        """
        records = self._ledger.adapters(ids=[adapter_id])
        if not records:
            raise UnknownIdError(f"The memory {self._ledger.namespace!r} holds no adapter {adapter_id}.")
        if not self._store.verify(adapter_id, records[0].sha256):
            raise CorruptAdapterError(f"The adapter in {self._store.folder(adapter_id)} is damaged or missing.")
        return self._server_path(self._store.folder(adapter_id))

    def store_blank(self, blank: Blank) -> str:
        """Write a blank adapter's files, once; their path. Raises `AdapterError` when they cannot be written."""
        folder = self._folder / "engine" / blank.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in ((CONFIG_FILE, blank.config), (TENSORS_FILE, blank.tensors)):
                if not (folder / name).is_file() or (folder / name).read_bytes() != content:
                    temporary = folder / f".{name}.{secrets.token_hex(4)}"
                    temporary.write_bytes(content)
                    temporary.replace(folder / name)
        except OSError as error:
            raise AdapterError(f"The blank adapter cannot be written to {folder}: {error}.") from error
        return self._server_path(folder)

    def _server_path(self, folder: Path) -> str:
        if self._server_folder is None:
            return str(folder.resolve())
        return f"{self._server_folder.rstrip('/')}/{folder.resolve().relative_to(self._folder).as_posix()}"


class SnapshotGuard:
    """Checks the files of the published snapshot before it is served.

    A file's checksum is computed once, until it is written again: a memory may hold many gigabytes of adapters. Later
    damage is found when the adapter is first used; then call `heal`.
    """

    def __init__(self, ledger: Ledger, store: AdapterStore) -> None:
        self._ledger, self._store = ledger, store
        self._intact: set[str] = set()  # adapter ids, checked in this process
        self._suspect: set[str] = set()  # found damaged in this process: their stamps say nothing

    def usable(self) -> Snapshot | None:
        """The published snapshot, published again without adapters whose files are damaged; None: the untouched base.

        Where the ledger cannot be written, the damaged ones are only left out of what is returned. Files are read
        without a lock, so another process may publish, prune or forget meanwhile: a file that is missing for that
        reason is no damage, and the version that is published then is checked.
        """
        while True:
            current = self._ledger.current()
            damaged = self._damaged(current) if current is not None else set()
            if current is None or not damaged:
                return current
            whole = current.manifest.without({*damaged, *self._of_other_bases(current)})
            named = ", ".join(sorted(damaged))
            try:
                with self._ledger.atomic():
                    if not self._is_current(current):
                        continue
                    found = self._ledger.add_snapshot(
                        whole,
                        parent=current.version,
                        base_fingerprint=current.base_fingerprint,
                        note="without damaged adapters",
                    )
                    lost = self._lost(current, found)
                    self._ledger.set_status(lost, Status.PENDING, "its adapter file was damaged; to be learned again")
            except LedgerError as error:  # read-only, locked or no room: what is whole answers all the same
                logger.error("Adapter %s is missing or damaged, and stays published for now: %s", named, error)
                return replace(current, manifest=whole)
            logger.error(
                "Version %d cannot be served: adapter %s is missing or damaged. Serving version %d without it; "
                "%d interactions will be learned again by the next consolidate.",
                current.version,
                named,
                found.version,
                len(lost),
            )
            return found

    def _of_other_bases(self, current: Snapshot) -> set[str]:
        """Adapters that cannot be published again: earlier releases mixed base models."""
        known = self._ledger.adapters(ids=current.manifest.adapter_ids)
        return {a.id for a in known if a.base_fingerprint != current.base_fingerprint}

    def _is_current(self, snapshot: Snapshot) -> bool:
        now = self._ledger.current()
        return now is not None and now.version == snapshot.version

    def _damaged(self, snapshot: Snapshot) -> set[str]:
        unread = [a for a in snapshot.manifest.adapter_ids if a not in self._intact]
        if not unread:
            return set()
        known: dict[str, str] = json.loads(self._ledger.meta_get(_VERIFIED) or "{}")
        stamps = {a: self._store.stamp(a) for a in unread}
        changed = [a for a in unread if a in self._suspect or stamps[a] is None or known.get(a) != stamps[a]]
        records = {r.id: r for r in self._ledger.adapters(ids=changed)} if changed else {}
        damaged = {a for a in changed if a not in records or not self._store.verify(a, records[a].sha256)}
        self._intact.update(set(unread) - damaged)
        self._suspect -= self._intact
        if set(changed) - damaged and not self._ledger.read_only:
            kept = {a: stamp for a, stamp in known.items() if a in snapshot.manifest.adapter_ids}
            sound = {a: stamp for a in changed if a not in damaged and (stamp := stamps[a]) is not None}
            self._note({**kept, **sound})
        return damaged

    def heal(self) -> set[str]:
        """Read all published files again, also those that seem unchanged; the damaged ones, which are not served now.

        For an adapter that could not be loaded: a flipped bit does not change a file's time.
        """
        current = self._ledger.current()
        records = self._ledger.adapters(ids=current.manifest.adapter_ids) if current is not None else []
        damaged = {r.id for r in records if not self._store.verify(r.id, r.sha256)}
        self._distrust(damaged)
        if damaged:
            self.usable()
        return damaged

    def _distrust(self, damaged: Collection[str]) -> None:
        self._intact -= set(damaged)
        self._suspect |= set(damaged)
        if damaged and not self._ledger.read_only:
            known: dict[str, str] = json.loads(self._ledger.meta_get(_VERIFIED) or "{}")
            self._note({a: stamp for a, stamp in known.items() if a not in damaged})

    def _note(self, stamps: Mapping[str, str]) -> None:
        """Remember what is verified. It only spares the next process some reading, so a full disk is no error."""
        try:
            self._ledger.meta_set(_VERIFIED, json.dumps(stamps))
        except LedgerError as error:
            logger.warning("adapters will be verified again by the next process: %s", error)

    def _lost(self, current: Snapshot, found: Snapshot) -> list[str]:
        gone = sorted(set(current.manifest.holders) - set(found.manifest.holders))
        rows = self._ledger.interactions(ids=gone) if gone else []
        return [i.id for i in rows if i.status is Status.LEARNED]
