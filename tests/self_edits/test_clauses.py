"""Clauses: every word of a sentence in exactly one, in order, none too long."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from seal_memory.self_edits.clauses import MAX_WORDS, clause_around, clause_bounds

word = st.sampled_from(
    ["ship,", "and", "which", "Korrin", "(1887)", "harbour;", "to", "lighthouse", "—", "because", "x:", "who's", "ä"]
)
sentences = st.lists(word, max_size=70).map(" ".join)


@given(sentence=sentences | st.text(max_size=200))
def test_clauses_cover_all_words_in_order(sentence: str) -> None:
    """Nothing is lost, nothing doubled, no word cut in two."""
    bounds = clause_bounds(sentence)
    assert [w for a, b in bounds for w in sentence[a:b].split()] == sentence.split()
    assert all(before[1] <= after[0] for before, after in pairwise(bounds))


@given(sentence=sentences)
def test_clauses_are_short(sentence: str) -> None:
    """At most a few words over the limit; a short sentence is one clause."""
    bounds = clause_bounds(sentence)
    assert all(len(sentence[a:b].split()) <= MAX_WORDS + 2 for a, b in bounds)
    if len(sentence.split()) <= MAX_WORDS:
        assert bounds == [(0, len(sentence))]


@given(sentence=sentences.filter(bool), data=st.data())
def test_the_clause_around_a_span_holds_it(sentence: str, data: st.DataObject) -> None:
    """Also where the span crosses the clause's end."""
    start = data.draw(st.integers(0, len(sentence) - 1))
    end = data.draw(st.integers(start + 1, len(sentence)))
    span = sentence[start:end].strip()
    clause = clause_around(sentence, start, end)
    assert span in clause
    assert clause in sentence


def test_a_long_sentence_is_cut_where_it_pauses() -> None:
    """At the comma rather than in the middle of a phrase."""
    sentence = (
        "The old lighthouse at the northern end of Korrin Bay was built by Maud Ellery, who had come from Oslo "
        "with two brothers and a ship full of stone and glass."
    )
    first, *_ = clause_bounds(sentence)
    assert sentence[slice(*first)].endswith("Maud Ellery,")
    assert "Oslo" in clause_around(sentence, sentence.index("Oslo"), sentence.index("Oslo") + 4)
