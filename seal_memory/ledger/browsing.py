"""Browsing: pages of a namespace's interactions, filtered, newest first, for people to read.

Superseded, quarantined and rejected interactions are included. Words match literally, anywhere in a text or title,
whatever their case, accents and width (`_internal.scripts.fold`). Not here: ranked full-text search (`search`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from seal_memory._internal.scripts import fold
from seal_memory.errors import InputError
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import id_list
from seal_memory.ledger.interactions import COLUMNS, interaction_from
from seal_memory.records import Interaction, Role, Status

MAX_WORDS = 20


@dataclass(frozen=True, slots=True)
class InteractionRow:
    """One interaction, and the id of the one that superseded it."""

    interaction: Interaction
    superseded_by: str | None


@dataclass(frozen=True, slots=True)
class InteractionPage:
    """One page of the interactions that pass a filter; `total` counts all of them."""

    items: tuple[InteractionRow, ...]
    total: int


class Browsing:
    """Paged listings of one namespace's interactions and sessions."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def interactions(
        self,
        words: str = "",
        *,
        ids: Collection[str] | None = None,
        status: Collection[Status] = (),
        role: Role | None = None,
        session: str | None = None,
        source: str | None = None,
        limit: int = 25,
        offset: int = 0,
    ) -> InteractionPage:
        """Interactions that pass every filter and contain every word, newest first.

        Session and source match any sighting. Ids that are not in this namespace are ignored.

        Raises `InputError` for more than 20 words, or a negative limit or offset.
        """
        if limit < 0 or offset < 0:
            raise InputError(f"limit is {limit} and offset is {offset}; expected 0 or more.")
        where, values = self._filter(words, ids, status, role, session, source)
        connection = self._scope.connection
        with connection.reading():
            total = connection.rows(f"SELECT count(*) FROM interactions i WHERE {where}", values)[0][0]
            rows = connection.rows(
                f"SELECT i.superseded_by, {COLUMNS} FROM interactions i WHERE {where}"
                " ORDER BY i.time DESC, i.seq DESC LIMIT ? OFFSET ?",
                (*values, limit, offset),
            )
        return InteractionPage(
            tuple(InteractionRow(interaction_from(row), row["superseded_by"]) for row in rows), int(total)
        )

    def sessions(self, limit: int = 200) -> list[tuple[str, int]]:
        """(session, number of its interactions) pairs, the most recent session first."""
        rows = self._scope.connection.rows(
            "SELECT s.session, count(DISTINCT s.interaction_seq) FROM sightings s"
            " JOIN interactions i ON i.seq = s.interaction_seq WHERE i.namespace = ? AND s.session IS NOT NULL"
            " GROUP BY s.session ORDER BY max(s.time) DESC, s.session LIMIT ?",
            (self._scope.namespace, limit),
        )
        return [(row[0], int(row[1])) for row in rows]

    def _filter(
        self,
        words: str,
        ids: Collection[str] | None,
        status: Collection[Status],
        role: Role | None,
        session: str | None,
        source: str | None,
    ) -> tuple[str, list[object]]:
        where, values = ["i.namespace = ?"], list[object]([self._scope.namespace])
        if ids is not None:
            where.append("i.id IN (SELECT value FROM json_each(?))")
            values.append(id_list(ids))
        if status:
            where.append("i.status IN (SELECT value FROM json_each(?))")
            values.append(id_list(status))
        if role is not None:
            where.append("i.role = ?")
            values.append(role)
        for column, wanted in (("session", session), ("source", source)):
            if wanted is not None:
                where.append(f"i.seq IN (SELECT interaction_seq FROM sightings WHERE {column} = ?)")
                values.append(wanted)
        for word in _split_words(words):
            where.append("(instr(folded(i.text), ?) OR instr(folded(i.title), ?))")
            values += [fold(word)] * 2
        return " AND ".join(where), values


def _split_words(words: str) -> list[str]:
    found = words.split()
    if len(found) > MAX_WORDS:
        raise InputError(f"the search has {len(found)} words; expected at most {MAX_WORDS}.")
    return found
