"""The adapter store: an adapter is whole or not there, whatever happens in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seal_memory._internal import commit_points
from seal_memory.errors import AdapterError, BaseModelMismatchError, CorruptAdapterError
from seal_memory.lora.adapter import LoraAdapter, LoraConfig
from seal_memory.lora.peft_files import CONFIG_FILE, TENSORS_FILE
from seal_memory.lora.stack import StackedLora
from seal_memory.lora.store import AdapterStore, StoredAdapter, adopt_former_folder, folder_name

SHAPES = {"model.layers.0.self_attn.q_proj": (6, 5), "model.layers.0.mlp.down_proj": (4, 7)}

# What a child process does: the same adapter as `_adapter(0)`, stored under the folder it is told.
WRITE = f"""
import resource, sys
from pathlib import Path
import torch
from seal_memory.errors import AdapterError
from seal_memory.lora.adapter import LoraAdapter, LoraConfig
from seal_memory.lora.store import AdapterStore

shapes = {SHAPES!r}
config = LoraConfig(2, 4.0, ("q_proj", "down_proj"))
adapter = LoraAdapter.create(config, shapes, seed=0, device=torch.device("cpu"))
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    print(AdapterStore(Path(sys.argv[1])).write(adapter, base_model="tiny", base_fingerprint="f1").id)
except AdapterError as error:
    print("AdapterError:", error)
"""


def shapes_of(targets: Any) -> dict[str, tuple[int, int]]:
    return {name: shape for name, shape in SHAPES.items() if name.rpartition(".")[2] in targets}


def _adapter(seed: int) -> LoraAdapter:
    config = LoraConfig(2, 4.0, ("q_proj", "down_proj"))
    return LoraAdapter.create(config, SHAPES, seed=seed, device=torch.device("cpu"))


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "memory" / "adapters")


def _write(store: AdapterStore, seed: int = 0) -> StoredAdapter:
    return store.write(_adapter(seed), base_model="tiny", base_fingerprint="f1")


def _read(store: AdapterStore, stored: StoredAdapter, fingerprint: str = "f1") -> LoraAdapter:
    return store.read(stored.id, sha256=stored.sha256, shapes=shapes_of, base_fingerprint=fingerprint)


def _child(store: AdapterStore, *limits: str, kill_at: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({commit_points.KILL_AT: kill_at} if kill_at else {})
    command = [sys.executable, "-c", WRITE, str(store.root), *limits]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_what_was_written_is_read(store: AdapterStore) -> None:
    """Bit for bit; the id is made from the checksum, and nothing temporary stays."""
    stored = _write(store)
    assert stored.id == f"a-{stored.sha256[:24]}"
    assert stored.folder == store.root / stored.id
    assert torch.equal(_read(store, stored).flat, _adapter(0).flat)
    assert [path.name for path in store.root.iterdir()] == [stored.id]
    assert store.ids() == (stored.id,)
    assert stored.bytes == sum(path.stat().st_size for path in stored.folder.iterdir()) > 0


def test_writing_twice_is_writing_once(store: AdapterStore) -> None:
    """The same adapter has the same id and its files are not touched; another one has another id."""
    first = _write(store)
    before = (first.folder / TENSORS_FILE).stat().st_mtime_ns
    assert _write(store) == first
    assert (first.folder / TENSORS_FILE).stat().st_mtime_ns == before
    assert _write(store, seed=1).id != first.id
    assert len(store.ids()) == 2


def test_a_damaged_adapter_is_mended_by_writing_it_again(store: AdapterStore) -> None:
    """Its place is taken by the whole one."""
    stored = _write(store)
    (stored.folder / CONFIG_FILE).unlink()
    assert not store.verify(stored.id, stored.sha256)
    assert _write(store) == stored
    assert store.verify(stored.id, stored.sha256)
    assert [path.name for path in store.root.iterdir()] == [stored.id]


@pytest.mark.parametrize("name", [TENSORS_FILE, CONFIG_FILE])
def test_a_flipped_bit_is_found(store: AdapterStore, name: str) -> None:
    """In either file; the message names the adapter and its folder."""
    stored = _write(store)
    content = bytearray((stored.folder / name).read_bytes())
    content[-3] ^= 1
    (stored.folder / name).write_bytes(content)
    assert not store.verify(stored.id, stored.sha256)
    with pytest.raises(CorruptAdapterError, match=f"{stored.folder}.*{stored.id}.*damaged"):
        _read(store, stored)


def test_a_missing_adapter_is_an_error(store: AdapterStore) -> None:
    """It names the folder; a missing file is the same."""
    stored = _write(store)
    shutil.rmtree(stored.folder)
    assert not store.verify(stored.id, stored.sha256)
    with pytest.raises(CorruptAdapterError, match=stored.id):
        _read(store, stored)


def test_another_base_is_refused(store: AdapterStore) -> None:
    """The adapter is whole, but of another model."""
    with pytest.raises(BaseModelMismatchError, match="f2"):
        _read(store, _write(store), fingerprint="f2")


def test_a_stack_reads_its_own_adapters(load_tiny: Callable[[], Any], store: AdapterStore) -> None:
    """With a real model's layers."""
    stack = StackedLora(load_tiny().model)
    adapter = stack.create(LoraConfig(3, 6.0, ("q_proj", "up_proj")), seed=1)
    stored = store.write(adapter, base_model="tiny", base_fingerprint="f1")
    again = store.read(stored.id, sha256=stored.sha256, shapes=stack.shapes, base_fingerprint="f1")
    assert torch.equal(again.flat, adapter.flat)


@pytest.mark.parametrize("bad", ["", "a-123", "../a-" + "0" * 24, "a-" + "0" * 23 + "G"])
def test_what_is_no_id_never_reaches_the_disk(store: AdapterStore, bad: str) -> None:
    """Paths in particular."""
    with pytest.raises(AdapterError, match="not an adapter id"):
        store.verify(bad, "0" * 64)
    with pytest.raises(AdapterError, match="not an adapter id"):
        store.remove(bad)


def test_removing_leaves_nothing(store: AdapterStore) -> None:
    """Once; the second time there is nothing to remove."""
    stored = _write(store)
    assert store.remove(stored.id)
    assert list(store.root.iterdir()) == []
    assert not store.remove(stored.id)


def test_a_file_in_an_adapters_place_is_damage_that_heals(store: AdapterStore) -> None:
    stored = _write(store)
    shutil.rmtree(stored.folder)
    stored.folder.write_text("not a folder")
    assert not store.verify(stored.id, stored.sha256)
    assert _write(store) == stored
    assert store.verify(stored.id, stored.sha256)


def test_sweep_removes_what_nobody_knows(store: AdapterStore) -> None:
    """Temporary folders and unknown adapters go; known ones and other files stay."""
    known, unknown = _write(store), _write(store, seed=1)
    for name in (".tmp-a-1", ".gone-a-2", "notes"):
        (store.root / name).mkdir()
        (store.root / name / "file").write_text("x")
    (store.root / "README").write_text("x")
    assert store.sweep({known.id}) == (".gone-a-2", ".tmp-a-1", unknown.id)
    assert sorted(path.name for path in store.root.iterdir()) == sorted(["README", "notes", known.id])
    assert store.sweep({known.id}) == ()


def test_a_store_that_is_not_there_yet_is_empty(store: AdapterStore) -> None:
    """Nothing is made before the first adapter."""
    assert (store.sweep(()), store.ids()) == ((), ())
    assert not store.root.exists()


@pytest.mark.parametrize("name", commit_points.NAMES[:3])
def test_a_kill_leaves_no_half_adapter(store: AdapterStore, name: str) -> None:
    """SIGKILL before the rename: no adapter, and sweep cleans up; after it: the whole adapter."""
    other = _write(store, seed=1)
    expected = AdapterStore(store.root.parent / "elsewhere").write(
        _adapter(0), base_model="tiny", base_fingerprint="f1"
    )
    child = _child(store, kill_at=name)
    assert child.returncode == -signal.SIGKILL, child.stderr
    published = store.verify(expected.id, expected.sha256)
    assert published == (name == "adapter-renamed")
    assert store.ids() == tuple(sorted([other.id, expected.id] if published else [other.id]))
    swept = store.sweep({other.id, expected.id})
    assert len(swept) == (0 if published else 1)
    assert [path.name for path in store.root.iterdir() if path.name.startswith(".")] == []
    assert _write(store).sha256 == expected.sha256  # and it can simply be done again


def test_another_process_makes_the_same_id(store: AdapterStore) -> None:
    """The bytes do not depend on the process."""
    child = _child(store)
    assert child.stdout.strip() == _write(store).id, child.stderr


def test_a_full_disk_is_an_error_and_leaves_nothing(store: AdapterStore) -> None:
    """The system refuses after 200 bytes: a clear message, no temporary folder."""
    child = _child(store, "200")
    assert child.stdout.startswith("AdapterError: The adapter a-"), child.stderr
    assert "Free space" in child.stdout
    assert list(store.root.iterdir()) == []


def test_a_root_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    """For every verb that needs the folder."""
    (tmp_path / "file").write_text("")
    store = AdapterStore(tmp_path / "file")
    with pytest.raises(AdapterError, match="cannot be stored"):
        _write(store)
    with pytest.raises(AdapterError, match="cannot be read"):
        store.sweep(())


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_an_error(store: AdapterStore) -> None:
    """Writing and removing say so; reading goes on."""
    stored = _write(store)
    store.root.chmod(0o555)
    try:
        with pytest.raises(AdapterError, match="make the folder writable"):
            _write(store, seed=1)
        with pytest.raises(AdapterError, match="cannot be removed"):
            store.remove(stored.id)
        assert torch.equal(_read(store, stored).flat, _adapter(0).flat)
    finally:
        store.root.chmod(0o755)


def test_a_refusing_disk_while_flushing_is_an_error(store: AdapterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be flushed is not published."""

    def refuse(_handle: int) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(AdapterError, match="Read-only file system"):
        _write(store)
    assert list(store.root.iterdir()) == []


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_two_namespaces_share_a_folder(one: str, other: str) -> None:
    """Also where one is named as the other's folder is."""
    names = {one, other, folder_name(one), folder_name(other), folder_name(folder_name(one))}
    assert len({folder_name(n) for n in names}) == len(names)


@pytest.mark.parametrize("shared", [False, True])
def test_a_namespace_named_like_a_hash_takes_its_adapters_along(tmp_path: Path, shared: bool) -> None:
    """From the folder of earlier releases; what belongs to the namespace that has it by right stays there."""
    name = folder_name("Anna")
    former, new = tmp_path / name, tmp_path / folder_name(name)
    for adapter_id in ("a-1", "a-2"):
        (former / adapter_id).mkdir(parents=True)
        (former / adapter_id / "file").write_text(adapter_id)
    adopt_former_folder(tmp_path, name, own=["a-2", "a-3"], owner_elsewhere=shared)
    assert (new / "a-2" / "file").read_text() == "a-2"
    assert former.exists() is shared
    assert sorted(p.name for p in new.iterdir()) == (["a-2"] if shared else ["a-1", "a-2"])
    adopt_former_folder(tmp_path, name, own=["a-1"], owner_elsewhere=shared)  # once is enough
    adopt_former_folder(tmp_path, "anna", own=[], owner_elsewhere=False)
    adopt_former_folder(tmp_path, "../x", own=[], owner_elsewhere=False)
    assert not list(tmp_path.glob(".tmp*"))


def test_a_folder_may_be_deleted_by_two_processes_at_once(store: AdapterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forget and a trainer's sweep meet: neither fails."""
    left = store.root / ".gone-x"
    left.mkdir(parents=True)
    real = shutil.rmtree

    def beaten(path: Path, *args: object, **options: object) -> None:
        real(path)
        raise FileNotFoundError(path)

    monkeypatch.setattr(shutil, "rmtree", beaten)
    assert store.sweep([]) == (".gone-x",)
