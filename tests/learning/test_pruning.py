"""Pruning old versions: what goes, what a rollback still reaches, and what a kill in between leaves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from seal_memory import SealMemory
from seal_memory.errors import InputError, UnknownIdError
from seal_memory.learning.pruning import needed, prune_snapshots

Open = Callable[..., SealMemory]
TEXTS = (
    "Maud Ellery built the lighthouse at Korrin Bay in 1887.",
    "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office.",
    "Rosa Klein sold the ferry at Elm Point to Otto Fenn.",
)


def _publish(memory: SealMemory, text: str, *rebuild: str) -> str:
    """The newest shard."""
    if not rebuild:
        (seen,) = memory.observe(text, session=text[:5])
        memory.add_quiz([(f"Who is it about, {text[:12]}?", text.split()[0])], interaction_ids=[seen.id])
    memory.consolidate(rebuild=rebuild)
    current = memory.ledger.current()
    assert current is not None
    return current.manifest.shards[-1].adapter_id


def test_only_the_newest_versions_stay_within_reach(open_memory: Open) -> None:
    """A replaced shard's files go with the last version that held it; its record stays; later versions still work."""
    memory = open_memory(storage={"snapshots_kept": 2})
    old = _publish(memory, TEXTS[0])
    new = _publish(memory, TEXTS[0], old)
    assert old != new
    assert set(memory.store.ids()) == {old, new}
    _publish(memory, TEXTS[1])
    assert [s.version for s in memory.history()] == [3, 2]
    assert old not in memory.store.ids()
    assert old in {a.id for a in memory.ledger.adapters()}
    assert memory.status().adapter_bytes == sum(a.bytes for a in memory.ledger.adapters() if a.id != old)
    with pytest.raises(UnknownIdError, match="snapshot 1 of 'default' was pruned: only the newest 2"):
        memory.rollback(1)
    assert memory.rollback(2) is not None
    assert memory.ask("Who built the lighthouse at Korrin Bay?", mode="weights").snapshot == 2


def test_all_is_kept_unless_the_settings_say_otherwise(open_memory: Open) -> None:
    """A rollback may need it."""
    memory = open_memory()
    old = _publish(memory, TEXTS[0])
    _publish(memory, TEXTS[0], old)
    _publish(memory, TEXTS[1])
    assert len(memory.history()) == 3
    assert old in memory.store.ids()


def test_the_published_version_stays_however_old_it_is(open_memory: Open) -> None:
    """After a rollback it is not among the newest."""
    memory = open_memory()
    first = _publish(memory, TEXTS[0])
    _publish(memory, TEXTS[1])
    _publish(memory, TEXTS[2])
    memory.rollback(1)
    done = prune_snapshots(memory.ledger, memory.store, keep=1)
    assert done.snapshots == (2,)
    assert [s.version for s in memory.history()] == [3, 1]
    assert first in needed(memory.ledger)
    assert done.adapters == ()  # version 3 holds all three
    with pytest.raises(InputError, match="-1 snapshots"):
        prune_snapshots(memory.ledger, memory.store, keep=-1)


def test_files_that_a_kill_left_are_swept_by_the_next_consolidation(open_memory: Open) -> None:
    """The ledger lets go first; the file is in nobody's way meanwhile."""
    memory = open_memory()
    old = _publish(memory, TEXTS[0])
    _publish(memory, TEXTS[0], old)
    memory.ledger.destroy_snapshots([1], note="pruned")  # and killed before the files went
    assert old in memory.store.ids()
    memory.consolidate()
    assert old not in memory.store.ids()
