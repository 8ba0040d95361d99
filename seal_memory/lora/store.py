"""Adapter store: content-addressed folders on disk, written and removed atomically.

An adapter's id is derived from the bytes of its files. A write goes to a temporary folder, is flushed to disk and
becomes visible by one rename; a removal renames first, then deletes. Leftovers of a crash have a name that begins with
a dot, or an id that the ledger does not know: `sweep` deletes them.

Not here: which adapters are published (the ledger's snapshots), the file format (`peft_files`), locking between
processes: call `sweep` only while holding the memory's lease (a trainer's new files are named by no row yet), and
`remove` only for what the ledger no longer holds.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import uuid
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from seal_memory._internal import commit_points
from seal_memory.errors import AdapterError, CorruptAdapterError
from seal_memory.lora import peft_files
from seal_memory.lora.adapter import LoraAdapter
from seal_memory.lora.peft_files import CONFIG_FILE, TENSORS_FILE, AdapterFiles, ShapesOf

__all__ = ["AdapterStore", "StoredAdapter", "adopt_former_folder", "folder_name"]

logger = logging.getLogger(__name__)

_ID = re.compile(r"a-[0-9a-f]{24}")
_TEMPORARY, _DELETING = ".tmp-", ".gone-"
_PLAIN = re.compile(r"[a-z0-9_-]{1,64}")
_RESERVED = re.compile(r"n-[0-9a-f]{24}|con|prn|aux|nul|(com|lpt)[0-9]")  # our own hashes; names of devices on Windows
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class StoredAdapter:
    """An adapter on disk. `sha256` covers the safetensors file followed by the config; `bytes` is the size of both."""

    id: str
    folder: Path
    sha256: str
    bytes: int


class AdapterStore:
    """Adapters under one root folder, created with the first one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, adapter_id: str) -> Path:
        """Folder of an adapter, stored or not. Raises `AdapterError` for a malformed id."""
        if not _ID.fullmatch(adapter_id):
            raise AdapterError(f"{adapter_id!r} is not an adapter id; expected 'a-' and 24 hexadecimal digits.")
        return self.root / adapter_id

    def write(self, adapter: LoraAdapter, *, base_model: str, base_fingerprint: str) -> StoredAdapter:
        """Store the adapter durably; an intact stored copy is left alone.

        Raises `AdapterError` when the disk is full or read-only, or the adapter has values that are not finite.
        """
        files = peft_files.encode(adapter, base_model=base_model, base_fingerprint=base_fingerprint)
        sha256 = _sha256(files)
        adapter_id = f"a-{sha256[:24]}"
        stored = StoredAdapter(adapter_id, self.folder(adapter_id), sha256, len(files.tensors) + len(files.config))
        if self.verify(adapter_id, sha256):
            return stored
        temporary = self.root / f"{_TEMPORARY}{adapter_id}-{uuid.uuid4().hex[:8]}"
        try:
            self._publish(files, temporary, stored)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise AdapterError(
                f"The adapter {adapter_id} ({stored.bytes:,} bytes) cannot be stored in {self.root}: "
                f"{error}. Free space or make the folder writable; nothing was published, nothing is lost."
            ) from error
        return stored

    def read(
        self,
        adapter_id: str,
        *,
        sha256: str,
        shapes: ShapesOf,
        base_fingerprint: str | None = None,
        device: torch.device = _CPU,
    ) -> LoraAdapter:
        """Load an adapter after checking its checksum; `shapes` is `StackedLora.shapes` of the loaded model.

        Raises `CorruptAdapterError` when it is missing or does not match `sha256`, `BaseModelMismatchError` when it
        was trained on another base.
        """
        folder = self.folder(adapter_id)
        where = f"{folder} (adapter {adapter_id})"
        files = peft_files.read_bytes(folder)
        found = _sha256(files)
        if found != sha256:
            raise CorruptAdapterError(
                f"The adapter in {where} is damaged: its checksum is {found[:16]}…, expected {sha256[:16]}…. "
                "It is served no more, and what it held is learned again by the next consolidate."
            )
        return peft_files.decode(files, where=where, shapes=shapes, base_fingerprint=base_fingerprint, device=device)

    def verify(self, adapter_id: str, sha256: str) -> bool:
        """Whether the adapter is stored and matches `sha256`."""
        try:
            return _sha256(peft_files.read_bytes(self.folder(adapter_id))) == sha256
        except CorruptAdapterError:
            return False

    def stamp(self, adapter_id: str) -> str | None:
        """String that changes when the files are rewritten (sizes, times, inodes); None when they are missing."""
        try:
            found = [(self.folder(adapter_id) / name).stat() for name in (TENSORS_FILE, CONFIG_FILE)]
        except OSError:
            return None
        return " ".join(f"{s.st_size}-{s.st_mtime_ns}-{s.st_ino}" for s in found)

    def remove(self, adapter_id: str) -> bool:
        """Delete an adapter atomically; False when it was not stored.

        Raises `AdapterError` when it cannot be removed.
        """
        folder = self.folder(adapter_id)
        deleting = self.root / f"{_DELETING}{adapter_id}-{uuid.uuid4().hex[:8]}"
        try:
            os.rename(folder, deleting)
            _fsync_folder(self.root)
            _remove_tree(deleting)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise AdapterError(f"The adapter {adapter_id} cannot be removed from {folder}: {error}.") from error
        return True

    def sweep(self, known_ids: Collection[str]) -> tuple[str, ...]:
        """Delete leftovers of a crash: temporary folders, and adapters that are not in `known_ids`.

        Returns the names of the deleted folders. Other files are not touched.
        Raises `AdapterError` when one cannot be removed.
        """
        removed = []
        for path in self._entries():
            name = path.name
            if name.startswith((_TEMPORARY, _DELETING)):
                self._delete(path)
            elif not _ID.fullmatch(name) or name in known_ids or not self.remove(name):
                continue
            removed.append(name)
        if removed:
            logger.info("deleted %d leftover adapter folders in %s", len(removed), self.root)
        return tuple(removed)

    def ids(self) -> tuple[str, ...]:
        """Ids of all stored adapters, sorted."""
        return tuple(path.name for path in self._entries() if _ID.fullmatch(path.name))

    def _publish(self, files: AdapterFiles, temporary: Path, stored: StoredAdapter) -> None:
        if not self.root.is_dir():
            self.root.mkdir(parents=True)
            for folder in (self.root.parent, self.root.parent.parent):
                _fsync_folder(folder)
        temporary.mkdir()
        paths = {temporary / TENSORS_FILE: files.tensors, temporary / CONFIG_FILE: files.config}
        for path, content in paths.items():
            path.write_bytes(content)
        commit_points.reached("adapter-temporary-written")
        for path in paths:
            _fsync(path, os.O_RDWR)
        _fsync_folder(temporary)
        commit_points.reached("adapter-fsynced")
        if stored.folder.exists() and not self.verify(stored.id, stored.sha256):
            self.remove(stored.id)  # damaged: replaced by this copy
        try:
            os.rename(temporary, stored.folder)
        except OSError:
            if not self.verify(stored.id, stored.sha256):
                raise
            shutil.rmtree(temporary)  # another process stored the same bytes first
        _fsync_folder(self.root)
        commit_points.reached("adapter-renamed")

    def _entries(self) -> list[Path]:
        try:
            return sorted(path for path in self.root.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AdapterError(f"The adapter store {self.root} cannot be read: {error}.") from error

    def _delete(self, path: Path) -> None:
        try:
            _remove_tree(path)
        except OSError as error:
            raise AdapterError(f"The leftover {path} cannot be removed: {error}.") from error


def folder_name(namespace: str) -> str:
    """Folder name of a namespace's adapters: the namespace if every file system allows it, else a hash.

    No two namespaces share one: a name that looks like a hash is hashed, too.
    """
    if _PLAIN.fullmatch(namespace) and not _RESERVED.fullmatch(namespace):
        return namespace
    return f"n-{hashlib.sha256(namespace.encode()).hexdigest()[:24]}"


def adopt_former_folder(adapters: Path, namespace: str, *, own: Collection[str], owner_elsewhere: bool) -> None:
    """Bring a namespace's adapters to where `folder_name` says; earlier releases used all plain names themselves.

    `own`: ids of the namespace's adapters. `owner_elsewhere`: whether another namespace has the former folder by right;
    then the files are copied, and what it does not know its next sweep removes. Raises `AdapterError`.
    """
    former, folder = adapters / namespace, adapters / folder_name(namespace)
    if not _PLAIN.fullmatch(namespace) or former == folder or folder.exists() or not former.is_dir():
        return
    temporary = adapters / f"{_TEMPORARY}{folder.name}-{uuid.uuid4().hex[:8]}"
    try:
        if not owner_elsewhere:
            os.rename(former, folder)
            return
        temporary.mkdir()
        for adapter_id in own:
            if (former / adapter_id).is_dir():
                shutil.copytree(former / adapter_id, temporary / adapter_id)
        os.rename(temporary, folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.is_dir():  # else another process was first
            raise AdapterError(f"The adapters in {former} cannot be moved to {folder}: {error}.") from error


def _sha256(files: AdapterFiles) -> str:
    digest = hashlib.sha256(files.tensors)
    digest.update(files.config)
    return digest.hexdigest()


def _remove_tree(folder: Path) -> None:
    """Delete a folder, or a file in its place, that another process may be deleting, too."""
    while folder.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fsync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk; does nothing where folders cannot be opened (Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        _fsync(folder, os.O_RDONLY | os.O_DIRECTORY)
