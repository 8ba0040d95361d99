"""The ledger's rows of the policy: versions, examples, arm rewards, and what a forget leaves of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from seal_memory.errors import InputError, UnknownIdError
from seal_memory.ledger import Ledger
from seal_memory.records import AdapterKind, AdapterRecord, Genre, Manifest, PolicyExample, PolicyVersion, ShardEntry


def _adapter(adapter_id: str, *ids: str, kind: AdapterKind = AdapterKind.POLICY) -> AdapterRecord:
    return AdapterRecord(adapter_id, kind, None, ids, None, "base", {"rank": 4}, 0, "d", adapter_id, 1, 7.0)


def _example(name: str, *ids: str, text: str = "It stands.") -> PolicyExample:
    return PolicyExample(name, ids, Genre.QA, text, "Ada", f"Who? {text}", 0.5)


def _add(filled: Any, adapter_id: str | None, *examples: PolicyExample, promoted: bool = True) -> PolicyVersion:
    if adapter_id is not None:
        ids = {i for e in examples for i in e.interaction_ids}
        filled.ledger.add_adapter(_adapter(adapter_id, *sorted(ids)))
    added: PolicyVersion = filled.ledger.policy.add_version(
        adapter_id, examples, parent=None, promoted=promoted, reasons=["why"], measures={"gain": 0.1},
        base_fingerprint="base",
    )  # fmt: skip
    return added


def test_a_version_that_was_not_promoted_stays_as_evidence(filled: Any) -> None:
    """With its figures and examples, and no adapter."""
    rows, (one, two) = filled.ledger.policy, filled.ids
    assert rows.versions() == []
    first = _add(filled, "p1", _example("e1", one))
    refused = _add(filled, None, _example("e1", two), promoted=False)
    assert (first.version, refused.version) == (1, 2)
    assert (first.promoted, refused.promoted, refused.adapter_id) == (True, False, None)
    assert rows.versions() == [first, refused]
    assert refused.measures == {"gain": 0.1}
    assert rows.examples(1) == [_example("e1", one)]
    assert rows.examples(2) == [_example("e1", two)]


def test_a_forget_takes_the_version_and_its_examples(filled: Any, tmp_path: Path) -> None:
    """The version's figures stay, without an adapter, and those of an older one; no byte of the text is left."""
    (one, two), ledger = filled.ids, filled.ledger
    old = _add(filled, "p1", _example("e1", two))
    _add(filled, "p2", _example("e1", one, text="xylofract"), _example("e2", two))
    report = ledger.purge([one])
    assert report.adapter_ids == ("p2",)
    ledger.remove_adapters(report.adapter_ids)
    assert ledger.policy.versions()[0] == old
    assert [v.adapter_id for v in ledger.policy.versions()] == ["p1", None]
    assert [e.id for e in ledger.policy.examples(2)] == ["e2"]
    assert all(b"xylofract" not in f.read_bytes() for f in tmp_path.glob("ledger.sqlite*"))


def test_what_was_forgotten_meanwhile_cannot_be_added(filled: Any) -> None:
    """Neither examples nor a version without its adapter, and nothing of a failed one stays."""
    one, two = filled.ids
    filled.ledger.purge([one])
    with pytest.raises(UnknownIdError, match="forgotten"):
        _add(filled, None, _example("e1", two), _example("e2", one), promoted=False)
    with pytest.raises(UnknownIdError, match="no adapter p9"):
        filled.ledger.policy.add_version(
            "p9", [], parent=None, promoted=True, reasons=[], measures={}, base_fingerprint="base"
        )
    assert filled.ledger.policy.versions() == []


def test_a_promoted_version_needs_an_adapter(filled: Any) -> None:
    """There would be nothing to write with."""
    with pytest.raises(InputError, match="expected the id"):
        _add(filled, None, promoted=True)


def test_a_policy_adapter_is_never_part_of_a_memory(filled: Any) -> None:
    """Neither as a shard nor as the core."""
    one = filled.ids[0]
    filled.ledger.add_adapter(_adapter("p1", one))
    for manifest in (Manifest(core="p1"), Manifest((ShardEntry("p1", "e", (one,)),))):
        with pytest.raises(InputError, match="p1 is a note-writer's"):
            filled.ledger.add_snapshot(manifest, parent=None, base_fingerprint="base")
    assert filled.ledger.current() is None


def test_arm_rewards_are_kept_once_and_by_namespace(filled: Any, tmp_path: Path) -> None:
    """A step that is repeated after a kill does not count twice."""
    rows = filled.ledger.policy
    assert rows.add_arm_rewards([("s1", "arm", 0.25), ("s2", "arm", -1.0)]) == 2
    assert rows.add_arm_rewards([("s1", "arm", 9.0)]) == 0
    assert [(r.edit_id, r.arm, r.reward, r.time) for r in rows.arm_rewards()] == [
        ("s1", "arm", 0.25, 7.0),
        ("s2", "arm", -1.0, 7.0),
    ]
    with Ledger.open(tmp_path, namespace="other") as other:
        assert other.policy.arm_rewards() == []
        assert other.policy.versions() == []


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_refused(filled: Any, bad: float) -> None:
    """It would decide every draw."""
    with pytest.raises(InputError, match=r"s1 is (nan|inf)"):
        filled.ledger.policy.add_arm_rewards([("s1", "arm", bad)])
