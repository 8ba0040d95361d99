"""`SealMemoryStore`: LangGraph's own in-memory store, and a memory that learns and forgets along with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory import SealMemory
from seal_memory.errors import InputError, LedgerError
from seal_memory.ledger.leases import lease

pytest.importorskip("langgraph", reason="LangGraph is not installed: pip install seal-memory[langgraph]")

from langgraph.store.base import GetOp, Item, ListNamespacesOp, MatchCondition, PutOp, SearchItem, SearchOp
from langgraph.store.memory import InMemoryStore

from seal_memory_langgraph import SealMemoryStore

NEVER = 10**9


class Clock:
    """Time that only the test moves on."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 0.001  # no two operations at one time
        return self.now


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[tuple[SealMemory, SealMemoryStore]]:
    with SealMemory.open(folder) as memory:
        store = SealMemoryStore(memory, **options)
        try:
            yield memory, store
        finally:
            store.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[SealMemory, SealMemoryStore]]:
    with opened(tmp_path) as both:
        yield both


def texts(memory: SealMemory) -> set[str]:
    return {i.text for i in memory.ledger.interactions()}


# -- against the reference -------------------------------------------------------------------------

LABELS = st.sampled_from(["users", "ada", "bo", "notes"])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["a", "b", "c/d", "e:f"])
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-4, 4, allow_nan=False) | st.text(max_size=6)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
VALUES = st.fixed_dictionaries(
    {"kind": st.sampled_from(["fact", "taste", "a longer sort of thing"]), "size": st.integers(-3, 3)},
    optional={"more": JSON, "tags": st.lists(LABELS, max_size=2)},
)
NUMBERS = st.integers(-3, 3)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["fact", "taste"]) | st.fixed_dictionaries({"$ne": st.just("fact")}),
        "size": NUMBERS
        | st.fixed_dictionaries({"$gt": NUMBERS})
        | st.fixed_dictionaries({"$gte": NUMBERS, "$lt": NUMBERS})
        | st.fixed_dictionaries({"$lte": NUMBERS, "$eq": NUMBERS}),
        "tags": st.lists(LABELS, max_size=1),
        "more": JSON,
        "absent": st.none(),
    },
)
CONDITIONS = st.builds(
    MatchCondition,
    st.sampled_from(["prefix", "suffix"]),
    st.lists(LABELS | st.just("*"), min_size=1, max_size=3).map(tuple),
)
PAGES = {"limit": st.integers(0, 4) | st.just(NEVER), "offset": st.integers(0, 3)}
QUERIES = st.sampled_from(["a longer thing", "fact?", ""])
PREFIXES = st.lists(LABELS, max_size=2).map(tuple)
PUTS = st.builds(PutOp, NAMESPACES, KEYS, VALUES | st.none(), st.sampled_from([None, False]), st.none())
OPS = st.one_of(
    PUTS,
    PUTS,
    st.builds(GetOp, NAMESPACES, KEYS, st.booleans()),
    st.builds(SearchOp, PREFIXES, st.none() | FILTERS, PAGES["limit"], PAGES["offset"], st.none(), st.booleans()),
    st.builds(SearchOp, PREFIXES, st.none(), st.just(NEVER), st.just(0), QUERIES, st.booleans()),
    st.builds(
        ListNamespacesOp, st.lists(CONDITIONS, max_size=2).map(tuple), st.none() | st.integers(1, 2), *PAGES.values()
    ),
)


class Reference(InMemoryStore):
    """LangGraph's store, but for a slip: it also lists namespaces that were only asked for, or that are emptied."""

    def _handle_list_namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        for namespace in [n for n, items in self._data.items() if not items]:
            del self._data[namespace]
        return super()._handle_list_namespaces(op)


def shown(result: Any) -> Any:
    """A result without times, scores and the order of a search: the reference keeps none of them in common with us."""
    if isinstance(result, list) and result and isinstance(result[0], SearchItem):
        return sorted(json.dumps([i.namespace, i.key, i.value]) for i in result)
    return (result.namespace, result.key, result.value) if isinstance(result, Item) else result


def agree(op: Any, ours: Any, theirs: Any, everything: Any) -> bool:
    """Equal; of a page of a search, as long as theirs and the right part of our own order."""
    if not isinstance(op, SearchOp) or (op.limit, op.offset) == (NEVER, 0):
        return bool(shown(ours) == shown(theirs))
    expected = everything[op.offset : op.offset + op.limit]
    return len(ours) == len(theirs) and shown(ours) == shown(expected)


@settings(max_examples=25)
@given(st.lists(st.lists(OPS, min_size=1, max_size=4), min_size=1, max_size=8), st.booleans())
def test_every_batch_answers_as_the_in_memory_store(batches: list[list[Any]], in_a_loop: bool) -> None:
    """Gets, searches with filters and pages, listings: the same after any puts and deletes, sync and async."""
    reference = Reference()
    with TemporaryDirectory() as folder, opened(Path(folder), clock=Clock()) as (_, store):
        for ops in batches:
            all_of = [
                store.batch([o._replace(limit=NEVER, offset=0)])[0] if isinstance(o, SearchOp) else None for o in ops
            ]
            theirs = reference.batch(ops)
            ours = asyncio.run(store.abatch(ops)) if in_a_loop else store.batch(ops)
            for op, our, their, everything in zip(ops, ours, theirs, all_of, strict=True):
                assert agree(op, our, their, everything), (op, our, their)


@settings(max_examples=15)
@given(st.lists(PUTS, min_size=1, max_size=12))
def test_memory_holds_what_the_store_holds_and_nothing_else(puts: list[PutOp]) -> None:
    """After any puts, overwrites and deletes the ledger has the texts of the items that are there, and no other."""
    with TemporaryDirectory() as folder, opened(Path(folder), clock=Clock()) as (memory, store):
        for put in puts:
            store.batch([put])
        learned = {row.learned for row in store._items.rows() if row.interactions}
        assert texts(memory) == {t for t in texts(memory) if t in learned}
        held = {i for row in store._items.rows() for i in row.interactions}
        assert held == {i.id for i in memory.ledger.interactions()}
        assert store.due_to_forget() == 0


# -- learning and forgetting -----------------------------------------------------------------------


def test_what_is_put_is_observed_with_its_place(pair: tuple[SealMemory, SealMemoryStore]) -> None:
    """The namespace is the session, namespace and key the source; a deleted item is forgotten."""
    memory, store = pair
    store.put(("users", "ada"), "k1", {"memory": "Ada Brandt repairs sextants in Korrin Bay.", "age": 41})
    (seen,) = memory.ledger.interactions(source="langgraph/users/ada/k1")
    assert (seen.text, seen.session) == ("Ada Brandt repairs sextants in Korrin Bay.\nage: 41", "users/ada")
    store.delete(("users", "ada"), "k1")
    assert texts(memory) == set()
    assert b"sextants" not in (memory.folder / "langgraph.sqlite").read_bytes()


def test_the_same_value_again_is_not_learned_again(pair: tuple[SealMemory, SealMemoryStore]) -> None:
    """A replayed put is no further sighting; another value replaces the old one in memory too."""
    memory, store = pair
    for _ in range(3):
        store.put(("users",), "k", {"memory": "Ada Brandt likes pears."})
    (seen,) = memory.ledger.interactions()
    assert seen.sightings == 1
    store.put(("users",), "k", {"memory": "Ada Brandt likes plums."})
    assert texts(memory) == {"Ada Brandt likes plums."}


def test_two_items_with_one_text_share_what_is_learned(pair: tuple[SealMemory, SealMemoryStore]) -> None:
    """Deleting one of them forgets nothing; deleting both does."""
    memory, store = pair
    for key in ("one", "two"):
        store.put(("users",), key, {"memory": "Ada Brandt likes pears."})
    store.delete(("users",), "one")
    assert texts(memory) == {"Ada Brandt likes pears."}
    assert store.get(("users",), "two") is not None
    store.delete(("users",), "two")
    assert texts(memory) == set()


def test_what_memory_forgets_is_gone_from_the_store(pair: tuple[SealMemory, SealMemoryStore]) -> None:
    """`forget(session=…)` of a namespace takes its items along, text and all."""
    memory, store = pair
    store.put(("users", "ada"), "k", {"memory": "Ada Brandt likes pears."})
    store.put(("users", "bo"), "k", {"memory": "Bo Lind likes plums."})
    memory.forget(session="users/ada")
    assert store.get(("users", "ada"), "k") is None
    assert [i.namespace for i in store.search(())] == [("users", "bo")]
    assert store.list_namespaces() == [("users", "bo")]
    assert b"pears" not in (memory.folder / "langgraph.sqlite").read_bytes()


def test_a_forget_leaves_no_byte_in_the_stores_file(tmp_path: Path) -> None:
    """Also before the store is used again, and after it was closed or its file could not be written."""
    with opened(tmp_path, clock=Clock()) as (memory, store):
        store.put(("users",), "k", {"text": "Ada Brandt breeds zqxdrakes."})
        store.put(("users",), "other", {"text": "Ada Brandt likes pears."})
        memory.forget(source="langgraph/users/k")
        assert not [f for f in tmp_path.rglob("*") if f.is_file() and b"zqxdrakes" in f.read_bytes()]
        store.close()
        memory.forget(session="users")


def test_deleting_does_not_wait_for_a_consolidation(pair: tuple[SealMemory, SealMemoryStore]) -> None:
    """While another trains, the item goes at once, and its memory with it."""
    memory, store = pair
    store.put(("users",), "k", {"memory": "Ada Brandt likes pears."})
    with lease(memory.ledger, "consolidate"):
        store.delete(("users",), "k")
        assert store.get(("users",), "k") is None
        assert store.due_to_forget() == 0
        assert texts(memory) == set()


def test_index_says_what_is_learned(pair: tuple[SealMemory, SealMemoryStore]) -> None:
    """False: nothing; paths: what stands there."""
    memory, store = pair
    value = {"note": "Ada Brandt likes pears.", "secret": "The safe opens with 4711."}
    store.put(("users",), "none", value, index=False)
    assert texts(memory) == set()
    store.put(("users",), "some", value, index=["note"])
    assert texts(memory) == {"Ada Brandt likes pears."}
    assert store.get(("users",), "none").value == value


def test_a_query_ranks_by_what_was_observed(pair: tuple[SealMemory, SealMemoryStore]) -> None:
    """The match comes first, with a score; the others follow without one."""
    _, store = pair
    for n, fact in enumerate(["Ada Brandt likes pears.", "The harbour master is Bo Lind.", "Rain fell all of May."]):
        store.put(("facts",), str(n), {"memory": fact})
    first, *others = store.search(("facts",), query="Who is the harbour master?")
    assert first.key == "1"
    assert first.score > 0
    assert [o.score for o in others] == [None, None]
    assert len(store.search(("facts",), query="harbour master", limit=1)) == 1


def test_what_is_no_text_is_kept_all_the_same(pair: tuple[SealMemory, SealMemoryStore]) -> None:
    """A value that no memory can hold is stored, not learned; one without a JSON form is refused."""
    memory, store = pair
    store.put(("blobs",), "k", {"data": "a\x00b c"})
    assert store.get(("blobs",), "k").value == {"data": "a\x00b c"}
    assert texts(memory) == set()
    with pytest.raises(ValueError, match="plain JSON types"):
        store.put(("blobs",), "bad", {"data": object()})


# -- between processes, in time, in graphs ---------------------------------------------------------


def test_items_are_there_in_the_next_process(tmp_path: Path) -> None:
    """Value and times survive; a namespace of the memory has its own items."""
    with opened(tmp_path) as (_, store):
        store.put(("users",), "k", {"n": 1})
        kept = store.get(("users",), "k")
    with opened(tmp_path) as (_, store):
        assert store.get(("users",), "k") == kept
    with SealMemory.open(tmp_path, namespace="another") as memory:
        other = SealMemoryStore(memory)
        assert other.search(()) == []
        other.close()


def test_an_overwritten_item_keeps_its_creation_time(tmp_path: Path) -> None:
    """created_at is the first put's, updated_at the last one's."""
    with opened(tmp_path, clock=Clock()) as (_, store):
        store.put(("users",), "k", {"n": 1})
        first = store.get(("users",), "k")
        store.put(("users",), "k", {"n": 2})
        second = store.get(("users",), "k")
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at


@pytest.mark.parametrize("refreshed", [True, False])
def test_items_expire_after_their_last_use(tmp_path: Path, refreshed: bool) -> None:
    """A read within the time starts it anew, unless it says otherwise; then a sweep forgets."""
    clock = Clock()
    with opened(tmp_path, clock=clock, ttl={"default_ttl": 10}) as (memory, store):
        store.put(("users",), "k", {"memory": "Ada Brandt likes pears."})
        clock.now += 60 * 8
        store.get(("users",), "k", refresh_ttl=refreshed)
        clock.now += 60 * 8
        assert store.sweep_ttl() == (0 if refreshed else 1)
        assert texts(memory) == ({"Ada Brandt likes pears."} if refreshed else set())


def test_expired_items_are_shown_until_swept_unless_omitted(tmp_path: Path) -> None:
    """`omit_expired` hides them at once; `sweep_interval_minutes` sweeps while the store is used."""
    clock = Clock()
    with opened(tmp_path, clock=clock) as (_, store):
        store.put(("users",), "k", {"n": 1}, ttl=1)
        store.put(("users",), "forever", {"n": 2})
        clock.now += 61
        assert len(store.search((), refresh_ttl=False)) == 2
    with opened(tmp_path, clock=clock, ttl={"omit_expired": True}) as (_, store):
        assert [i.key for i in store.search((), refresh_ttl=False)] == ["forever"]
    with opened(tmp_path, clock=clock, ttl={"sweep_interval_minutes": 5}) as (_, store):
        clock.now += 60 * 5
        assert [i.key for i in store.search((), refresh_ttl=False)] == ["forever"]
        assert len(store._items.rows()) == 1


def test_no_item_outlives_its_time_where_the_clock_was_set_back(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock=clock, ttl={"sweep_interval_minutes": 5}) as (_, store):
        store.put(("users",), "k", {"n": 1}, ttl=1)
        clock.now -= 3 * 365 * 86400
        assert [i.key for i in store.search((), refresh_ttl=False)] == ["k"]
        clock.now += 60 * 5
        assert store.search((), refresh_ttl=False) == []


def test_a_graph_uses_it_as_its_store(pair: tuple[SealMemory, SealMemoryStore]) -> None:
    """A node puts through its runtime, sync and async; the memory has it."""
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.runtime import Runtime

    memory, store = pair

    def node(state: MessagesState, runtime: Runtime) -> dict[str, Any]:
        runtime.store.put(("users", "ada"), str(len(state["messages"])), {"memory": state["messages"][-1].content})
        return {}

    graph = StateGraph(MessagesState).add_node("n", node).add_edge(START, "n").add_edge("n", END).compile(store=store)
    graph.invoke({"messages": [("user", "Ada Brandt likes pears.")]})
    asyncio.run(graph.ainvoke({"messages": [("user", "hello"), ("user", "Bo Lind likes plums.")]}))
    assert texts(memory) == {"Ada Brandt likes pears.", "Bo Lind likes plums."}


def test_a_file_that_cannot_be_used_is_a_ledger_error(tmp_path: Path) -> None:
    """SQLite's errors cross into ours, naming the file."""
    with SealMemory.open(tmp_path) as memory:
        (tmp_path / "langgraph.sqlite").write_bytes(b"this is no database" * 100)
        with pytest.raises(LedgerError, match=r"langgraph\.sqlite"):
            SealMemoryStore(memory)


@pytest.mark.parametrize(
    ("value", "wanted", "fits"),
    [
        ("2024-06-30", {"$gt": "2024-01-01"}, True),
        ("2023-12-31", {"$gt": "2024-01-01"}, False),
        ("2024-01-01", {"$gte": "2024-01-01", "$lt": "2025"}, True),
        ("pear", {"$lt": "quince"}, True),
        ("10", {"$gt": "9"}, True),
        (10, {"$gt": "9"}, True),
        ("1.5", {"$lte": 1.5}, True),
        ("pear", {"$gt": 3}, False),
        (3, {"$gt": "pear"}, False),
        (None, {"$lt": "2024"}, False),
        (["2024"], {"$gt": "2023"}, False),
    ],
    ids=str,
)
def test_texts_are_ordered_as_texts_and_numbers_as_numbers(
    pair: tuple[SealMemory, SealMemoryStore], value: Any, wanted: dict[str, Any], fits: bool
) -> None:
    """ISO dates compare in the order of their characters; a text and a number never fit."""
    _, store = pair
    store.put(("notes",), "k", {"date": value})
    assert [i.key for i in store.search(("notes",), filter={"date": wanted})] == (["k"] if fits else [])


def _deep(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"in": made}
    return made


@pytest.mark.parametrize(
    ("namespace", "key", "value"),
    [
        (("notes",), "\ud800", {"text": "fine words"}),
        (("n\udfff",), "k", {"text": "fine words"}),
        (("notes",), "k", {"text": "half \ud800 a pair"}),
        (("notes",), "k", {"\ud800": "fine words"}),
        (("notes",), "k", _deep(3000)),
        (("notes",), 5, {"text": "fine words"}),
    ],
    ids=["key", "label", "value", "name", "deep", "number"],
)
def test_what_the_file_cannot_hold_is_refused_before_anything_is_written(
    pair: tuple[SealMemory, SealMemoryStore], namespace: Any, key: Any, value: Any
) -> None:
    """Half of a surrogate pair in a label, key or value, and 3,000 levels: `InputError`, which is a `ValueError`."""
    memory, store = pair
    with pytest.raises(InputError):
        store.batch([PutOp(("good",), "k", {"text": "fine words"}), PutOp(namespace, key, value)])
    assert store.search(()) == []
    assert texts(memory) == set()
    if isinstance(key, str) and key != "k":
        with pytest.raises(InputError):
            store.get(namespace, key)
        with pytest.raises(InputError):
            store.delete(namespace, key)


def test_unknown_filters_are_refused(pair: tuple[SealMemory, SealMemoryStore]) -> None:
    """An operator that LangGraph does not know raises ValueError, as in its own store."""
    _, store = pair
    store.put(("users",), "k", {"n": 1})
    with pytest.raises(ValueError, match=r"Unsupported operator: \$near"):
        store.search((), filter={"n": {"$near": 1}})
