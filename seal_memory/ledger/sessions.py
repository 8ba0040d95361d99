"""Sessions: which conversation a request continues, and forgetting one session without the others.

A client that names no session is recognised by the history that it sends: every exchange is noted under keys (hashes
that the caller makes of histories) with its session. Two conversations may have had the same history so far; the one
that nobody continued yet goes first. Keys go with the texts of their session, and after `KEPT_SECONDS`.

A text that was seen in several sessions, or from several sources, belongs to each: forgetting one removes its sightings
there. Not here: making keys (the server), listing sessions (`browsing`), deleting texts (`purge`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import id_list
from seal_memory.ledger.purge import mark_wipe_due

KEPT_SECONDS = 90 * 24 * 3600.0

CONVERSATION_TABLES = """
CREATE TABLE conversations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    session TEXT NOT NULL,
    turn INTEGER NOT NULL,
    time REAL NOT NULL
) STRICT;
CREATE INDEX conversations_by_key ON conversations (namespace, key);
CREATE INDEX conversations_by_session ON conversations (namespace, session);
CREATE INDEX conversations_by_time ON conversations (namespace, time);
"""

_FIND = """
    SELECT session, EXISTS (
        SELECT 1 FROM conversations later
        WHERE later.namespace = c.namespace AND later.session = c.session AND later.turn > c.turn
    ) AS continued
    FROM conversations c WHERE namespace = ? AND key = ?
    ORDER BY continued, CASE WHEN continued THEN -seq ELSE seq END LIMIT 1
"""


class Sessions:
    """The sessions of one namespace."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def continued_by(self, keys: Sequence[str]) -> str | None:
        """The session of the conversation that had one of these histories, by the first known key; None: it is new."""
        for key in keys:
            found = self._scope.connection.rows(_FIND, (self._scope.namespace, key))
            if found:
                return str(found[0][0])
        return None

    def note(self, session: str, keys: Collection[str]) -> None:
        """Note under which keys a conversation is recognised from now on."""
        now, namespace = self._scope.clock(), self._scope.namespace
        with self._scope.connection.atomic():
            self._scope.connection.run(
                "DELETE FROM conversations WHERE namespace = ? AND time < ?", (namespace, now - KEPT_SECONDS)
            )
            self._scope.connection.run(  # the clock was set back
                "UPDATE conversations SET time = ? WHERE namespace = ? AND time > ?", (now, namespace, now)
            )
            last = self._scope.connection.rows(
                "SELECT coalesce(max(turn), 0) FROM conversations WHERE namespace = ? AND session = ?",
                (namespace, session),
            )[0][0]
            self._scope.connection.run_many(
                "INSERT INTO conversations (namespace, key, session, turn, time) VALUES (?, ?, ?, ?, ?)",
                [(namespace, key, session, last + 1, now) for key in keys],
            )

    def is_noted(self, session: str) -> bool:
        """Whether a conversation is recognised as this session, which may hold no text."""
        rows = self._scope.connection.rows(
            "SELECT 1 FROM conversations WHERE namespace = ? AND session = ? LIMIT 1", (self._scope.namespace, session)
        )
        return bool(rows)

    def seen_only_there(self, *, session: str | None, source: str | None) -> list[str]:
        """Ids of the interactions that were seen in this session, or from this source, and nowhere else."""
        return self._seen(session, source, elsewhere=False)

    def seen_there_too(self, *, session: str | None, source: str | None) -> list[str]:
        """Ids of the interactions that were seen in this session, or from this source, and elsewhere, too."""
        return self._seen(session, source, elsewhere=True)

    def leave(self, *, session: str | None, source: str | None) -> int:
        """Remove the sightings in this session, or from this source, of what was seen elsewhere, too.

        Such an interaction then says where it was seen first of what is left, and keeps no metadata of the other place
        but its number among chunks. Returns how many they are.
        """
        connection, there = self._scope.connection, _condition(session, source)
        with connection.atomic():
            shared = self.seen_there_too(session=session, source=source)
            values = {**self._values(session, source), "ids": id_list(shared)}
            known = "SELECT value FROM json_each(:ids)"
            ours = f"SELECT seq FROM interactions WHERE namespace = :namespace AND id IN ({known})"
            connection.run(f"DELETE FROM sightings WHERE {there} AND interaction_seq IN ({ours})", values)
            for (seq,) in connection.rows(f"{ours} AND {there}", values):
                self._move_to_first_sighting(seq)
            if session is not None:
                connection.run("DELETE FROM conversations WHERE namespace = :namespace AND session = :session", values)
            mark_wipe_due(connection)
        return len(shared)

    def _seen(self, session: str | None, source: str | None, *, elsewhere: bool) -> list[str]:
        there, other = _condition(session, source), _condition(session, source, elsewhere=True)
        rows = self._scope.connection.rows(
            "SELECT i.id FROM interactions i WHERE i.namespace = :namespace"
            f" AND i.seq IN (SELECT interaction_seq FROM sightings WHERE {there})"
            f" AND {'' if elsewhere else 'NOT '}EXISTS"
            f" (SELECT 1 FROM sightings s WHERE s.interaction_seq = i.seq AND ({other})) ORDER BY i.time, i.seq",
            self._values(session, source),
        )
        return [row[0] for row in rows]

    def _move_to_first_sighting(self, seq: int) -> None:
        connection = self._scope.connection
        (first,) = connection.rows(
            "SELECT time, session, source FROM sightings WHERE interaction_seq = ? ORDER BY time, seq LIMIT 1", (seq,)
        )
        connection.run(
            "UPDATE interactions SET time = ?, session = ?, source = ?, metadata = CASE"
            " WHEN json_extract(metadata, '$.chunks') IS NULL THEN '{}' ELSE json_object("
            "'chunk', json_extract(metadata, '$.chunk'), 'chunks', json_extract(metadata, '$.chunks')) END"
            " WHERE seq = ?",
            (*first, seq),
        )

    def _values(self, session: str | None, source: str | None) -> dict[str, object]:
        return {"namespace": self._scope.namespace, "session": session, "source": source}


def _condition(session: str | None, source: str | None, *, elsewhere: bool = False) -> str:
    """SQL that holds for a sighting there, or elsewhere."""
    named = [column for column, value in (("session", session), ("source", source)) if value is not None]
    if elsewhere:
        return " OR ".join(f"{column} IS NOT :{column}" for column in named)
    return " AND ".join(f"{column} = :{column}" for column in named)
