"""A namespace's quota: what would exceed it is refused whole, and a forget makes room."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_memory.errors import QuotaError
from seal_memory.ledger import Ledger
from seal_memory.records import NewInteraction


def text(n: int) -> NewInteraction:
    return NewInteraction(f"{n}: {'barrel ' * 140}")


def test_a_full_namespace_refuses_all_or_nothing_and_others_go_on(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, quota=5000) as ledger, Ledger.open(tmp_path, namespace="other", quota=5000) as other:
        ids = [seen.id for n in range(4) for seen in ledger.observe([text(n)])]
        with pytest.raises(QuotaError, match=r"holds 3,9\d\d bytes of text and may hold 5,000; 1,9\d\d more"):
            ledger.observe([text(5), text(6)])
        assert len(ledger.interactions()) == 4
        other.observe([text(5), text(6)])
        ledger.purge(ids[:2])
        assert len(ledger.observe([text(5), text(6)])) == 2


def test_without_a_quota_there_is_none(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        assert len(ledger.observe([text(n) for n in range(100)])) == 100
