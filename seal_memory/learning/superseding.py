"""What was said again, or is no longer so, leaves training before anything is trained; all of it stays in the history.

Only what was said (user, tool) is compared, one statement with one statement: documents do not contradict themselves by
being several. A superseded interaction leaves search, replay, audits and the next shard of its episode, whose other
members become pending; the old shard answers until then. Of two, the one that was said last holds: whichever came in
first, and also where the older one is said again word for word (the ledger makes it pending at once, `successions`).
The old words again in other words are compared by the rules alone. Not here: the rules (`contradictions`), corrections
by hand (`SealMemory.correct`), which a repetition does not undo.
"""

from __future__ import annotations

from dataclasses import dataclass

from seal_memory.learning.contradictions import same_statement, supersedes
from seal_memory.learning.rebuilding import reopen
from seal_memory.ledger import Ledger
from seal_memory.ledger.successions import repeats
from seal_memory.records import Interaction, Role, Standing

SPOKEN = (Role.USER, Role.TOOL)
VALID = (Standing.PENDING, Standing.LEARNED, Standing.REFUSED)
LOOKED_AT = 8  # texts that share words with a new one


@dataclass(frozen=True, slots=True)
class Sorted:
    """Pairs of ids (outdated, valid) that were superseded, and of (newer, older) that said nothing new."""

    superseded: tuple[tuple[str, str], ...]
    repeated: tuple[tuple[str, str], ...]


def sort_out(ledger: Ledger) -> Sorted:
    """Compare everything pending with what else was said. The caller holds the namespace's lease.

    What is pending may be older than what is learned already, where it came in late.
    """
    for id in ledger.successions.said_again():
        _reopen_shards(ledger, set(ledger.with_predecessors([id])) - {id})
    superseded, repeated = [], []
    for new in ledger.interactions(standing=Standing.PENDING):
        if new.role not in SPOKEN:
            continue
        older = earlier(ledger, new)
        same = next((old for old in older if same_statement(new.text, old.text)), None)
        if same is not None:
            ledger.set_standing([new.id], Standing.SKIPPED, repeats(same.id))
            repeated.append((new.id, same.id))
            continue
        outdated = _replaced(new, older)
        if outdated is not None:
            superseded.append(_supersede(ledger, outdated, new))
            continue
        newer = _replacing(ledger, new)
        if newer is not None:
            superseded.append(_supersede(ledger, new, newer))
    return Sorted(tuple(superseded), tuple(repeated))


def earlier(ledger: Ledger, new: Interaction) -> list[Interaction]:
    """What was said before `new`, is valid, and shares words with it."""
    return [i for i in _related(ledger, new) if (i.time, i.id) < (new.time, new.id)]


def _replaced(new: Interaction, older: list[Interaction]) -> Interaction | None:
    """The one of `older` that `new` replaces; of two that it could replace it may mean neither."""
    outdated = [old for old in older if supersedes(new.text, old.text)]
    return outdated[0] if len(outdated) == 1 else None


def _replacing(ledger: Ledger, late: Interaction) -> Interaction | None:
    """What was said after `late`, was sorted out before, and replaces it and nothing else."""
    for newer in _related(ledger, late):
        if (newer.time, newer.id) <= (late.time, late.id) or newer.standing is Standing.PENDING:
            continue  # what is pending has its own turn
        if supersedes(newer.text, late.text) and _replaced(newer, [late, *_others(earlier(ledger, newer), late)]):
            return newer
    return None


def _others(found: list[Interaction], one: Interaction) -> list[Interaction]:
    return [i for i in found if i.id != one.id]


def _related(ledger: Ledger, one: Interaction) -> list[Interaction]:
    """What is valid, was said, and shares words with this one."""
    hits = [h.interaction for h in ledger.search(one.text, limit=LOOKED_AT + 1, standings=VALID)]
    return [i for i in hits if i.role in SPOKEN and i.id != one.id]


def _supersede(ledger: Ledger, old: Interaction, new: Interaction) -> tuple[str, str]:
    """One gives way, and shards that hold it are to be trained without it: the old one, unless it was said again."""
    gone, valid = (new.id, old.id) if ledger.successions.was_said_last(old.id, new.id) else (old.id, new.id)
    with ledger.atomic():
        ledger.supersede_by(gone, valid)
        _reopen_shards(ledger, {gone})
    return gone, valid


def _reopen_shards(ledger: Ledger, outdated: set[str]) -> None:
    """What the published shards that hold one of these hold beside it becomes pending."""
    current = ledger.current()
    shards = current.manifest.shards if current is not None else ()
    reopen(ledger, [s.adapter_id for s in shards if outdated.intersection(s.interaction_ids)])


def outdated_ids(ledger: Ledger) -> set[str]:
    """Interactions that something newer took the place of."""
    return {i.id for i in ledger.interactions(standing=Standing.SUPERSEDED)}
