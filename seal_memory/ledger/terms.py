"""Index of the words of interactions: which text holds which term how often, for each namespace by itself.

A term is a folded word's stem, or a pair of characters of a script without spaces (`_internal.scripts`). Stems are
Porter's, for English; words of other languages are only shortened where they end like English ones.

Rows are kept for every interaction, whatever its status, since a text never changes; `search` looks at the status.
No foreign key ties them to their interaction (its index would double them): `purge` removes them.

Not here: scores (`search`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from seal_memory._internal.scripts import singles, words
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import id_list, to_json

if TYPE_CHECKING:
    from sqlite3 import Connection as SqliteConnection

_MIN_STEMMED = 3  # characters
_STEMMING = Lock()  # a stemmer keeps the word that it works on

_FILL = """
INSERT OR IGNORE INTO search_spaces (namespace) SELECT DISTINCT namespace FROM interactions;
CREATE TEMP TABLE indexed AS
    SELECT i.seq, s.id AS space, indexed_words(i.text, i.title) AS found
    FROM interactions i JOIN search_spaces s ON s.namespace = i.namespace;
INSERT INTO search_lengths (seq, space, words) SELECT seq, space, json_extract(found, '$[0]') FROM temp.indexed;
INSERT INTO search_terms (space, term, seq, in_text, in_title)
    SELECT x.space, json_extract(j.value, '$[0]'), x.seq, json_extract(j.value, '$[1]'), json_extract(j.value, '$[2]')
    FROM temp.indexed x, json_each(x.found, '$[1]') j;
DROP TABLE temp.indexed;
"""
SEARCH_TABLES = f"""
CREATE TABLE search_spaces (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE search_lengths (
    seq INTEGER PRIMARY KEY,
    space INTEGER NOT NULL,
    words INTEGER NOT NULL
) STRICT;
CREATE INDEX search_lengths_by_space ON search_lengths (space, words);
CREATE TABLE search_terms (
    space INTEGER NOT NULL,
    term TEXT NOT NULL,
    seq INTEGER NOT NULL,
    in_text INTEGER NOT NULL,
    in_title INTEGER NOT NULL,
    PRIMARY KEY (space, term, seq)
) STRICT, WITHOUT ROWID;
{_FILL}
DROP TRIGGER interactions_fts_insert;
DROP TRIGGER interactions_fts_delete;
DROP TRIGGER interactions_fts_update;
DROP TRIGGER interactions_fts_withhold;
DROP TRIGGER interactions_fts_release;
DROP TABLE interactions_fts;
"""

# Indexes all texts anew: for a migration whenever `_internal.scripts` cuts or folds words in another way.
REINDEX = f"DELETE FROM search_terms; DELETE FROM search_lengths;{_FILL}"


def register_functions(database: SqliteConnection) -> None:
    """Make `indexed_words` known to the connection, for the migration that fills the tables."""
    database.create_function("indexed_words", 2, _indexed_json, deterministic=True)


def add_to_index(scope: Scope, texts: Sequence[tuple[str, str, str | None]]) -> None:
    """Index new interactions, given as (id, text, title)."""
    if not texts:
        return
    space = _space(scope)
    rows = scope.connection.rows(
        "SELECT id, seq FROM interactions WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))",
        (scope.namespace, id_list(one[0] for one in texts)),
    )
    seqs = {row[0]: row[1] for row in rows}
    lengths: list[tuple[object, ...]] = []
    terms: list[tuple[object, ...]] = []
    for id, text, title in texts:
        length, counts = _indexed(text, title)
        lengths.append((seqs[id], space, length))
        terms += [(space, term, seqs[id], in_text, in_title) for term, in_text, in_title in counts]
    scope.connection.run_many("INSERT INTO search_lengths (seq, space, words) VALUES (?, ?, ?)", lengths)
    scope.connection.run_many(
        "INSERT INTO search_terms (space, term, seq, in_text, in_title) VALUES (?, ?, ?, ?, ?)", terms
    )


def remove_from_index(scope: Scope, interaction_ids: Collection[str]) -> None:
    """Remove the index rows of interactions that are about to be deleted. Reads the namespace's whole index."""
    ours = "(SELECT seq FROM interactions WHERE namespace = ? AND id IN (SELECT value FROM json_each(?)))"
    values = (scope.namespace, id_list(interaction_ids))
    scope.connection.run(
        f"DELETE FROM search_terms WHERE space = (SELECT id FROM search_spaces WHERE namespace = ?) AND seq IN {ours}",
        (scope.namespace, *values),
    )
    scope.connection.run(f"DELETE FROM search_lengths WHERE seq IN {ours}", values)


def stemmed(word: str) -> str:
    """The term of a folded word."""
    return _stem(word) if word.isascii() else word


def _space(scope: Scope) -> int:
    scope.connection.run("INSERT OR IGNORE INTO search_spaces (namespace) VALUES (?)", (scope.namespace,))
    return int(scope.connection.rows("SELECT id FROM search_spaces WHERE namespace = ?", (scope.namespace,))[0][0])


def _indexed(text: str, title: str | None) -> tuple[int, list[tuple[str, int, int]]]:
    """Number of words, and (term, count in the text, count in the title) of every term."""
    in_text, in_title = (Counter(map(stemmed, words(part))) for part in (text, title or ""))
    length = in_text.total() + in_title.total()
    in_text.update(singles(text))
    in_title.update(singles(title or ""))
    terms = sorted(in_text.keys() | in_title.keys())
    return length, [(term, in_text[term], in_title[term]) for term in terms]


def _indexed_json(text: str, title: str | None) -> str:
    return to_json(_indexed(text, title), "the words of an interaction")


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    if len(word) < _MIN_STEMMED:
        return word
    with _STEMMING:
        return str(_stemmer().stemWord(word))


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("porter")
