"""Facts condensed from a reader's answers: they cover the text, few of them, and every question has one."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from seal_memory.language.metrics import contains
from seal_memory.records import Episode
from seal_memory.self_edits.facts import Answered, condense
from seal_memory.self_edits.statements import Statement, statements_of

TEXT = (
    "Maud Ellery built the lighthouse at Korrin Bay in 1887, and Tomas Lindqvist, who had come from Oslo in the winter "
    "of storms, painted it green for the harbour company of Dunmorrow Quay.",
)
BUILT = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
PAINTED = "Tomas Lindqvist painted the lighthouse green."


def _answered(source: Statement, *pairs: tuple[str, str]) -> list[Answered]:
    return [Answered(question, answer, 0.9, source) for question, answer in pairs]


def test_answers_with_the_same_news_become_one_fact(episode_of: Callable[..., Episode]) -> None:
    """The one that says most; every question is answered by the fact that says what its own answer said."""
    statements = statements_of(episode_of(*TEXT))
    answered = _answered(
        statements[0],
        ("Who built the lighthouse?", "It was built by Maud Ellery."),
        ("Where is the lighthouse?", BUILT),
        ("When was it built?", BUILT),
        ("Who painted it?", PAINTED),
    )
    facts, asked = condense(answered, statements)
    texts = [f.text for f in facts]
    assert texts[:2] == [BUILT, PAINTED]
    assert "It was built by Maud Ellery." not in texts
    assert {q: f.text for q, f in asked} == {
        "Who built the lighthouse?": BUILT, "Where is the lighthouse?": BUILT,
        "When was it built?": BUILT, "Who painted it?": PAINTED,
    }  # fmt: skip


def test_without_answers_the_facts_are_the_texts_own_clauses(episode_of: Callable[..., Episode]) -> None:
    statements = statements_of(episode_of(*TEXT))
    facts, asked = condense([], statements)
    assert asked == []
    assert facts
    assert all(f.text in statements[0].text for f in facts)
    assert all(f.interaction_id == statements[0].interaction_id for f in facts)


@given(data=st.data())
def test_no_span_of_the_text_is_left_out(episode_of: Callable[..., Episode], data: st.DataObject) -> None:
    """Whatever was answered: each span stands in a fact, no fact stands twice, and questions keep their order."""
    statements = statements_of(episode_of(*TEXT, "The slipway winch must never pull more than 3,200 kilograms."))
    spans = [span.text for s in statements for span in s.spans]
    answers = data.draw(st.lists(st.lists(st.sampled_from(spans), min_size=1, max_size=4).map(" ".join), max_size=8))
    pairs = [(f"Question {n}?", f"{answer}.") for n, answer in enumerate(answers)]
    facts, asked = condense(_answered(statements[0], *pairs), statements)
    texts = [f.text for f in facts]
    assert all(any(contains(text, span) for text in texts) for span in spans)
    assert len(set(texts)) == len(texts)
    assert [q for q, _ in asked] == [q for q, _ in pairs if q in dict(asked)]
    assert {f.text for _, f in asked} <= set(texts)
