"""What was said again, or is no longer so, leaves training before anything is trained; all of it stays in the history.

Only what was said (user, tool) is compared, one statement with one statement: documents do not contradict themselves by
being several. A superseded interaction leaves search, replay, audits and the next shard of its episode, whose other
members become pending; the old shard answers until then. Not here: the rules (`contradictions`), corrections by hand
(`SealMemory.correct`).
"""

from __future__ import annotations

from dataclasses import dataclass

from seal_memory.learning.contradictions import same_statement, supersedes
from seal_memory.learning.rebuilding import reopen
from seal_memory.ledger import Ledger
from seal_memory.records import Interaction, Role, Standing

SPOKEN = (Role.USER, Role.TOOL)
VALID = (Standing.PENDING, Standing.LEARNED, Standing.REFUSED)
LOOKED_AT = 8  # earlier texts that share words with a new one


@dataclass(frozen=True, slots=True)
class Sorted:
    """Pairs of ids (older, newer) that were superseded, and of (newer, older) that said nothing new."""

    superseded: tuple[tuple[str, str], ...]
    repeated: tuple[tuple[str, str], ...]


def sort_out(ledger: Ledger) -> Sorted:
    """Compare everything pending with what was said before it. The caller holds the namespace's lease."""
    superseded, repeated = [], []
    for new in ledger.interactions(standing=Standing.PENDING):
        if new.role not in SPOKEN:
            continue
        older = earlier(ledger, new)
        same = next((old for old in older if same_statement(new.text, old.text)), None)
        if same is not None:
            reason = f"says again what {same.id} says"
            ledger.set_standing([new.id], Standing.SKIPPED, reason)
            repeated.append((new.id, same.id))
            continue
        outdated = [old for old in older if supersedes(new.text, old.text)]
        if len(outdated) == 1:  # of two that it could replace it may mean neither
            _supersede(ledger, outdated[0], new)
            superseded.append((outdated[0].id, new.id))
    return Sorted(tuple(superseded), tuple(repeated))


def earlier(ledger: Ledger, new: Interaction) -> list[Interaction]:
    """What was said before `new`, is valid, and shares words with it."""
    hits = [h.interaction for h in ledger.search(new.text, limit=LOOKED_AT + 1, standings=VALID)]
    return [i for i in hits if i.role in SPOKEN and (i.time, i.id) < (new.time, new.id)]


def _supersede(ledger: Ledger, old: Interaction, new: Interaction) -> None:
    """The old one gives way, and shards that hold it are to be trained without it."""
    current = ledger.current()
    shards = current.manifest.shards if current is not None else ()
    holding = [s.adapter_id for s in shards if old.id in s.interaction_ids]
    with ledger.atomic():
        ledger.supersede_by(old.id, new.id)
        reopen(ledger, holding)


def outdated_ids(ledger: Ledger) -> set[str]:
    """Interactions that something newer took the place of."""
    return {i.id for i in ledger.interactions(standing=Standing.SUPERSEDED)}
