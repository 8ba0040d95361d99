"""The pairs of statements of which some change a fact."""

from __future__ import annotations

from benchmarks.tasks import changes
from seal_memory.language.text import normalise


def test_half_of_the_pairs_change_something() -> None:
    told = changes.load()
    assert len({c.id for c in told}) == len({(c.older, c.newer) for c in told}) == len(told) == 240
    assert sum(c.changed for c in told) == 120
    assert all(c.changed for c in told if c.kept is not None)
    assert all(normalise(c.older) != normalise(c.newer) for c in told)
