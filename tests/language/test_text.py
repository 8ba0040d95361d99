"""Sentences, words, chunks, junk and answer spans."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.errors import InputError
from seal_memory.language.spans import SpanKind, answer_spans, dates, names, numbers
from seal_memory.language.text import (
    STOP_WORDS,
    chunks,
    content_words,
    is_binary_junk,
    normalise,
    sentences,
    strip_markup,
)

# Text that looks like prose, with the pieces on which a splitter stumbles.
_PIECES = st.sampled_from(
    [
        "Dr. ",
        "Marit",
        " ",
        "\n",
        "\n\n",
        ". ",
        "... ",
        "e.g. ",
        "? ",
        '." ',
        "- ",
        "# ",
        "3.5",
        "U.S. ",
        "a",
        "1. ",
        "。",
    ]
)
PROSE = st.one_of(st.text(max_size=200), st.lists(_PIECES, max_size=40).map("".join))


def _squeezed(text: str) -> str:
    return "".join(text.split())


# --- normalise and content_words ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Harbour, at Dawn!", "harbour at dawn"),
        ("3,200 kilograms", "3200 kilograms"),
        ("An “old” chapel…", "old chapel"),
        ("a the an", ""),
        ("Brannoc's", "brannocs"),
        ("ÉCOLE", "école"),
    ],
)
def test_normalise_lowers_and_drops_punctuation_and_articles(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text(max_size=100))
def test_normalise_is_idempotent(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_content_words_keep_numbers_and_codes_and_drop_function_words() -> None:
    text = "What does the K-7741 of Quillan Dray’s 3,200-kilogram winch at 6:40 mean?"
    assert content_words(text) == ["k-7741", "quillan", "dray", "3,200", "kilogram", "winch", "6:40", "mean"]


def test_question_words_are_stop_words() -> None:
    assert {"who", "what", "when", "where", "which", "why", "how"} <= STOP_WORDS


@given(PROSE)
def test_content_words_are_lower_case_and_no_stop_words(text: str) -> None:
    assert all(word and word == word.lower() and word not in STOP_WORDS for word in content_words(text))


# --- sentences ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Smith came. He left.", ["Dr. Smith came.", "He left."]),
        ("He lives in the U.S. He likes it.", ["He lives in the U.S.", "He likes it."]),
        ("The U.S. Army came at 5 p.m. and left.", ["The U.S. Army came at 5 p.m. and left."]),
        ("Use tools, e.g. Python, i.e. code.", ["Use tools, e.g. Python, i.e. code."]),
        (
            "See No. 5 on p. 12 first. No. That is wrong.",
            ["See No. 5 on p. 12 first.", "No.", "That is wrong."],
        ),
        ("J. R. R. Tolkien wrote it. We read it.", ["J. R. R. Tolkien wrote it.", "We read it."]),
        ("It costs 3.50 or 11.3 metres. Fine.", ["It costs 3.50 or 11.3 metres.", "Fine."]),
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ('"Who?" he asked. (So it was.) Yes!', ['"Who?" he asked.', "(So it was.)", "Yes!"]),
        ("Wait... what? No… Yes.", ["Wait... what?", "No…", "Yes."]),
        ("hi there! my dog is brumo. he is old.", ["hi there!", "my dog is brumo.", "he is old."]),
        ("Hi! my dog is Brumo.", ["Hi!", "my dog is Brumo."]),
        ("The Yahoo! shares fell.", ["The Yahoo! shares fell."]),
        ("A line that\nwraps here. Two.", ["A line that wraps here.", "Two."]),
        ("# Title\nBody one.\n\nBody two", ["# Title", "Body one.", "Body two"]),
        ("- first item\n- second item", ["- first item", "- second item"]),
        ("1. Open it. Wait.\n2. Close it.", ["1. Open it.", "Wait.", "2. Close it."]),
        ("My dog is Brumo\nMy cat is Fips", ["My dog is Brumo", "My cat is Fips"]),
        ("Title\n=====\nText here.", ["Title =====", "Text here."]),
        ("东京很大。我喜欢它。", ["东京很大。", "我喜欢它。"]),
        ("No full stop", ["No full stop"]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(PROSE)
def test_sentences_lose_nothing(text: str) -> None:
    pieces = sentences(text)
    assert _squeezed("".join(pieces)) == _squeezed(text)
    assert all(piece == " ".join(piece.split()) and piece for piece in pieces)


@pytest.mark.parametrize("text", ["." * 100_000, "e.g. " * 20_000, ". " * 50_000, "\n" * 50_000, "!'" * 50_000])
def test_sentences_take_linear_time_on_odd_text(text: str) -> None:
    start = time.perf_counter()
    sentences(text)
    chunks(text, 1000)
    assert time.perf_counter() - start < 3


def test_strip_markup_takes_list_and_heading_marks_off() -> None:
    assert strip_markup("- ## Rules") == "Rules"
    assert strip_markup("2. Close it.") == "Close it."
    assert strip_markup("1987 was cold.") == "1987 was cold."


# --- chunks and junk ---------------------------------------------------------------------------


@given(PROSE, st.integers(1, 60))
def test_chunks_lose_nothing_and_keep_to_the_limit(text: str, max_chars: int) -> None:
    pieces = chunks(text, max_chars)
    assert _squeezed("".join(pieces)) == _squeezed(text)
    assert all(0 < len(piece) <= max_chars and piece == piece.strip() for piece in pieces)


def test_chunks_prefer_paragraphs_then_sentences_then_words() -> None:
    text = "One is here. Two is here.\n\nThree is here and has no end of words at all"
    assert chunks(text, 30) == [
        "One is here. Two is here.",
        "Three is here and has no end",
        "of words at all",
    ]
    assert chunks(text, 15)[:2] == ["One is here.", "Two is here."]
    assert chunks("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


def test_chunks_refuse_a_size_below_one() -> None:
    with pytest.raises(InputError, match="max_chars is 0"):
        chunks("text", 0)


@pytest.mark.parametrize(
    ("text", "junk"),
    [
        ("plain text\twith\r\nlines", False),
        ("NUL \x00 inside", True),
        ("\x01\x02\x03abc", True),
        ("\ufffd\ufffd\ufffdPNG", True),
        ("one \ufffd in a long enough line of ordinary words", False),
        ("\x1b[31mred terminal output\x1b[0m", False),
        ("", False),
        ("дом и сад 东京 🙂", False),
    ],
)
def test_binary_junk(text: str, junk: bool) -> None:
    assert is_binary_junk(text) is junk


# --- spans -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Marit Oskvold bought the workshop from Pelle Grandin.", ["Marit Oskvold", "Pelle Grandin"]),
        ("The ferry Lindragon is late.", ["Lindragon"]),
        ("However, the tide turned.", []),
        ("Quillan plays.", ["Quillan"]),
        ("The Museum of Kestrel Bay opened.", ["Museum of Kestrel Bay"]),
        ("Alexander the Great met J. R. R. Tolkien.", ["Alexander the Great", "J. R. R. Tolkien"]),
        ("Foreman Iwan Sorrel hid it.", ["Iwan Sorrel"]),
        ("Pupils of Saint Brannoc's school came.", ["Saint Brannoc"]),
        ("Calder & Wren paid Dr. Amina Verholt.", ["Calder & Wren", "Dr. Amina Verholt"]),
        ("I met her on Monday in June, I'm sure.", []),
        ("BREAKING NEWS FROM THE PORT", []),
        ("Stock check: all is well.", []),
        ("May Parker came in May.", ["May Parker"]),
    ],
)
def test_names(sentence: str, expected: list[str]) -> None:
    assert [span.text for span in names(sentence)] == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("It pulls 3,200 kilograms.", [("3,200 kilograms", "number")]),
        ("It cost $3.5 million or 1,870 crowns.", [("$3.5 million", "money"), ("1,870 crowns", "money")]),
        ("Four percent of 3.85 percent.", [("Four percent", "number"), ("3.85 percent", "number")]),
        (
            "Come at 6:40 or 5 p.m. to berth 27.",
            [("6:40", "time"), ("5 p.m.", "time"), ("berth 27", "number")],
        ),
        ("The codes are B-417 and NM-5082.", [("B-417", "code"), ("NM-5082", "code")]),
        ("It was built in 1911.", [("1911", "date")]),
        (
            "The 3rd and second of twenty-one.",
            [("3rd", "number"), ("second", "number"), ("twenty-one", "number")],
        ),
        ("She has a 12-year-old dog.", [("12-year", "number")]),
        ("Back by 9 November.", []),
    ],
)
def test_numbers(sentence: str, expected: list[tuple[str, str]]) -> None:
    assert [(span.text, str(span.kind)) for span in numbers(sentence)] == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Back by 9 November 2024.", ["9 November 2024"]),
        ("It was on May 3rd, 2020, a Sunday.", ["May 3rd, 2020", "Sunday"]),
        ("We may march in March.", ["March"]),
        ("Due 2024-11-09, not in the 1990s.", ["2024-11-09", "1990s"]),
        ("In the 19th century, in June.", ["19th century", "June"]),
    ],
)
def test_dates(sentence: str, expected: list[str]) -> None:
    assert [span.text for span in dates(sentence)] == expected


def test_answer_spans_rank_names_before_figures_before_chunks() -> None:
    spans = answer_spans('Velmar Timber brings larch planks on 3 May to berth 27 and says "no credit".')
    assert [(span.text, span.kind) for span in spans] == [
        ("Velmar Timber", SpanKind.NAME),
        ("3 May", SpanKind.DATE),
        ("berth 27", SpanKind.NUMBER),
        ("no credit", SpanKind.QUOTE),
        ("larch planks", SpanKind.CHUNK),
    ]


def test_places_are_told_from_other_names() -> None:
    kinds = {s.text: s.kind for s in answer_spans("Tobin moved to the town of Garsholt on Orrin Skerry.")}
    assert kinds["Garsholt"] == kinds["Orrin Skerry"] == SpanKind.PLACE
    assert kinds["Tobin"] == SpanKind.NAME


@given(PROSE)
def test_spans_are_slices_of_their_sentence(sentence: str) -> None:
    spans = answer_spans(sentence)
    assert all(span.text == sentence[span.start : span.end] and span.text.strip() for span in spans)
    assert len({(span.start, span.end) for span in spans}) == len(spans)


@pytest.mark.parametrize("sentence", ["Aa " * 3000, "7" * 20_000, "a-" * 5000, "two " * 3000, '"' * 5000])
def test_spans_stay_quick_on_odd_sentences(sentence: str) -> None:
    start = time.perf_counter()
    answer_spans(sentence)
    assert time.perf_counter() - start < 3
