"""Which statement took another's place by rule, which only repeats another, and what was said last.

A person's correction (`Ledger.supersede`) holds whatever is said later; a rule's holds until the older statement is
said again: then that one is valid, and the newer gives way. The reason tells the two apart. Not here: the rules
(`learning.contradictions`), and corrections (`interactions`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from seal_memory.errors import InputError
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import id_list
from seal_memory.ledger.interactions import require_interactions, successor, with_predecessors
from seal_memory.records import Observed, Standing

BY_RULE = "something said later took its place"
SAID_AGAIN = "said again after what took its place"
_BEFORE, _AFTER = "says again what ", " says"


def repeats(id: str) -> str:
    """The reason of an interaction that is skipped because it says what `id` says."""
    return f"{_BEFORE}{id}{_AFTER}"


def supersede_by(scope: Scope, old_id: str, new_id: str) -> None:
    with scope.connection.atomic():
        require_interactions(scope, [old_id, new_id])
        newer = successor(scope, old_id)
        if newer is not None:
            raise InputError(f"interaction {old_id} was already corrected: correct {newer} instead")
        if old_id in with_predecessors(scope, [new_id]):
            raise InputError(f"interaction {old_id} is {new_id} or came after it: a circle corrects nothing")
        scope.connection.run(
            "UPDATE interactions SET standing = ?, reason = ?, superseded_by = ? WHERE namespace = ? AND id = ?",
            (Standing.SUPERSEDED, BY_RULE, new_id, scope.namespace, old_id),
        )


def free_repeats(scope: Scope, ids: Collection[str]) -> None:
    """What was skipped as a repeat of these, which are gone, is the only one to say it now: pending."""
    scope.connection.run(
        "UPDATE interactions SET standing = ?, reason = NULL WHERE namespace = ? AND standing = ?"
        " AND reason IN (SELECT value FROM json_each(?))",
        (Standing.PENDING, scope.namespace, Standing.SKIPPED, id_list(repeats(i) for i in ids)),
    )


class Successions:
    """What took whose place in one namespace."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def revived(self, seen: Sequence[Observed]) -> list[Observed]:
        """What was just seen; where a rule had superseded it and it is the last that was said, it is valid again.

        A sighting of a skipped repeat is one of what it repeats.
        """
        known = dict.fromkeys(_original(o) for o in seen if not o.new)
        changed = [i for id in known if id is not None for i in self._revive(id)]
        if not changed:
            return list(seen)
        rows = self._scope.connection.rows(
            "SELECT id, standing, reason FROM interactions WHERE namespace = ?"
            " AND id IN (SELECT value FROM json_each(?))",
            (self._scope.namespace, id_list(changed)),
        )
        now = {row["id"]: (Standing(row["standing"]), row["reason"]) for row in rows}
        return [Observed(o.id, o.new, *now.get(o.id, (o.standing, o.reason))) for o in seen]

    def said_again(self) -> list[str]:
        """What waits to be learned because it was said again; the shards of what gave way still tell the other."""
        rows = self._scope.connection.rows(
            "SELECT id FROM interactions WHERE namespace = ? AND standing = ? AND reason = ? ORDER BY seq",
            (self._scope.namespace, Standing.PENDING, SAID_AGAIN),
        )
        return [row["id"] for row in rows]

    def was_said_last(self, id: str, other: str) -> bool:
        """Whether the latest sighting of `id`, or of a repeat of it, is later than every one of `other`."""
        return self._last_said(id) > self._last_said(other)

    def _revive(self, id: str) -> list[str]:
        """The interactions that changed: the one that is valid again, and the one that gave way."""
        newest = self._newest(id)
        if newest is None or not self.was_said_last(id, newest):
            return []
        self._scope.connection.run(
            "UPDATE interactions SET standing = ?, reason = ?, superseded_by = NULL WHERE namespace = ? AND id = ?",
            (Standing.PENDING, SAID_AGAIN, self._scope.namespace, id),
        )
        supersede_by(self._scope, newest, id)
        return [id, newest]

    def _newest(self, id: str) -> str | None:
        """The end of the line of those that took its place; None where a rule did not make every step."""
        at, found = id, None
        while True:
            rows = self._scope.connection.rows(
                "SELECT standing, reason, superseded_by FROM interactions WHERE namespace = ? AND id = ?",
                (self._scope.namespace, at),
            )
            if not rows or rows[0]["standing"] != Standing.SUPERSEDED:
                return found
            if rows[0]["reason"] != BY_RULE or rows[0]["superseded_by"] is None:
                return None
            at = found = rows[0]["superseded_by"]

    def _last_said(self, id: str) -> tuple[float, int]:
        rows = self._scope.connection.rows(
            "SELECT s.time, s.seq FROM sightings s JOIN interactions i ON i.seq = s.interaction_seq"
            " WHERE i.namespace = ? AND (i.id = ? OR (i.standing = ? AND i.reason = ?))"
            " ORDER BY s.time DESC, s.seq DESC LIMIT 1",
            (self._scope.namespace, id, Standing.SKIPPED, repeats(id)),
        )
        return (float(rows[0]["time"]), int(rows[0]["seq"])) if rows else (float("-inf"), 0)


def _original(seen: Observed) -> str | None:
    """What was superseded, or what a skipped one repeats; None where it is neither."""
    if seen.standing is Standing.SUPERSEDED:
        return seen.id
    reason = seen.reason or ""
    if seen.standing is Standing.SKIPPED and reason.startswith(_BEFORE) and reason.endswith(_AFTER):
        return reason.removeprefix(_BEFORE).removesuffix(_AFTER)
    return None
