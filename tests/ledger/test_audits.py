"""The audit schedule: every published shard has a place, intervals double, weakness brings the first one back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seal_memory.errors import LedgerError
from seal_memory.ledger import Ledger
from seal_memory.records import Audit, Grade, Manifest, ShardEntry, Status

HOUR = 3600.0


@pytest.fixture
def publish(ledger: Ledger, see: Callable[..., list[str]], make_adapter: Any, make_quiz_item: Any) -> Any:
    """Publishes shards by name, each with one held-out item that it answers."""

    def make(*names: str) -> int:
        shards = []
        for name in names:
            (seen,) = see(f"about {name}")
            if not ledger.quiz_items(ids=[f"q-{name}"]):
                ledger.add_quiz_items([make_quiz_item(f"q-{name}", seen, question=f"Who is {name}?")])
            ledger.add_adapter(make_adapter(f"a-{name}", seen, sha256=name))
            shards.append(ShardEntry(f"a-{name}", f"e-{name}", (seen,)))
        version = ledger.add_snapshot(Manifest(tuple(shards)), parent=None, base_fingerprint="base").version
        ledger.add_grades([Grade(f"q-{n}", f"a-{n}", version, -0.1, 1.0, True, 5.0) for n in names])
        return version

    return make


def test_published_shards_are_scheduled_and_start_with_the_gates_measure(
    ledger: Ledger, publish: Callable[..., int], clock: Callable[[], float]
) -> None:
    """Scheduling again changes nothing."""
    version = publish("one", "two")
    for _ in range(2):
        ledger.audits.schedule(HOUR)
        assert [(d.adapter_id, d.due, d.step) for d in ledger.audits.due()] == [
            ("a-one", clock() + HOUR, 0),
            ("a-two", clock() + HOUR, 0),
        ]
        assert ledger.audits.results(adapter_id="a-one") == [Audit("a-one", "e-one", version, 5.0, 1.0, 1)]
    assert len(ledger.audits.results()) == 2
    assert ledger.audits.due(clock()) == []


def test_intervals_double_until_it_weakens(
    ledger: Ledger, publish: Callable[..., int], clock: Callable[[], float]
) -> None:
    version = publish("one")
    ledger.audits.schedule(HOUR)
    waits = []
    for weakened in (False, False, False, True, False):
        found = Audit("a-one", "e-one", version, clock(), 0.5, 1)
        waits.append(ledger.audits.record(found, weakened=weakened, first_interval=HOUR).due - clock())
    assert waits == [2 * HOUR, 4 * HOUR, 8 * HOUR, HOUR, 2 * HOUR]
    assert len(ledger.audits.results()) == 6


def test_a_clock_that_is_set_back_delays_no_audit_for_longer_than_its_interval(
    ledger: Ledger, publish: Callable[..., int], clock: Any
) -> None:
    """The namespace has work at once, so that its worker brings the date forward."""
    publish("one")
    ledger.set_status([i.id for i in ledger.interactions()], Status.LEARNED)
    ledger.audits.schedule(HOUR)
    assert ledger.namespaces.with_work(audit_interval=HOUR) == []
    clock.now -= 3 * 365 * 86400
    assert ledger.namespaces.with_work(audit_interval=HOUR) == [ledger.namespace]
    ledger.audits.bring_forward(HOUR)
    assert [d.due for d in ledger.audits.due()] == [clock() + HOUR]
    assert ledger.namespaces.with_work(audit_interval=HOUR) == []


def test_what_is_no_longer_published_is_no_longer_due(ledger: Ledger, publish: Callable[..., int]) -> None:
    """Its results stay, and go with the adapter."""
    publish("one", "two")
    ledger.audits.schedule(HOUR)
    current = ledger.current()
    assert current is not None
    second = Manifest(current.manifest.shards[1:])
    ledger.add_snapshot(second, parent=current.version, base_fingerprint="base")
    ledger.audits.schedule(HOUR)
    assert [d.adapter_id for d in ledger.audits.due()] == ["a-two"]
    assert len(ledger.audits.results()) == 2
    ledger.destroy_snapshots([current.version])
    ledger.remove_adapters(["a-one"])
    assert [a.adapter_id for a in ledger.audits.results()] == ["a-two"]


def test_an_audit_of_nothing_known_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError):
        ledger.audits.record(Audit("a-x", "e-x", 1, 0.0, 1.0, 1), weakened=False, first_interval=HOUR)
    assert ledger.audits.results() == []
