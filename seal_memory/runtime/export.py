"""Export: the published memory for other engines.

`merged=False`: every shard (and the core) as a PEFT folder plus `manifest.json`, for engines that route or load
adapters. `merged=True`: one ordinary model folder with the core merged into the base, for engines without adapters.
Not here: quantised formats.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from seal_memory.engines.gguf_cache import quiet_transformers
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import InputError
from seal_memory.lora.peft_files import CONFIG_FILE, TENSORS_FILE, read_bytes
from seal_memory.lora.store import AdapterStore
from seal_memory.records import Snapshot
from seal_memory.results import Exported


def export(
    snapshot: Snapshot | None,
    folder: Path,
    *,
    merged: bool,
    store: AdapterStore,
    engine: Callable[[], TransformersEngine],
    base: str,
) -> Exported:
    """Export PEFT folders or one merged model. Only a merge loads the engine.

    Raises `InputError` when there is no snapshot, and as the two functions below.
    """
    if snapshot is None:
        raise InputError("Nothing is published yet, so there is nothing to export; consolidate first.")
    if merged:
        return export_merged(snapshot, engine(), folder)
    return export_adapters(snapshot, store, folder, base_model=base)


def export_adapters(snapshot: Snapshot, store: AdapterStore, folder: Path, *, base_model: str) -> Exported:
    """Copy every adapter of the snapshot and write the manifest. Raises `InputError` when `folder` is not empty."""
    _make_empty(folder)
    for adapter_id in snapshot.manifest.adapter_ids:
        shutil.copytree(store.folder(adapter_id), folder / adapter_id)
    (folder / "manifest.json").write_text(_manifest(snapshot, base_model), encoding="utf-8")
    return Exported(str(folder), snapshot.version, False, ("manifest.json", *snapshot.manifest.adapter_ids))


def adapter_files(snapshot: Snapshot, store: AdapterStore, *, base_model: str) -> Iterator[tuple[str, bytes]]:
    """The files of `export_adapters` as (name, content), one at a time. Raises `CorruptAdapterError`."""
    yield "manifest.json", _manifest(snapshot, base_model).encode()
    for adapter_id in snapshot.manifest.adapter_ids:
        files = read_bytes(store.folder(adapter_id))
        yield f"{adapter_id}/{CONFIG_FILE}", files.config
        yield f"{adapter_id}/{TENSORS_FILE}", files.tensors


def _manifest(snapshot: Snapshot, base_model: str) -> str:
    manifest = {
        "version": snapshot.version,
        "base_model": base_model,
        "base_fingerprint": snapshot.base_fingerprint,
        "core": snapshot.manifest.core,
        "shards": [
            {"adapter": s.adapter_id, "episode": s.episode_id, "interactions": list(s.interaction_ids)}
            for s in snapshot.manifest.shards
        ],
    }
    return json.dumps(manifest, indent=2) + "\n"


def export_merged(snapshot: Snapshot, engine: TransformersEngine, folder: Path) -> Exported:
    """Write the base with the core merged in, as a safetensors model folder.

    Raises `InputError` when the snapshot has no core: merging shards into one model would lose answers.
    """
    core_id = snapshot.manifest.core
    if core_id is None:
        raise InputError(
            f"Version {snapshot.version} has no core to merge; run consolidate(core=True) first "
            "(command line: seal-memory consolidate --core)."
        )
    _make_empty(folder)
    core = engine.adapter(core_id)
    if core is None:
        raise InputError(f"The core {core_id!r} cannot be loaded.")
    state = {}
    with torch.no_grad():
        for name, tensor in engine.stack.base_state_dict().items():
            pair = core.pairs.get(name.removesuffix(".weight"))
            if pair is not None:
                update = core.config.scale * (pair[1] @ pair[0])
                tensor = (tensor.float() + update).to(tensor.dtype)
            state[name] = tensor.contiguous()
    with quiet_transformers():
        engine.model.save_pretrained(folder, state_dict=state, safe_serialization=True)
        engine.tokenizer.save_pretrained(folder)
    files: Sequence[str] = sorted(p.name for p in folder.iterdir())
    return Exported(str(folder), snapshot.version, True, tuple(files))


def _make_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder; name a new one.")
    folder.mkdir(parents=True, exist_ok=True)
