"""Full-text search over interactions: BM25 over the terms of one namespace.

The inverse document frequency is the non-negative log(1 + (N - n + .5) / (n + .5)): a word that most texts share still
counts in a small memory. All statistics (rows, lengths, hits) are of the namespace that is searched, so that neither
its scores nor the time of a search depends on what others of the same file hold.

A query is only ever words: no syntax. Superseded, quarantined and rejected interactions are not found and not counted.

Not here: which words a text has (`terms`), embeddings, chunking (one row is one interaction), a score threshold
(`routing`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection

from seal_memory._internal.scripts import FUNCTION_PAIRS, is_particle, words
from seal_memory.ledger.connection import Scope
from seal_memory.ledger.encoding import id_list
from seal_memory.ledger.interactions import COLUMNS, interaction_from
from seal_memory.ledger.terms import stemmed
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
_K1, _B = 1.2, 0.75  # of BM25

_MATCHES = """
    SELECT t.term, t.seq, t.in_text, t.in_title, l.words
    FROM json_each(:terms) j
    CROSS JOIN search_terms t ON t.space = :space AND t.term = j.value
    CROSS JOIN search_lengths l ON l.seq = t.seq
    CROSS JOIN interactions i ON i.seq = t.seq
    WHERE i.status NOT IN (SELECT value FROM json_each(:hidden))
"""
_STATISTICS = """
    WITH ours AS (
        SELECT s.id, count(*) AS texts, total(l.words) AS words
        FROM search_spaces s JOIN search_lengths l ON l.space = s.id WHERE s.namespace = :namespace
    ), hidden AS (
        SELECT count(*) AS texts, total(l.words) AS words
        FROM interactions i JOIN search_lengths l ON l.seq = i.seq
        WHERE i.namespace = :namespace AND i.status IN (SELECT value FROM json_each(:hidden))
    )
    SELECT ours.id, ours.texts - hidden.texts, ours.words - hidden.words FROM ours, hidden
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
    """Terms of a query's distinct words, without stop words; of all words if there are only stop words.

    Two words with one stem give it twice.
    """
    distinct = dict.fromkeys(words(query))
    content = [word for word in distinct if not _is_stop_word(word)]
    return [stemmed(word) for word in (content or distinct)][:MAX_TERMS]


def _is_stop_word(word: str) -> bool:
    return word in STOP_WORDS or word in FUNCTION_PAIRS or is_particle(word)


def _scores(scope: Scope, terms: list[str]) -> dict[int, float]:
    """BM25 score by row number, for every matching row of the namespace that may be found."""
    hidden = id_list(sorted(set(Status) - _SEARCHABLE))
    ((space, rows, total),) = scope.connection.rows(_STATISTICS, {"namespace": scope.namespace, "hidden": hidden})
    asked = Counter(terms)
    matches = scope.connection.rows(_MATCHES, {"terms": id_list(asked), "space": space, "hidden": hidden})
    hits = Counter(row[0] for row in matches)
    scores: dict[int, float] = {}
    for term, seq, in_text, in_title, length in matches:
        weight = asked[term] * math.log(1 + (rows - hits[term] + 0.5) / (hits[term] + 0.5))
        count = TEXT_WEIGHT * in_text + TITLE_WEIGHT * in_title
        share = count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * length * rows / total))
        scores[seq] = scores.get(seq, 0.0) + weight * share
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
