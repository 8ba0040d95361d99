"""Words of any script: equal spellings fold together, and a part of a run without spaces is a part of its words."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory._internal.scripts import fold, singles, words

EAST = ["管理者田中東京都", "かんりしゃ", "サーバーカメラ", "관리자김철수"]
SOUTH_EAST = ["ผู้จัดการสมชาย", "ຜູ້ຈັດການ", "អ្នកគ្រប់គ្រង", "မန်နေဂျာ"]
RUNS = st.sampled_from([*EAST, *SOUTH_EAST])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ｓｅｒｖｅｒ１２", "server12"),
        ("re\u00adpair", "repair"),
        ("e\u0301tude", "étude"),
        ("Étude", "etude"),
        ("ﬁle", "file"),
        ("ｶﾞｽ", "ガス"),
        ("Straße", "STRASSE"),
        ("ΟΔΟΣ", "οδός"),
        ("Ёлка", "елка"),
        ("שָׁלוֹם", "שלום"),
        ("كِتَاب", "كتاب"),
        ("می\u200cخواهم", "میخواهم"),
        ("ពាក្យ\u200bថ្មី", "ពាក្យថ្មី"),
        ("Zoë\ufe0f", "zoe"),
        ("Øresund Łódź Đặng ısı", "oresund lodz dang isi"),
        ("Œuvre Ægir", "oeuvre aegir"),
        ("٤٧٢٩ ४७२९ ๔๗๒๙", "4729 4729 4729"),
        ("کتاب علی", "كتاب علي"),
        ("مدرسة", "مدرسه"),
        ("क़लम", "कलम"),
    ],
)
def test_spellings_that_a_reader_takes_for_the_same_are_the_same_words(one: str, other: str) -> None:
    assert words(one) == words(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Acme™ №5, 5㎏", ["acme", "tm", "no", "5", "5", "kg"]),
        ("foo\u200bbar", ["foo", "bar"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("йод", ["йод"]),
        ("がき", ["がき"]),
        ("iPhone用の3月", ["iphone", "用", "の", "3", "月"]),
        ("", []),
    ],
)
def test_letters_that_differ_stay_apart_and_marks_stay_inside_their_word(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_composed_and_decomposed_text_has_the_same_words(text: str) -> None:
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))
    assert fold(text) == fold(unicodedata.normalize("NFC", text))


@settings(max_examples=80, deadline=None)
@given(RUNS, st.integers(0, 12), st.integers(1, 12))
def test_every_part_of_a_run_is_found_among_its_words(run: str, start: int, length: int) -> None:
    part = run[start : start + length]
    while part and unicodedata.category(part[0])[0] == "M":
        part = part[1:]
    end = start + length
    if not part or unicodedata.category(run[end] if end < len(run) else "x")[0] == "M":
        return  # a character was cut from its marks
    assert set(words(part)) <= {*words(run), *singles(run)}
