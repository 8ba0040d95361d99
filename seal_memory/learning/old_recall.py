"""Recall of earlier memories before a publication: held-out items under the published router and under the next one.

Adapters are immutable, so a grade in the ledger still holds; only items without one are asked. Shards cannot overwrite
each other, so a loss means that a new shard attracts the question. Where the new shard's text restates the item's
(two thirds of its words), that is a change of fact and no loss: the item is left out and counted (`changed`). A shard
that is trained again has to answer all that the replaced one answers. Not here: the verdict (`gate`), audits of
published memories (`forgetting.audits`), which leave nothing out.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from itertools import product

from seal_memory.learning import grading
from seal_memory.learning.workbench import Workbench
from seal_memory.ledger import Ledger
from seal_memory.records import Grade, QuizItem, Snapshot
from seal_memory.routing.router import Route, Router
from seal_memory.routing.words import restates

RESTATED_SHARE = 2 / 3  # share of content words
AUDIT_ITEMS = 32  # held-out items of earlier memories re-asked before publishing

RoutedItem = tuple[QuizItem, Route, Route]  # item, its route under the published router, and under the next one


@dataclass(frozen=True, slots=True)
class OldRecall:
    """Recall per re-asked item before and after, 0.0 or 1.0, and how many items were left out as changed."""

    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    changed: int = 0


def audit_old(
    current: Snapshot | None,
    old: Router,
    new: Router,
    bench: Workbench,
    *,
    moved: Set[str] = frozenset(),
) -> OldRecall:
    """Audit the memories of `current` under its own router and under the new one; empty where nothing is published.

    `moved`: interactions that get another shard. Every item about them is asked, and a sample of the others.
    """
    if current is None or not current.manifest.shards:
        return OldRecall()
    items = _items(current, bench.ledger, moved)
    routes = [(item, old.route(item.question), new.route(item.question)) for item in items]
    same = [r for r in routes if not _is_changed(*r, bench.ledger)]
    return replace(by_route(same, bench), changed=len(routes) - len(same))


def by_route(routes: Sequence[RoutedItem], bench: Workbench, *, graded: Sequence[Grade] = ()) -> OldRecall:
    """Recall of items under the published router and under the next one; see `correctness`."""
    pairs = [(item, route.adapter_id) for item, *both in routes for route in both]
    known = correctness(pairs, bench, graded=graded)
    return OldRecall(
        tuple(known[item.id, before.adapter_id] for item, before, _ in routes),
        tuple(known[item.id, after.adapter_id] for item, _, after in routes),
    )


def _items(current: Snapshot, ledger: Ledger, moved: Set[str]) -> list[QuizItem]:
    """Held-out items about published interactions, sampled evenly over their age."""
    learned = set(current.manifest.holders)
    held_out = ledger.quiz_items(held_out=True)
    known = [i for i in held_out if i.interaction_ids and learned.issuperset(i.interaction_ids)]
    first = [i for i in known if not moved.isdisjoint(i.interaction_ids)]
    return first + evenly_spaced([i for i in known if moved.isdisjoint(i.interaction_ids)], AUDIT_ITEMS)


def _is_changed(item: QuizItem, before: Route, after: Route, ledger: Ledger) -> bool:
    """Whether the question now goes to another shard, whose text restates the item's statement."""
    if before.adapter_id == after.adapter_id or not after.interaction_ids:
        return False
    newer = set(after.interaction_ids).difference(item.interaction_ids)
    texts = {i.id: i.text for i in ledger.interactions(ids=[*item.interaction_ids, *newer])}
    pairs = product(sorted(newer), item.interaction_ids)
    return any(restates(texts[new], texts[own], share=RESTATED_SHARE) for new, own in pairs)


def correctness(
    pairs: Sequence[tuple[QuizItem, str | None]], bench: Workbench, *, graded: Sequence[Grade] = ()
) -> dict[tuple[str, str | None], float]:
    """1.0 or 0.0 per (item id, adapter id), from `graded` or the ledger where it was graded, else asked now."""
    stored = [*bench.ledger.grades(quiz_item_ids=sorted({item.id for item, _ in pairs})), *graded]
    known = {(g.quiz_item_id, g.adapter_id): float(g.correct) for g in stored if g.correct is not None}
    missing = {(item.id, a): (item, a) for item, a in pairs if (item.id, a) not in known}
    asked = grading.grade(
        list(missing.values()),
        bench.engine,
        max_tokens=bench.settings.gate.quiz_answer_tokens,
        snapshot_version=None,
        clock=bench.clock,
    )
    return known | {(g.quiz_item_id, g.adapter_id): float(bool(g.correct)) for g in asked}


def evenly_spaced(items: Sequence[QuizItem], count: int) -> list[QuizItem]:
    """At most `count` items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[n * len(items) // count] for n in range(count)]
