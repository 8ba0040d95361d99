"""Several iterators as one: nothing is lost or doubled, each keeps its order, and who leaves closes them."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.engines.vllm.streams import merge


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


def _told(items: list[int], closed: list[int], *, trouble: bool = False) -> Generator[int, None, None]:
    try:
        yield from items
        if trouble:
            raise ConnectionError
    finally:
        closed.append(len(items))


@given(lists=st.lists(st.lists(st.integers(), max_size=5), max_size=6))
def test_every_item_comes_once_and_in_its_order(threads: ThreadPoolExecutor, lists: list[list[int]]) -> None:
    """Law, for any lists, also more than there are threads."""
    closed: list[int] = []
    items = list(merge([partial(_told, items, closed) for items in lists], threads))
    assert [[x for n, x in items if n == at] for at in range(len(lists))] == lists
    assert sorted(closed) == sorted(map(len, lists))


@pytest.mark.parametrize("others", [0, 2])
def test_what_one_raises_is_raised(threads: ThreadPoolExecutor, others: int) -> None:
    makers = [partial(_told, [1], [], trouble=True), *[partial(_told, [2], [])] * others]
    with pytest.raises(ConnectionError):
        list(merge(makers, threads))


def test_who_stops_listening_closes_them(threads: ThreadPoolExecutor) -> None:
    """At their next item at the latest, and long before their ends; what was not begun is not."""
    opened: list[int] = []
    closed: list[int] = []

    def endless(which: int) -> Generator[int, None, None]:
        opened.append(which)
        try:
            yield from itertools.count()
        finally:
            closed.append(which)

    with ThreadPoolExecutor(2) as own:
        pieces = merge([partial(endless, 0), partial(endless, 1)], own)
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]  # it is a generator
    assert sorted(closed) == sorted(opened)
    assert opened
