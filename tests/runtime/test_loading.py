"""Which snapshot is served when adapter files are missing, and what others do while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def _publish(ledger: Ledger, name: str, base: str = "base") -> str:
    """The next version: one shard of one text, without the shards before; the text's id."""
    (seen,) = ledger.observe([NewInteraction(f"What {name} holds.")])
    ledger.add_adapter(
        AdapterRecord(name, AdapterKind.SHARD, name, (seen.id,), None, base, {}, 0, "d", f"s-{name}", 1, 1.0)
    )
    shard = ShardEntry(name, f"e-{name}", (seen.id,))
    ledger.add_snapshot(Manifest((shard,)), parent=None, base_fingerprint=base)
    ledger.set_status([seen.id], Status.LEARNED)
    return seen.id


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


def test_what_is_served_instead_may_go_while_it_is_read(ledger: Ledger) -> None:
    """Then the version before it is served, not one that was pruned meanwhile."""
    for name in ("one", "two", "three"):
        _publish(ledger, name)

    def another_process(_: Shelf) -> None:
        ledger.destroy_snapshots([2], note="pruned")

    served = SnapshotGuard(ledger, Shelf("one", "two", at="two", meanwhile=another_process)).usable()
    assert served is not None
    assert (served.version, _version(ledger)) == (1, 1)


def test_damaged_files_fall_back_to_a_version_of_the_same_base_model(ledger: Ledger) -> None:
    """One of another base model could not be asked."""
    _publish(ledger, "one", base="mine")
    _publish(ledger, "two", base="another")
    _publish(ledger, "three", base="mine")
    served = SnapshotGuard(ledger, Shelf("one", "two")).usable()
    assert served is not None
    assert (served.version, _version(ledger)) == (1, 1)
