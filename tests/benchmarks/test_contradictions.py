"""The data that the rules of superseding are measured on, and what is counted of it."""

from __future__ import annotations

from benchmarks import contradictions
from benchmarks.tasks import changes
from benchmarks.tasks.changes import Change
from seal_memory.text import normalise


def test_half_of_the_pairs_change_something() -> None:
    told = changes.load()
    assert len({c.id for c in told}) == len({(c.older, c.newer) for c in told}) == len(told) == 240
    assert sum(c.changed for c in told) == 120
    assert all(c.changed for c in told if c.kept is not None)
    assert all(normalise(c.older) != normalise(c.newer) for c in told)


def test_a_change_is_found_right_only_where_nothing_that_holds_is_lost() -> None:
    code, other = "The code of the little garage is 2673.", "The code of the little garage is 9727."
    told = [
        Change("right", code, other, changed=True, kept=None),
        Change("lost", code, other, changed=True, kept="The garage is little."),
        Change("false", code, other, changed=False, kept=None),
        Change("missed", "Ada is fond of tea.", "Ada has gone over to coffee.", changed=True, kept=None),
        Change("left alone", "Ada is fond of tea.", "Ada is fond of coffee.", changed=False, kept=None),
    ]
    assert contradictions.on_pairs(told) == {
        "pairs": 5, "changes": 3, "found_right": 1, "lost_what_holds": 1, "false_merges": 1
    }  # fmt: skip
