"""Whether the old is kept: earlier held-out items, asked under the published router and under the one that is to come.

Adapters are immutable, so a grade in the ledger still holds: only what no grade covers is asked. Shards cannot
overwrite each other, so what this finds is questions that a new shard draws away. Where the new shard's text says
nearly the same thing again (two thirds of its words), that is a change of fact and no loss: the item is left out and
counted (`changed`). The router already takes the newer of two statements at less. A shard that is trained again has to
answer all that the replaced one answers. Not here: the verdict (`gate`), audits of published memories
(`forgetting.audits`), which do not leave such items out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from itertools import product

from seal_memory.config import GateSettings
from seal_memory.engines.base import Engine
from seal_memory.learning import grading
from seal_memory.ledger import Ledger
from seal_memory.records import Grade, QuizItem, Snapshot
from seal_memory.routing.router import Route, Router
from seal_memory.routing.words import restates

ANEW = 2 / 3  # share of content words
AUDIT_ITEMS = 32  # held-out items of earlier memories re-asked before publishing

Routes = tuple[QuizItem, Route, Route]  # an item, and where the published router and the one to come take it


@dataclass(frozen=True, slots=True)
class OldRecall:
    """Recall per audited item before and after, 0.0 or 1.0, and how many items were left out as changed."""

    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    changed: int = 0


def kept(
    current: Snapshot | None,
    old: Router,
    new: Router,
    *,
    ledger: Ledger,
    engine: Engine,
    settings: GateSettings,
    clock: Callable[[], float],
    moved: Set[str] = frozenset(),
) -> OldRecall:
    """Ask what `current` holds under its own router and under the new one; nothing published, nothing to keep.

    `moved`: interactions that get another shard; every item about them is asked, of the others a sample.
    """
    if current is None or not current.manifest.shards:
        return OldRecall()
    items = _items(current, ledger, moved)
    routes = [(item, old.route(item.question), new.route(item.question)) for item in items]
    same = [r for r in routes if not _changed(*r, ledger)]
    return replace(by_route(same, ledger, engine, settings, clock), changed=len(routes) - len(same))


def by_route(
    routes: Sequence[Routes],
    ledger: Ledger,
    engine: Engine,
    settings: GateSettings,
    clock: Callable[[], float],
    *,
    graded: Sequence[Grade] = (),
) -> OldRecall:
    """Items answered where the published router takes each, and where the one to come does; see `correctness`."""
    pairs = [(item, route.adapter_id) for item, *both in routes for route in both]
    known = correctness(pairs, ledger, engine, settings, clock, graded=graded)
    return OldRecall(
        tuple(known[item.id, before.adapter_id] for item, before, _ in routes),
        tuple(known[item.id, after.adapter_id] for item, _, after in routes),
    )


def _items(current: Snapshot, ledger: Ledger, moved: Set[str]) -> list[QuizItem]:
    """Held-out items about what is published; the oldest are audited as often as the newest."""
    learned = set(current.manifest.holders)
    held_out = ledger.quiz_items(held_out=True)
    known = [i for i in held_out if i.interaction_ids and learned.issuperset(i.interaction_ids)]
    first = [i for i in known if not moved.isdisjoint(i.interaction_ids)]
    return first + spread([i for i in known if moved.isdisjoint(i.interaction_ids)], AUDIT_ITEMS)


def _changed(item: QuizItem, before: Route, after: Route, ledger: Ledger) -> bool:
    """Whether the question goes to another shard now, for a text that says the item's own statement anew."""
    if before.adapter_id == after.adapter_id or not after.interaction_ids:
        return False
    anew = set(after.interaction_ids).difference(item.interaction_ids)
    texts = {i.id: i.text for i in ledger.interactions(ids=[*item.interaction_ids, *anew])}
    pairs = product(sorted(anew), item.interaction_ids)
    return any(restates(texts[new], texts[own], share=ANEW) for new, own in pairs)


def correctness(
    pairs: Sequence[tuple[QuizItem, str | None]],
    ledger: Ledger,
    engine: Engine,
    settings: GateSettings,
    clock: Callable[[], float],
    *,
    graded: Sequence[Grade] = (),
) -> dict[tuple[str, str | None], float]:
    """1.0 or 0.0 per (item id, adapter id), from `graded` or the ledger where it was graded, else asked now."""
    stored = [*ledger.grades(quiz_item_ids=sorted({item.id for item, _ in pairs})), *graded]
    known = {(g.quiz_item_id, g.adapter_id): float(g.correct) for g in stored if g.correct is not None}
    missing = {(item.id, a): (item, a) for item, a in pairs if (item.id, a) not in known}
    asked = grading.grade(
        list(missing.values()), engine, max_tokens=settings.quiz_answer_tokens, snapshot_version=None, clock=clock
    )
    return known | {(g.quiz_item_id, g.adapter_id): float(bool(g.correct)) for g in asked}


def spread(items: Sequence[QuizItem], count: int) -> list[QuizItem]:
    """At most `count` items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[n * len(items) // count] for n in range(count)]
