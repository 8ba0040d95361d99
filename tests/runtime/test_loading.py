"""Which snapshot is served when adapter files are missing, and what others do while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seal_memory.ledger import Ledger
from seal_memory.lora.store import AdapterStore
from seal_memory.records import AdapterKind, AdapterRecord, Manifest, NewInteraction, ShardEntry, Status
from seal_memory.runtime.loading import SnapshotGuard


class Shelf(AdapterStore):
    """A store of names without files; `meanwhile` is done once, before adapter `at` is looked at."""

    def __init__(self, *whole: str, at: str = "", meanwhile: Callable[[Shelf], None] = lambda shelf: None) -> None:
        self.whole, self.at, self.meanwhile = set(whole), at, meanwhile

    def stamp(self, adapter_id: str) -> str | None:
        if adapter_id == self.at:
            self.at = ""
            self.meanwhile(self)
        return "there" if adapter_id in self.whole else None

    def verify(self, adapter_id: str, sha256: str) -> bool:
        return adapter_id in self.whole


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path, clock=lambda: 1.0) as opened:
        yield opened


def _publish(ledger: Ledger, name: str) -> str:
    """The next version: one shard of one text, without the shards before; the text's id."""
    shard = _shard(ledger, name)
    ledger.add_snapshot(Manifest((shard,)), parent=None, base_fingerprint="base")
    return shard.interaction_ids[0]


def _version(ledger: Ledger) -> int:
    current = ledger.current()
    return current.version if current is not None else 0


def test_a_version_that_was_published_meanwhile_stays_published(ledger: Ledger) -> None:
    """Its predecessor's files are gone because it was pruned, not because they were damaged."""
    _publish(ledger, "one")
    two = _publish(ledger, "two")

    def another_process(shelf: Shelf) -> None:
        _publish(ledger, "three")
        ledger.destroy_snapshots([2], note="pruned")
        shelf.whole -= {"two"}

    served = SnapshotGuard(ledger, Shelf("one", "two", "three", at="two", meanwhile=another_process)).usable()
    assert served is not None
    assert (served.version, _version(ledger)) == (3, 3)
    assert ledger.interactions(ids=[two])[0].status is Status.LEARNED


def test_a_forget_while_files_are_read_is_no_error(ledger: Ledger) -> None:
    """Neither the adapter's record nor its files are there any more; what is published then is looked at."""
    _publish(ledger, "one")
    _publish(ledger, "two")

    def another_process(shelf: Shelf) -> None:
        with ledger.atomic():
            ledger.destroy_snapshots([2])
            ledger.set_current(1)
            ledger.remove_adapters(["two"])
        shelf.whole -= {"two"}

    served = SnapshotGuard(ledger, Shelf("one", "two", at="two", meanwhile=another_process)).usable()
    assert served is not None
    assert (served.version, _version(ledger)) == (1, 1)


def _shard(ledger: Ledger, name: str, base: str = "base") -> ShardEntry:
    """A shard of one text."""
    (seen,) = ledger.observe([NewInteraction(f"What {name} holds.")])
    ledger.add_adapter(
        AdapterRecord(name, AdapterKind.SHARD, name, (seen.id,), None, base, {}, 0, "d", f"s-{name}", 1, 1.0)
    )
    ledger.set_status([seen.id], Status.LEARNED)
    return ShardEntry(name, f"e-{name}", (seen.id,))


def test_only_what_a_damaged_adapter_held_goes_back_to_text(ledger: Ledger) -> None:
    """The others of its version, also newer ones, stay published; so does what another shard holds, too."""
    one, two, three = (_shard(ledger, name) for name in ("one", "two", "three"))
    again = replace(three, interaction_ids=(*three.interaction_ids, *one.interaction_ids))
    core = replace(_shard(ledger, "core"), interaction_ids=())
    ledger.add_snapshot(Manifest((one, two, again), core.adapter_id), parent=None, base_fingerprint="base")
    served = SnapshotGuard(ledger, Shelf("three")).usable()
    assert served is not None
    assert served.manifest == Manifest((again,))
    assert (served.version, _version(ledger)) == (2, 2)
    assert [i.id for i in ledger.interactions(status=Status.PENDING)] == list(two.interaction_ids)


def test_a_damaged_adapter_is_left_out_beside_one_of_another_base_model(ledger: Ledger) -> None:
    """Earlier releases mixed base models; such an adapter could not be asked."""
    shards = _shard(ledger, "one"), _shard(ledger, "two")
    ledger.add_snapshot(Manifest(shards), parent=None, base_fingerprint="base")
    ledger._scope.connection.database["adapters"].update(1, {"base_fingerprint": "another"})
    served = SnapshotGuard(ledger, Shelf("one")).usable()
    assert served is not None
    assert served.manifest == Manifest()


def test_where_nothing_can_be_written_the_rest_answers_all_the_same(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only folder, or a full disk; the damaged adapter stays published until it can be written."""
    shards = _shard(ledger, "one"), _shard(ledger, "two")
    ledger.add_snapshot(Manifest(shards), parent=None, base_fingerprint="base")
    guard = SnapshotGuard(ledger, Shelf("two"))
    with monkeypatch.context() as patched:
        patched.setattr(ledger._scope.connection, "read_only", True)
        served = guard.usable()
    assert served is not None
    assert (served.version, served.manifest) == (1, Manifest(shards[1:]))
    served = guard.usable()
    assert served is not None
    assert served.version == _version(ledger) == 2
