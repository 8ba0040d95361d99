"""Cost of a candidate for earlier memories: recall lost on held-out items that its shard attracts.

Shards cannot overwrite each other, so a candidate harms an earlier memory only where the router, with the candidate
published, sends that memory's question to it. Audited shards' items are routed under both manifests
(`attracted_items`); those that move are scored under their old adapter and under every candidate (`losses`).
Not here: the audits (`forgetting.audits`), the weight of the loss (`rewards`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seal_memory import prompts
from seal_memory.engines import base_cache
from seal_memory.engines.base import Engine, Prompt
from seal_memory.learning.old_recall import evenly_spaced
from seal_memory.learning.workbench import Workbench
from seal_memory.ledger import Ledger
from seal_memory.policy.rewards import recall
from seal_memory.records import Episode, Manifest, QuizItem, ShardEntry

MAX_ITEMS = 32  # audited items that are routed, spread over the memory


@dataclass(frozen=True, slots=True)
class AttractedItems:
    """Old items that a new episode attracts, each with its current recall (0..1); `among`: items routed."""

    items: tuple[tuple[QuizItem, float], ...] = ()
    among: int = 0


def attracted_items(episodes: Sequence[Episode], bench: Workbench) -> dict[str, AttractedItems]:
    """The items that each episode would attract if it were published; by episode id."""
    current = bench.ledger.current()
    items = _audited_items(bench.ledger, {i for e in episodes for i in e.interaction_ids})
    if current is None or not items:
        return {e.id: AttractedItems() for e in episodes}
    moved = _moved(items, current.manifest, episodes, bench)
    known = _recalls([(item, before) for item, before, _ in moved], bench.engine)
    own: dict[str, list[tuple[QuizItem, float]]] = {e.id: [] for e in episodes}
    for (item, _, episode_id), share in zip(moved, known, strict=True):
        own[episode_id].append((item, share))
    return {episode_id: AttractedItems(tuple(found), len(items)) for episode_id, found in own.items()}


def losses(asked: Sequence[tuple[str, AttractedItems]], engine: Engine) -> list[float]:
    """Recall lost per (candidate, attracted items), 0..1, as a mean over all items routed."""
    pairs = [(item, adapter) for adapter, own in asked for item, _ in own.items]
    now = iter(_recalls(pairs, engine))
    found = []
    for _, own in asked:
        lost = sum(max(0.0, before - next(now)) for _, before in own.items)
        found.append(lost / own.among if own.among else 0.0)
    return found


def _recalls(pairs: Sequence[tuple[QuizItem, str | None]], engine: Engine) -> list[float]:
    requests = [(Prompt(prompts.direct(item.question), adapter), item.answer) for item, adapter in pairs]
    return [recall(s) for s in base_cache.score(engine, requests)] if requests else []


def _audited_items(ledger: Ledger, new: set[str]) -> list[QuizItem]:
    """Held-out items about interactions of audited shards, without those in `new`."""
    audited = {a.adapter_id for a in ledger.audits.results()}
    current = ledger.current()
    shards = current.manifest.shards if current is not None else ()
    held = {i for s in shards if s.adapter_id in audited for i in s.interaction_ids} - new
    if not held:
        return []
    found = ledger.quiz_items(interaction_ids=held, held_out=True)
    return evenly_spaced([i for i in found if i.interaction_ids and held.issuperset(i.interaction_ids)], MAX_ITEMS)


def _moved(
    items: Sequence[QuizItem], manifest: Manifest, episodes: Sequence[Episode], bench: Workbench
) -> list[tuple[QuizItem, str | None, str]]:
    """Items that the router would send to a new episode: (item, its current adapter, that episode's id)."""
    new = tuple(ShardEntry(f"new:{e.id}", e.id, e.interaction_ids) for e in episodes)
    grown = Manifest((*manifest.shards, *new), manifest.core, manifest.router)
    then, now = bench.routers(manifest, bench.ledger), bench.routers(grown, bench.ledger)
    attracted = {s.adapter_id for s in new}
    found = []
    for item in items:
        route = now.route(item.question)
        if route.adapter_id in attracted and route.episode_id is not None:
            found.append((item, then.route(item.question).adapter_id, route.episode_id))
    return found
