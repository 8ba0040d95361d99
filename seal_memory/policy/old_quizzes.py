"""What a candidate would cost the old: recall lost on held-out items of published memories that its shard attracts.

Shards cannot overwrite each other, so a candidate harms an old memory only where the router, with the candidate
published, sends that memory's question to it. Audited shards' items are routed twice, and those that change sides are
scored under their old adapter and under every candidate of the new episode. Not here: the audits themselves
(`forgetting.audits`), the weight of the loss (`rewards`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seal_memory import prompts
from seal_memory.config import Settings
from seal_memory.engines import base_cache
from seal_memory.engines.base import Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.learning.core import spread
from seal_memory.ledger import Ledger
from seal_memory.policy.rewards import recall
from seal_memory.records import Episode, Manifest, QuizItem, ShardEntry
from seal_memory.routing.making import make_router

MOST_ITEMS = 32  # audited items that are routed, spread over the memory

Pair = tuple[QuizItem, str | None]  # an item and the adapter that answers it


def old_losses(
    candidates: Mapping[str, Sequence[str]],
    episodes: Sequence[Episode],
    *,
    ledger: Ledger,
    engine: TransformersEngine,
    settings: Settings,
) -> dict[str, float]:
    """Per candidate (adapter id) the recall lost, 0..1, as a mean over all audited items asked.

    `candidates` are the adapters of each episode, by episode id, and must be in the engine.
    """
    losses = {adapter: 0.0 for own in candidates.values() for adapter in own}
    current = ledger.current()
    items = _audited_items(ledger, {i for e in episodes for i in e.interaction_ids})
    if current is None or not items:
        return losses
    moved = _moved(items, current.manifest, episodes, ledger, engine, settings)
    pairs: list[Pair] = []
    for item, before, episode_id in moved:
        pairs += [(item, before), *((item, adapter) for adapter in candidates.get(episode_id, ()))]
    requests = [(Prompt(prompts.direct(i.question), a), i.answer) for i, a in pairs]
    scores = base_cache.score(engine, requests) if requests else []
    known = {(i.id, a): recall(s, settings.reward_probability) for (i, a), s in zip(pairs, scores, strict=True)}
    for item, before, episode_id in moved:
        for adapter in candidates.get(episode_id, ()):
            losses[adapter] += max(0.0, known[item.id, before] - known[item.id, adapter]) / len(items)
    return losses


def _audited_items(ledger: Ledger, new: set[str]) -> list[QuizItem]:
    """Held-out items of what audited shards hold, but of nothing that is being learned now."""
    audited = {a.adapter_id for a in ledger.audits.results()}
    current = ledger.current()
    shards = current.manifest.shards if current is not None else ()
    held = {i for s in shards if s.adapter_id in audited for i in s.interaction_ids} - new
    if not held:
        return []
    found = ledger.quiz_items(interaction_ids=held, held_out=True)
    return spread([i for i in found if i.interaction_ids and held.issuperset(i.interaction_ids)], MOST_ITEMS)


def _moved(
    items: Sequence[QuizItem],
    manifest: Manifest,
    episodes: Sequence[Episode],
    ledger: Ledger,
    engine: TransformersEngine,
    settings: Settings,
) -> list[tuple[QuizItem, str | None, str]]:
    """Items that the router would send to a new episode: (item, its adapter now, that episode's id)."""
    new = tuple(ShardEntry(f"new:{e.id}", e.id, e.interaction_ids) for e in episodes)
    grown = Manifest((*manifest.shards, *new), manifest.core, manifest.router)
    then = make_router(manifest, ledger, settings, embedders=engine.embedder)
    now = make_router(grown, ledger, settings, embedders=engine.embedder)
    attracted = {s.adapter_id for s in new}
    found = []
    for item in items:
        route = now.route(item.question)
        if route.adapter_id in attracted and route.episode_id is not None:
            found.append((item, then.route(item.question).adapter_id, route.episode_id))
    return found
