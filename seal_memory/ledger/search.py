"""Full-text search over interactions: FTS5's BM25, corrected for small memories.

FTS5 gives almost no weight to a term that occurs in more than half of all rows, and it counts the rows of every
namespace in the file. Both hurt a small memory. So each term is queried on its own, FTS5's inverse document frequency
is divided out of its score, and the non-negative log(1 + (N - n + .5) / (n + .5)), counted over this namespace, is
multiplied in. For a large memory the ranking is FTS5's own.

A query is never parsed as FTS5 syntax: it is split into words, and each word is quoted. Quarantined and rejected
interactions are not indexed and not counted.

Not here: embeddings, chunking (one row is one interaction), a score threshold (`routing`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import id_list
from seal_memory.ledger.interactions import COLUMNS, interaction_from
from seal_memory.records import WITHHELD, Hit, Status

TEXT_WEIGHT = 1.0
TITLE_WEIGHT = 2.0
MAX_TERMS = 256  # of one query, which may be a whole document

_STOP_WORDS = """
    a about after all also am an and any are as at be because been before but by can could did do does
    for from had has have he her him his how i if in into is it its just me more my no not of on or our
    she should so some such than that the their them then there these they this those to us was we were
    what when where which who whom whose why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

_SEARCHABLE = frozenset(Status) - {Status.SUPERSEDED} - WITHHELD
_WORD = re.compile(r"\w+")
_MIN_IDF = 1e-6  # FTS5's value where the logarithm would not be positive

_MATCH = """
    SELECT f.rowid, -bm25(interactions_fts, ?, ?), i.namespace = ? AND i.status != ?
    FROM interactions_fts f CROSS JOIN interactions i ON i.seq = f.rowid
    WHERE interactions_fts MATCH ?
"""


def search(scope: Scope, query: str, *, limit: int, statuses: Collection[Status] | None) -> list[Hit]:
    terms = query_terms(query)
    if not terms or limit < 1:
        return []
    wanted = set(_SEARCHABLE if statuses is None else statuses) & _SEARCHABLE
    with scope.connection.reading():
        scores = _scores(scope, terms)
        rows = scope.connection.rows(
            f"SELECT i.seq, {COLUMNS} FROM interactions i WHERE i.seq IN (SELECT value FROM json_each(?))",
            (id_list(_best(scope, scores, wanted, limit)),),
        )
    hits = {row["seq"]: Hit(interaction_from(row), scores[row["seq"]]) for row in rows}
    return [hits[seq] for seq in sorted(hits, key=lambda seq: (-scores[seq], -seq))]


def query_terms(query: str) -> list[str]:
    """Distinct words of a query without stop words; all words if there are only stop words."""
    words = {word.casefold(): word for word in _WORD.findall(query) if word.strip("_")}
    content = [word for folded, word in words.items() if folded not in STOP_WORDS]
    return (content or list(words.values()))[:MAX_TERMS]


def _scores(scope: Scope, terms: list[str]) -> dict[int, float]:
    """BM25 score by row number, for every matching row of the namespace that is not superseded."""
    indexed = "SELECT count(*) FROM interactions WHERE status NOT IN (SELECT value FROM json_each(?))"
    rows_in_file = int(scope.connection.rows(indexed, (id_list(WITHHELD),))[0][0])
    rows_in_namespace = int(
        scope.connection.rows(
            f"{indexed} AND namespace = ? AND status != ?",
            (id_list(WITHHELD), scope.namespace, Status.SUPERSEDED),
        )[0][0]
    )
    scores: dict[int, float] = {}
    for term in terms:
        values = (TEXT_WEIGHT, TITLE_WEIGHT, scope.namespace, Status.SUPERSEDED, f'"{term}"')
        matches = scope.connection.rows(_MATCH, values)
        ours = [(row[0], row[1]) for row in matches if row[2]]
        weight = _smooth_idf(rows_in_namespace, len(ours)) / _fts5_idf(rows_in_file, len(matches))
        for seq, score in ours:
            scores[seq] = scores.get(seq, 0.0) + score * weight
    return scores


def _best(scope: Scope, scores: dict[int, float], statuses: set[Status], limit: int) -> list[int]:
    """Row numbers with the highest scores, best first; the newer row wins a tie."""
    ranked = sorted(scores, key=lambda seq: (-scores[seq], -seq))
    if statuses == _SEARCHABLE:
        return ranked[:limit]
    rows = scope.connection.rows(
        "SELECT seq FROM interactions WHERE namespace = ? AND status IN (SELECT value FROM json_each(?))",
        (scope.namespace, id_list(statuses)),
    )
    allowed = {row[0] for row in rows}
    return [seq for seq in ranked if seq in allowed][:limit]


def _smooth_idf(rows: int, hits: int) -> float:
    return math.log(1 + (rows - hits + 0.5) / (hits + 0.5))


def _fts5_idf(rows: int, hits: int) -> float:
    ratio = (rows - hits + 0.5) / (hits + 0.5)
    return math.log(ratio) if ratio > 1 else _MIN_IDF
