"""Topics: groups of similar published shards, which sleep may merge. No model is asked.

The similarity of two shards is the largest of: 1 if they hold parts of one document or session; the share of held-out
questions about one that the router sends to the other; the cosine of their texts' tf-idf vectors. In a topic *every*
two shards are similar enough. Not here: merging (`merging`).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from seal_memory.learning.episodes import origin_of
from seal_memory.ledger import Ledger
from seal_memory.records import Interaction, ShardEntry
from seal_memory.routing.router import Router
from seal_memory.routing.words import stems

NO_DOCUMENT = ("document", "", "")
Pair = tuple[int, int]  # indices of two shards, the smaller first


@dataclass(frozen=True, slots=True)
class Similarity:
    """Similarity of two shards, 0..1, and its reason in words."""

    value: float
    why: str


@dataclass(frozen=True, slots=True)
class Topic:
    """A group to merge: shards in the manifest's order, the reason, and the interactions.

    `split`: it takes interactions out of its shards, which may keep the rest (`subjects`).
    """

    shards: tuple[ShardEntry, ...]
    why: str
    interaction_ids: tuple[str, ...]
    split: bool = False

    @classmethod
    def of_shards(cls, shards: tuple[ShardEntry, ...], why: str) -> Topic:
        """The topic of all interactions of these shards."""
        return cls(shards, why, tuple(dict.fromkeys(i for s in shards for i in s.interaction_ids)))


def topics(
    shards: Sequence[ShardEntry],
    ledger: Ledger,
    router: Router,
    *,
    min_similarity: float,
    largest: int,
    sizes: Mapping[str, float],
) -> list[Topic]:
    """Groups of two or more shards, the most similar first; no shard is in two.

    `largest`: most episodes of a group; `sizes`: number of episodes in a merged episode (1 where missing).
    """
    found = similarities(shards, ledger, router)
    order = sorted((p for p in found if found[p].value >= min_similarity), key=lambda p: (-found[p].value, p))
    group_of = {n: [n] for n in range(len(shards))}
    for a, b in order:
        one, other = group_of[a], group_of[b]
        if one is other:
            continue
        size = sum(sizes.get(shards[n].episode_id, 1) for n in (*one, *other))
        if size <= largest and all(_is_similar(x, y, found, min_similarity) for x in one for y in other):
            one.extend(other)
            group_of.update(dict.fromkeys(other, one))
    groups = {id(g): sorted(g) for g in group_of.values() if len(g) > 1}
    made = [(min((found[p] for p in combinations(g, 2)), key=lambda x: x.value), g) for g in groups.values()]
    made.sort(key=lambda m: (-m[0].value, m[1]))
    return [Topic.of_shards(tuple(shards[n] for n in g), least.why) for least, g in made]


def _is_similar(a: int, b: int, found: Mapping[Pair, Similarity], least: float) -> bool:
    pair = (min(a, b), max(a, b))
    return pair in found and found[pair].value >= least


def similarities(shards: Sequence[ShardEntry], ledger: Ledger, router: Router) -> dict[Pair, Similarity]:
    """Similarities of all pairs of shards that have anything in common."""
    known = {i.id: i for i in ledger.interactions(ids=sorted({i for s in shards for i in s.interaction_ids}))}
    texts_of = [[known[i] for i in s.interaction_ids] for s in shards]
    found: dict[Pair, Similarity] = {}
    for ways in (_by_words(texts_of), _by_confusion(shards, ledger, router), _by_origin(texts_of)):
        for pair, likeness in ways.items():
            if pair not in found or likeness.value > found[pair].value:
                found[pair] = likeness
    return found


def _by_origin(held: Sequence[Sequence[Interaction]]) -> dict[Pair, Similarity]:
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for n, interactions in enumerate(held):
        for origin in sorted({origin_of(i) for i in interactions} - {NO_DOCUMENT}):
            places[origin].append(n)
    return {pair: Similarity(1.0, f"one {kind}") for (kind, *_), own in places.items() for pair in combinations(own, 2)}


def _by_words(held: Sequence[Sequence[Interaction]]) -> dict[Pair, Similarity]:
    words = [stems(" ".join(f"{i.title or ''} {i.text}" for i in interactions)) for interactions in held]
    holders: dict[str, list[int]] = defaultdict(list)
    for n, own in enumerate(words):
        for word in own:
            holders[word].append(n)
    weight = {w: math.log((1 + len(held)) / len(own)) ** 2 for w, own in holders.items()}
    norms = [math.sqrt(sum(weight[w] for w in sorted(own))) for own in words]
    shared: dict[Pair, float] = defaultdict(float)
    for word in sorted(holders):
        for pair in combinations(holders[word], 2):
            shared[pair] += weight[word]
    cosines = {(a, b): total / max(1e-9, norms[a] * norms[b]) for (a, b), total in shared.items()}
    return {pair: Similarity(value, f"words in common ({value:.2f})") for pair, value in cosines.items()}


def _by_confusion(shards: Sequence[ShardEntry], ledger: Ledger, router: Router) -> dict[Pair, Similarity]:
    """The share of a shard's held-out questions that the router takes to another shard."""
    place = {s.adapter_id: n for n, s in enumerate(shards)}
    found: dict[Pair, Similarity] = {}
    for n, shard in enumerate(shards):
        own = set(shard.interaction_ids)
        items = [i for i in ledger.quiz_items(interaction_ids=own, held_out=True) if own.issuperset(i.interaction_ids)]
        reached = Counter(router.route(i.question).adapter_id for i in items)
        for adapter_id, count in reached.items():
            other = place.get(adapter_id or "", n)
            value = count / len(items)
            pair = (min(n, other), max(n, other))
            if other != n and (pair not in found or value > found[pair].value):
                found[pair] = Similarity(value, f"confused questions ({value:.2f})")
    return found
