"""Snapshots: versions, the current one, rollback, destruction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seal_memory.errors import BaseModelMismatchError, UnknownIdError
from seal_memory.ledger import Ledger
from seal_memory.records import AdapterRecord, Manifest, ShardEntry, Snapshot

See = Callable[..., list[str]]
MakeAdapter = Callable[..., AdapterRecord]


def publish(ledger: Ledger, parent: int | None = None) -> Snapshot:
    return ledger.add_snapshot(Manifest(), parent=parent, base_fingerprint="base", note="n")


def test_a_published_snapshot_is_current_and_comes_back_as_it_was(
    ledger: Ledger, see: See, make_adapter: MakeAdapter
) -> None:
    (a,) = see("a")
    ledger.add_adapter(make_adapter("s1", a))
    ledger.add_adapter(make_adapter("core", a))
    assert ledger.current() is None
    manifest = Manifest((ShardEntry("s1", "e1", (a,)),), core="core", router={"threshold": 0.5})
    added = ledger.add_snapshot(manifest, parent=None, base_fingerprint="base", note="first")
    assert (added.version, added.parent, added.manifest, added.note) == (1, None, manifest, "first")
    assert ledger.current() == added == ledger.snapshot(1)


def test_history_is_newest_first(ledger: Ledger) -> None:
    publish(ledger)
    publish(ledger, parent=1)
    assert [(s.version, s.parent) for s in ledger.history()] == [(2, 1), (1, None)]


def test_rollback_moves_the_current_one_only(ledger: Ledger) -> None:
    publish(ledger)
    publish(ledger, parent=1)
    ledger.set_current(1)
    current = ledger.current()
    assert current is not None
    assert current.version == 1
    ledger.set_current(0)
    assert ledger.current() is None
    assert publish(ledger, parent=0).version == 3
    assert ledger.snapshot(3).parent is None


def test_unknown_versions_are_named(ledger: Ledger) -> None:
    for call in (ledger.set_current, ledger.snapshot, lambda v: ledger.destroy_snapshots([v])):
        with pytest.raises(UnknownIdError, match="no snapshot 7"):
            call(7)
    with pytest.raises(UnknownIdError, match="no snapshot 7"):
        publish(ledger, parent=7)


def test_a_destroyed_snapshot_is_gone_and_its_version_never_reused(ledger: Ledger) -> None:
    publish(ledger)
    publish(ledger, parent=1)
    assert ledger.destroy_snapshots([2]) == 1
    assert ledger.destroy_snapshots([2]) == 0
    assert ledger.current() is None
    for call in (ledger.snapshot, ledger.set_current):
        with pytest.raises(UnknownIdError, match="destroyed by a forget"):
            call(2)
    assert [s.version for s in ledger.history()] == [1]
    assert [(s.version, s.note) for s in ledger.history(include_destroyed=True)] == [
        (2, "destroyed by a forget"),
        (1, "n"),
    ]
    assert publish(ledger, parent=2).version == 3


def test_unknown_adapters_cannot_be_published(ledger: Ledger) -> None:
    with pytest.raises(UnknownIdError, match="no adapter s9"):
        ledger.add_snapshot(Manifest((ShardEntry("s9", "e", ()),)), parent=None, base_fingerprint="base")
    assert ledger.history() == []


def test_an_adapter_trained_on_forgotten_text_cannot_be_published(
    ledger: Ledger, see: See, make_adapter: MakeAdapter
) -> None:
    a, b = see("a", "b")
    ledger.add_adapter(make_adapter("s1", a, b))
    ledger.purge([a])
    with pytest.raises(UnknownIdError, match="was forgotten"):
        ledger.add_snapshot(Manifest((ShardEntry("s1", "e", (b,)),)), parent=None, base_fingerprint="base")


def test_versions_are_counted_in_each_namespace(ledger: Ledger, tmp_path: Path) -> None:
    publish(ledger)
    with Ledger.open(tmp_path, namespace="other") as other:
        assert other.current() is None
        assert publish(other).version == 1


def test_a_version_holds_adapters_of_one_base_model(ledger: Ledger, see: See, make_adapter: MakeAdapter) -> None:
    """No model could answer with both; the error names both, and nothing is published."""
    (a,) = see("a")
    ledger.add_adapter(make_adapter("s1", a))
    manifest = Manifest((ShardEntry("s1", "e1", (a,)),))
    with pytest.raises(BaseModelMismatchError, match=r"s1 .*fingerprint base….* for another….*roll back"):
        ledger.add_snapshot(manifest, parent=None, base_fingerprint="another")
    assert ledger.history() == []
