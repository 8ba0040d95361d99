"""Opening a memory's model and its published snapshot, with what can be wrong about either.

A snapshot whose adapter files are damaged or missing is not served: the newest older one that is whole is made the
published one, loudly, and what the damaged shards held becomes pending again. Not here: the ledger's own opening.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Collection, Mapping
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

KEY_VARIABLE = "SEAL_MEMORY_ENGINE_KEY"  # what a vLLM server was started with as --api-key
_VERIFIED = "verified adapters"  # adapter id -> its files' stamp when the checksum was right


def load_engine(model: str, settings: EngineSettings, ledger: Ledger) -> TransformersEngine:
    """The engine of a model by name, on the hardware that the settings choose.

    Raises `ModelUnavailableError`, and `BaseModelMismatchError` before any time is spent on loading.
    """
    files = resolve(model, cache_dir=settings.cache_dir)
    check_base(files.fingerprint, model, ledger)
    return TransformersEngine(load(files, detect(settings.device, settings.dtype)))


def new_engine(model: str, settings: EngineSettings) -> TransformersEngine:
    """The engine of a model by name, for memories of which each checks its own base. Raises `ModelUnavailableError`."""
    files = resolve(model, cache_dir=settings.cache_dir)
    return TransformersEngine(load(files, detect(settings.device, settings.dtype)))


def vllm_engine(model: str, settings: EngineSettings) -> VllmEngine:
    """The engine of the vLLM server that the settings name; it is not spoken to yet.

    Raises `ModelUnavailableError` where the model's files are not here, or httpx.
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
    """Raises `BaseModelMismatchError` when the memory's adapters were made for another base."""
    current = ledger.current()
    if current is not None and current.base_fingerprint != fingerprint:
        raise BaseModelMismatchError(
            f"This memory's adapters were trained on a base model with fingerprint {current.base_fingerprint[:16]}…, "
            f"but {model!r} has {fingerprint[:16]}…: open it with the model it was made with, or use a new "
            "namespace or folder for this one."
        )


def adapter_source(engine: TransformersEngine, ledger: Ledger, store: AdapterStore) -> Fetch:
    """How an engine gets this memory's adapters when they are first used."""
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
    """This memory's adapter folders as a vLLM server sees them; an `AdapterSource`.

    `seen_at`: where the server sees the memory's folder; None: at the same place.
    """

    def __init__(self, folder: Path, ledger: Ledger, store: AdapterStore, *, seen_at: str | None) -> None:
        self._folder, self._ledger, self._store, self._seen_at = folder.resolve(), ledger, store, seen_at

    def find(self, adapter_id: str) -> str:
        """Raises `UnknownIdError` for another memory's id, `CorruptAdapterError` for damaged files."""
        records = self._ledger.adapters(ids=[adapter_id])
        if not records:
            raise UnknownIdError(f"The memory {self._ledger.namespace!r} holds no adapter {adapter_id}.")
        if not self._store.verify(adapter_id, records[0].sha256):
            raise CorruptAdapterError(f"The adapter in {self._store.folder(adapter_id)} is damaged or missing.")
        return self._seen(self._store.folder(adapter_id))

    def store_blank(self, blank: Blank) -> str:
        """Write a blank's files, once. Raises `AdapterError` when the disk refuses."""
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
        return self._seen(folder)

    def _seen(self, folder: Path) -> str:
        if self._seen_at is None:
            return str(folder.resolve())
        return f"{self._seen_at.rstrip('/')}/{folder.resolve().relative_to(self._folder).as_posix()}"


class SnapshotGuard:
    """Serves the published snapshot, after its files' checksums.

    A file is read for that once, until it is written again: a memory may hold many gigabytes of adapters. What decays
    on the disk later is found when the adapter is first used; then `heal` is to be called.
    """

    def __init__(self, ledger: Ledger, store: AdapterStore) -> None:
        self._ledger, self._store = ledger, store
        self._whole: set[str] = set()  # in this process

    def usable(self) -> Snapshot | None:
        """The published snapshot, or the newest older one whose files are whole; None: the untouched base.

        Files are read without a lock, so another process may publish, prune or forget meanwhile: what is missing
        then is no damage, and the head is moved only where it still is the one that was looked at.
        """
        while True:
            current = self._ledger.current()
            damaged = self._damaged(current) if current is not None else set()
            if current is None or not damaged:
                return current
            found = self._whole_before(current)
            with self._ledger.atomic():
                now = {s.version for s in self._ledger.history()}
                if not self._is_current(current) or (found is not None and found.version not in now):
                    continue
                self._ledger.set_current(found.version if found else None)
                lost = self._lost(current, found)
                self._ledger.set_status(lost, Status.PENDING, "its adapter file was damaged; to be learned again")
            logger.error(
                "Version %d cannot be served: adapter %s is missing or damaged. Serving version %d instead; "
                "%d interactions will be learned again by the next consolidate.",
                current.version,
                ", ".join(sorted(damaged)),
                found.version if found else 0,
                len(lost),
            )
            return found

    def _whole_before(self, current: Snapshot) -> Snapshot | None:
        """The newest older version whose files are whole; one of another base model could not be asked."""
        older = [s for s in self._ledger.history() if s.version < current.version]
        fit = (s for s in older if s.base_fingerprint == current.base_fingerprint)
        return next((s for s in fit if not self._damaged(s)), None)

    def _is_current(self, snapshot: Snapshot) -> bool:
        now = self._ledger.current()
        return now is not None and now.version == snapshot.version

    def _damaged(self, snapshot: Snapshot) -> set[str]:
        unread = [a for a in snapshot.manifest.adapter_ids if a not in self._whole]
        if not unread:
            return set()
        known: dict[str, str] = json.loads(self._ledger.meta_get(_VERIFIED) or "{}")
        stamps = {a: self._store.stamp(a) for a in unread}
        changed = [a for a in unread if stamps[a] is None or known.get(a) != stamps[a]]
        records = {r.id: r for r in self._ledger.adapters(ids=changed)} if changed else {}
        damaged = {a for a in changed if a not in records or not self._store.verify(a, records[a].sha256)}
        self._whole.update(set(unread) - damaged)
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
        self._whole -= set(damaged)
        if damaged and not self._ledger.read_only:
            known: dict[str, str] = json.loads(self._ledger.meta_get(_VERIFIED) or "{}")
            self._note({a: stamp for a, stamp in known.items() if a not in damaged})

    def _note(self, stamps: Mapping[str, str]) -> None:
        """Remember what is verified. It only spares the next process some reading, so a full disk is no error."""
        try:
            self._ledger.meta_set(_VERIFIED, json.dumps(stamps))
        except LedgerError as error:
            logger.warning("adapters will be verified again by the next process: %s", error)

    def _lost(self, current: Snapshot, found: Snapshot | None) -> list[str]:
        held = set(current.manifest.holders)
        kept = set(found.manifest.holders) if found is not None else set()
        gone = sorted(held - kept)
        rows = self._ledger.interactions(ids=gone) if gone else []
        return [i.id for i in rows if i.status is Status.LEARNED]
