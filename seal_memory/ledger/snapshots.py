"""Snapshot rows: the published versions of a memory, and the current one.

Versions count from 1 in each namespace and are never reused. A destroyed snapshot keeps its number, parent and time;
its manifest is erased and its note replaced.

Not here: adapter files (`lora.store`), deciding on publication (`learning.gate`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import asdict

from seal_memory.errors import BaseModelMismatchError, InputError, UnknownIdError
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import from_json, id_list, to_json
from seal_memory.ledger.interactions import require_interactions
from seal_memory.ledger.learning_rows import delete_adapters
from seal_memory.records import AdapterKind, Manifest, ShardEntry, Snapshot

DESTROYED_NOTE = "destroyed by a forget"


def add_snapshot(scope: Scope, manifest: Manifest, *, parent: int | None, base_fingerprint: str, note: str) -> Snapshot:
    with scope.connection.atomic():
        _check_manifest(scope, manifest)
        _check_base(scope, manifest, base_fingerprint)
        if parent:
            _row_of(scope, parent)
        version = 1 + int(
            scope.connection.rows(
                "SELECT coalesce(max(version), 0) FROM snapshots WHERE namespace = ?", (scope.namespace,)
            )[0][0]
        )
        snapshot = Snapshot(version, parent or None, manifest, scope.clock(), base_fingerprint, note)
        scope.connection.run(
            "INSERT INTO snapshots (namespace, version, parent, manifest, created, base_fingerprint, note)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                scope.namespace, version, snapshot.parent, to_json(asdict(manifest), "the manifest"),
                snapshot.created, base_fingerprint, note,
            ),
        )  # fmt: skip
        set_current(scope, version)
    return snapshot


def current(scope: Scope) -> Snapshot | None:
    rows = scope.connection.rows(
        "SELECT s.* FROM snapshots s JOIN heads h ON h.namespace = s.namespace AND h.version = s.version"
        " WHERE s.namespace = ?",
        (scope.namespace,),
    )
    return _snapshot_from(rows[0]) if rows else None


def snapshot(scope: Scope, version: int) -> Snapshot:
    row = _row_of(scope, version)
    if row["manifest"] is None:
        raise UnknownIdError(f"snapshot {version} of {scope.namespace!r} was {row['note'] or DESTROYED_NOTE}")
    return _snapshot_from(row)


def history(scope: Scope, *, include_destroyed: bool) -> list[Snapshot]:
    rows = scope.connection.rows(
        "SELECT * FROM snapshots WHERE namespace = ? AND (? OR manifest IS NOT NULL) ORDER BY version DESC",
        (scope.namespace, int(include_destroyed)),
    )
    return [_snapshot_from(row) for row in rows]


def set_current(scope: Scope, version: int | None) -> None:
    with scope.connection.atomic():
        if not version:
            scope.connection.run("DELETE FROM heads WHERE namespace = ?", (scope.namespace,))
            return
        snapshot(scope, version)
        scope.connection.run(
            "INSERT INTO heads (namespace, version) VALUES (?, ?)"
            " ON CONFLICT (namespace) DO UPDATE SET version = excluded.version",
            (scope.namespace, version),
        )


def destroy_snapshots(scope: Scope, versions: Collection[int], *, note: str = DESTROYED_NOTE) -> int:
    with scope.connection.atomic():
        for version in versions:
            _row_of(scope, version)
        scope.connection.run(
            "DELETE FROM heads WHERE namespace = ? AND version IN (SELECT value FROM json_each(?))",
            (scope.namespace, id_list(versions)),
        )
        return scope.connection.run(
            "UPDATE snapshots SET manifest = NULL, note = ? WHERE namespace = ? AND manifest IS NOT NULL"
            " AND version IN (SELECT value FROM json_each(?))",
            (note, scope.namespace, id_list(versions)),
        )


def versions_holding(scope: Scope, *, adapter_ids: Collection[str], interaction_ids: Collection[str] = ()) -> list[int]:
    """Versions, oldest first, that contain one of these adapters or a shard of one of these interactions."""
    adapters, interactions = set(adapter_ids), set(interaction_ids)
    return [
        snapshot.version
        for snapshot in reversed(history(scope, include_destroyed=False))
        if adapters.intersection(snapshot.manifest.adapter_ids)
        or any(interactions.intersection(shard.interaction_ids) for shard in snapshot.manifest.shards)
    ]


def remove_adapters(scope: Scope, ids: Collection[str]) -> int:
    with scope.connection.atomic():
        versions = versions_holding(scope, adapter_ids=ids)
        if versions:
            raise InputError(
                f"the adapters are still part of snapshots {', '.join(map(str, versions))}: "
                "destroy these snapshots first"
            )
        return delete_adapters(scope, ids)


def _check_manifest(scope: Scope, manifest: Manifest) -> None:
    """Raise UnknownIdError for adapters that are unknown or were trained on forgotten text."""
    rows = scope.connection.rows(
        "SELECT j.value FROM json_each(?) j WHERE NOT EXISTS"
        " (SELECT 1 FROM adapters a WHERE a.namespace = ? AND a.id = j.value)",
        (id_list(manifest.adapter_ids), scope.namespace),
    )
    if rows:
        raise UnknownIdError(
            f"the ledger holds no adapter {', '.join(row[0] for row in rows)}: add it before it is published"
        )
    _refuse_policies(scope, manifest)
    trained_on = scope.connection.rows(
        "SELECT DISTINCT l.interaction_id FROM adapter_links l JOIN adapters a ON a.seq = l.owner"
        " WHERE a.namespace = ? AND a.id IN (SELECT value FROM json_each(?))",
        (scope.namespace, id_list(manifest.adapter_ids)),
    )
    named = [i for shard in manifest.shards for i in shard.interaction_ids]
    require_interactions(scope, {*(row[0] for row in trained_on), *named})


def _refuse_policies(scope: Scope, manifest: Manifest) -> None:
    """Raise InputError for a note-writer's adapter, which must not be published."""
    rows = scope.connection.rows(
        "SELECT id FROM adapters WHERE namespace = ? AND kind = ? AND id IN (SELECT value FROM json_each(?))",
        (scope.namespace, AdapterKind.POLICY, id_list(manifest.adapter_ids)),
    )
    if rows:
        raise InputError(f"adapter {rows[0][0]} is a note-writer's; expected shards and a core in a manifest")


def _check_base(scope: Scope, manifest: Manifest, base_fingerprint: str) -> None:
    """Raise BaseModelMismatchError for an adapter of another base model than the snapshot's."""
    rows = scope.connection.rows(
        "SELECT id, base_fingerprint FROM adapters WHERE namespace = ? AND base_fingerprint != ?"
        " AND id IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT 1",
        (scope.namespace, base_fingerprint, id_list(manifest.adapter_ids)),
    )
    if rows:
        raise BaseModelMismatchError(
            f"adapter {rows[0][0]} was trained on a base model with fingerprint {rows[0][1][:16]}…, and the new "
            f"version is for {base_fingerprint[:16]}…: open the memory with the model that its published version was "
            "made with, or roll back to a version of this one (0 is the untouched base) first"
        )


def _row_of(scope: Scope, version: int) -> sqlite3.Row:
    rows = scope.connection.rows(
        "SELECT * FROM snapshots WHERE namespace = ? AND version = ?", (scope.namespace, version)
    )
    if not rows:
        raise UnknownIdError(f"the memory {scope.namespace!r} has no snapshot {version}: see history()")
    return rows[0]


def _snapshot_from(row: sqlite3.Row) -> Snapshot:
    stored = from_json(row["manifest"]) if row["manifest"] is not None else {}
    shards = tuple(
        ShardEntry(shard["adapter_id"], shard["episode_id"], tuple(shard["interaction_ids"]))
        for shard in stored.get("shards", ())
    )
    return Snapshot(
        version=row["version"],
        parent=row["parent"],
        manifest=Manifest(shards, stored.get("core"), stored.get("router", {})),
        created=row["created"],
        base_fingerprint=row["base_fingerprint"],
        note=row["note"],
    )
