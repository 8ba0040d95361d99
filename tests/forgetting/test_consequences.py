"""What a forget is said to destroy is what it destroys."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.config import AnsweringSettings, Settings
from seal_memory.errors import UnknownIdError
from seal_memory.forgetting.consequences import consequences
from seal_memory.forgetting.deletion import Deletion
from seal_memory.learning.workbench import Workbench
from seal_memory.ledger import Ledger
from seal_memory.ledger.encoding import sortable_id
from seal_memory.lora.store import AdapterStore
from seal_memory.records import (
    AdapterKind,
    AdapterRecord,
    Hyperparameters,
    Manifest,
    NewInteraction,
    SelfEdit,
    ShardEntry,
    Status,
)
from seal_memory.routing.builtin import router_maker

MOST = 5  # interactions
CORE = "a-" + "c" * 24


def _no_model() -> object:
    raise AssertionError("nothing asks about what is forgotten, so no model is needed")


def deletion(ledger: Ledger, folder: Path) -> Deletion:
    bench = Workbench(
        ledger,
        _no_model,  # type: ignore[arg-type]
        AdapterStore(folder / "adapters"),
        Settings(),
        routers=router_maker(AnsweringSettings()),
        base_model="tiny",
        clock=lambda: 1.0,
        make_id=sortable_id,
    )
    return Deletion(bench, drop=lambda adapter: None)


def add_adapter(ledger: Ledger, name: str, on: list[str], kind: AdapterKind = AdapterKind.SHARD) -> None:
    ledger.add_self_edits([SelfEdit(f"edit-{name}", name, tuple(on), (), Hyperparameters(), 0)])
    ledger.add_adapter(
        AdapterRecord(name, kind, name, tuple(on), f"edit-{name}", "base", {"rank": 4}, 0, "d", f"s-{name}", 10, 1.0)
    )


groups = st.lists(st.sets(st.integers(0, MOST - 1), min_size=1, max_size=3), max_size=4)


@settings(max_examples=40)
@given(
    shards=groups,
    core=st.booleans(),
    versions=st.lists(st.sets(st.integers(0, 3)), max_size=3),
    current=st.integers(0, 3),
    corrected=st.booleans(),
    wanted=st.sets(st.integers(0, MOST - 1), min_size=1),
)
def test_a_preview_says_what_the_forget_then_reports(
    tmp_path_factory: pytest.TempPathFactory,
    shards: list[set[int]],
    core: bool,
    versions: list[set[int]],
    current: int,
    corrected: bool,
    wanted: set[int],
) -> None:
    """Law: for whatever was learned, published, rolled back or corrected; and the preview changes nothing."""
    folder = tmp_path_factory.mktemp("previewed")
    with Ledger.open(folder, clock=lambda: 1.0) as ledger:
        ids = [seen.id for seen in ledger.observe([NewInteraction(f"Fact {n}.") for n in range(MOST)])]
        made = [(f"a-{n:024x}", [ids[i] for i in sorted(group)]) for n, group in enumerate(shards)]
        for name, on in made:
            add_adapter(ledger, name, on)
        if core:
            add_adapter(ledger, CORE, ids, AdapterKind.CORE)
        ledger.set_status(ids, Status.LEARNED)
        for chosen in versions:
            entries = tuple(ShardEntry(name, name, tuple(on)) for n, (name, on) in enumerate(made) if n in chosen)
            ledger.add_snapshot(Manifest(entries, CORE if core else None), parent=None, base_fingerprint="base")
        ledger.set_current(min(current, len(versions)))
        if corrected:
            ledger.supersede(ids[0], NewInteraction("Another fact."))
        named = [ids[n] for n in sorted(wanted)]
        told, again = consequences(ledger, named), consequences(ledger, named)
        report = deletion(ledger, folder).forget(named).report
        assert told == again
        assert (told.interactions, told.self_edits, told.quiz_items) == (
            report.interactions, report.self_edits, report.quiz_items,
        )  # fmt: skip
        assert (told.adapters, set(told.snapshots)) == (report.adapters, set(report.snapshots))
        assert set(told.to_relearn) == set(report.to_relearn)
        assert set(told.published) <= set(told.adapters)


def test_nothing_is_foretold_of_what_is_not_there(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger, pytest.raises(UnknownIdError):
        consequences(ledger, ["nobody"])
