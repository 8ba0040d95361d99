"""The quarantine: interactions that instruct the model wait here until a person decides about them.

The only way out. Approved ones are pending and, from then on, like any other; rejected ones stay on record with the
reason and are never learned, however often they are seen again. `Ledger.set_status` leaves both alone.
Not covered: what gets in (`observation`, before the ledger), and interactions that were superseded meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection

from seal_memory.errors import InputError
from seal_memory.ledger import interactions
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.reviews import add_review, reviews
from seal_memory.records import WITHHELD, Interaction, Review, Status


class Quarantine:
    """The quarantine of one namespace."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def held(self, *, rejected: bool = False) -> list[Interaction]:
        """What waits for a decision, or (`rejected`) what was rejected; oldest first."""
        wanted = Status.REJECTED if rejected else Status.QUARANTINED
        return interactions.select(self._scope, ids=None, session=None, source=None, status=wanted, limit=None)

    def approve(self, ids: Collection[str], reason: str | None = None) -> list[Interaction]:
        """Make them pending, all or none; also what was rejected before. How they stand now, oldest first.

        Raises:
            UnknownIdError: an id is not in this namespace.
            InputError: one of them is neither quarantined nor rejected.
        """
        return self._decide(ids, Status.PENDING, reason, of=WITHHELD)

    def reject(self, ids: Collection[str], reason: str | None = None) -> list[Interaction]:
        """Reject them for good, all or none. How they stand now, oldest first; the reason says why they were held, too.

        Raises:
            UnknownIdError: an id is not in this namespace.
            InputError: one of them is not quarantined.
        """
        return self._decide(ids, Status.REJECTED, reason, of=frozenset({Status.QUARANTINED}))

    def reviews(self, ids: Collection[str] | None = None) -> list[Review]:
        """What happened in the quarantine, oldest first."""
        return reviews(self._scope, ids)

    def _decide(
        self, ids: Collection[str], to: Status, reason: str | None, *, of: frozenset[Status]
    ) -> list[Interaction]:
        with self._scope.connection.atomic():
            for one in self._named(ids):
                if one.status not in of:
                    raise InputError(_not_held(one, to))
                said = _reason(one, to, reason)
                add_review(self._scope, one.id, to, said)
                self._scope.connection.run(
                    "UPDATE interactions SET status = ?, reason = ? WHERE namespace = ? AND id = ?",
                    (to, said, self._scope.namespace, one.id),
                )
            return self._named(ids)

    def _named(self, ids: Collection[str]) -> list[Interaction]:
        return interactions.select(self._scope, ids=ids, session=None, source=None, status=None, limit=None)


def _reason(one: Interaction, to: Status, reason: str | None) -> str:
    decided = "approved" if to is Status.PENDING else "rejected"
    why = f"{decided}: {reason}" if reason else decided
    return f"{why} ({one.reason})" if one.reason else why


def _not_held(one: Interaction, to: Status) -> str:
    verb = "approved" if to is Status.PENDING else "rejected"
    way = {
        Status.REJECTED: "it is kept out for good; approve releases it",
        Status.SUPERSEDED: "a correction has taken its place",
    }.get(one.status, "correct or forget it to get it out of the memory" if verb == "rejected" else "nothing to do")
    return f"interaction {one.id} is {one.status} and cannot be {verb}: {way}"
