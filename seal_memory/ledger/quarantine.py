"""Quarantine: interactions that instruct the model, held until a person approves or rejects them.

Approved ones become pending, like any other. Rejected ones stay on record with the reason and are never learned, even
when observed again. Only `approve` releases an interaction; `Ledger.set_status` skips these statuses.
Not here: what is quarantined (`intake.admission`), interactions that were superseded meanwhile.
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
        """Quarantined interactions, or the rejected ones if `rejected`; oldest first."""
        wanted = Status.REJECTED if rejected else Status.QUARANTINED
        return interactions.select(self._scope, ids=None, session=None, source=None, status=wanted, limit=None)

    def approve(self, ids: Collection[str], reason: str | None = None) -> list[Interaction]:
        """Make quarantined or rejected interactions pending, all or none. Returns them updated, oldest first.

        Raises:
            UnknownIdError: an id is not in this namespace.
            InputError: one of them is neither quarantined nor rejected.
        """
        return self._decide(ids, Status.PENDING, reason, allowed=WITHHELD)

    def reject(self, ids: Collection[str], reason: str | None = None) -> list[Interaction]:
        """Reject quarantined interactions, all or none. Returns them updated, oldest first.

        The stored reason also keeps the reason for the quarantine.

        Raises:
            UnknownIdError: an id is not in this namespace.
            InputError: one of them is not quarantined.
        """
        return self._decide(ids, Status.REJECTED, reason, allowed=frozenset({Status.QUARANTINED}))

    def reviews(self, ids: Collection[str] | None = None) -> list[Review]:
        """Log of quarantines and decisions, oldest first; None means all ids."""
        return reviews(self._scope, ids)

    def _decide(
        self, ids: Collection[str], to: Status, reason: str | None, *, allowed: frozenset[Status]
    ) -> list[Interaction]:
        with self._scope.connection.atomic():
            for interaction in self._select(ids):
                if interaction.status not in allowed:
                    raise InputError(_wrong_status(interaction, to))
                full_reason = _full_reason(interaction, to, reason)
                add_review(self._scope, interaction.id, to, full_reason)
                self._scope.connection.run(
                    "UPDATE interactions SET status = ?, reason = ? WHERE namespace = ? AND id = ?",
                    (to, full_reason, self._scope.namespace, interaction.id),
                )
            return self._select(ids)

    def _select(self, ids: Collection[str]) -> list[Interaction]:
        return interactions.select(self._scope, ids=ids, session=None, source=None, status=None, limit=None)


def _full_reason(interaction: Interaction, to: Status, reason: str | None) -> str:
    decision = "approved" if to is Status.PENDING else "rejected"
    decision = f"{decision}: {reason}" if reason else decision
    return f"{decision} ({interaction.reason})" if interaction.reason else decision


def _wrong_status(interaction: Interaction, to: Status) -> str:
    verb = "approved" if to is Status.PENDING else "rejected"
    advice = {
        Status.REJECTED: "it was rejected before; approve releases it",
        Status.SUPERSEDED: "a correction has superseded it",
    }.get(interaction.status, "correct or forget it instead" if verb == "rejected" else "it is not held")
    return f"interaction {interaction.id} is {interaction.status} and cannot be {verb}: {advice}"
