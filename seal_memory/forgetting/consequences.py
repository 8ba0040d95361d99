"""Consequences of a forget, before it happens: counts from the ledger alone, no torch and no model.

Not here: forgetting (`deletion`), asking for consent (the command line, the server's page).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from seal_memory.ledger import Ledger
from seal_memory.records import Manifest, Status


@dataclass(frozen=True, slots=True)
class Consequences:
    """The report that `forget` would give: row counts, adapters, versions, interactions to learn again.

    `interactions` counts earlier wordings, too. `published`: the adapters that answer now.
    """

    interactions: int
    self_edits: int
    quiz_items: int
    adapters: tuple[str, ...]
    published: tuple[str, ...]
    snapshots: tuple[int, ...]
    to_relearn: tuple[str, ...]


def consequences(ledger: Ledger, ids: Sequence[str]) -> Consequences:
    """The consequences of forgetting these interactions. Raises `UnknownIdError` for an unknown id."""
    chain = ledger.with_predecessors(list(ids))
    adapters = ledger.adapters_trained_on(chain)
    gone, current = set(adapters), ledger.current()
    manifest = current.manifest if current is not None else Manifest()
    holding = versions_with(ledger, gone)
    held = {i for shard in manifest.without(gone).shards for i in shard.interaction_ids}
    return Consequences(
        len(chain),
        len(ledger.self_edits(interaction_ids=chain)),
        len(ledger.quiz_items(interaction_ids=chain)),
        tuple(adapters),
        tuple(a for a in manifest.adapter_ids if a in gone),
        tuple(holding),
        tuple(to_relearn(ledger, gone, held.union(chain)) if holding else ()),
    )


def versions_with(ledger: Ledger, adapters: Collection[str]) -> list[int]:
    """The versions that hold one of these adapters, newest first; a forget destroys them."""
    gone = set(adapters)
    return [s.version for s in ledger.history() if gone & set(s.manifest.adapter_ids)]


def to_relearn(ledger: Ledger, gone: Collection[str], without: Collection[str]) -> list[str]:
    """Interactions that only the dropped adapters held; `without`: forgotten ones, and those in other shards."""
    others = {i for a in ledger.adapters(ids=list(gone)) for i in a.interaction_ids} - set(without)
    found = ledger.interactions(ids=sorted(others)) if others else []
    return [i.id for i in found if i.status is Status.LEARNED]
