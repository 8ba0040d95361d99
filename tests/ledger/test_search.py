"""Search: BM25 that is sensible in tiny memories, and text that is never syntax."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seal_memory.ledger import Ledger
from seal_memory.records import NewInteraction, Status

See = Callable[..., list[str]]


def texts(ledger: Ledger, query: str, **options: object) -> list[str]:
    return [hit.interaction.text for hit in ledger.search(query, **options)]  # type: ignore[arg-type]


def test_words_are_stemmed_and_accents_ignored(ledger: Ledger, see: See) -> None:
    see("Zoë repaired the bicycles.", "It rained.")
    assert texts(ledger, "who REPAIRS zoe's bicycle?") == ["Zoë repaired the bicycles."]


def test_better_matches_come_first_with_larger_positive_scores(ledger: Ledger, see: See) -> None:
    see("the harbour", "the harbour of Lindal", "the mayor of Lindal lives by the harbour", "nothing")
    hits = ledger.search("mayor Lindal harbour")
    assert hits[0].interaction.text.startswith("the mayor")
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(hit.score > 0 for hit in hits)


def test_a_single_memory_is_found_with_a_score_above_zero(ledger: Ledger, see: See) -> None:
    see("Only this is known.")
    assert ledger.search("known")[0].score > 0.01


def test_words_that_most_rows_share_still_count_in_a_tiny_memory(ledger: Ledger, see: See) -> None:
    """The usual inverse frequency gives 'Orrin' and 'boat' a weight of almost nothing here."""
    see("Orrin likes tea and bread.", "Orrin owns a boat.", "Mira sails a boat.")
    hits = ledger.search("Orrin boat")
    assert hits[0].interaction.text == "Orrin owns a boat."
    assert hits[0].score > 1.5 * hits[1].score


def test_other_namespaces_do_not_change_the_scores(ledger: Ledger, see: See, tmp_path: Path) -> None:
    see("a red kite", "a blue kite", "a green bus")
    before = [(hit.interaction.id, hit.score) for hit in ledger.search("red kite")]
    with Ledger.open(tmp_path, namespace="other") as other:
        other.observe([NewInteraction(f"red thing {n} {'and more ' * n}") for n in range(50)])
    assert [(hit.interaction.id, hit.score) for hit in ledger.search("red kite")] == before


def test_the_work_of_a_search_does_not_grow_with_other_namespaces(ledger: Ledger, see: See, tmp_path: Path) -> None:
    """Counted in steps of SQLite's machine: a clock would tell about the machine that runs this."""
    shared = " ".join(f"word{n}" for n in range(100))
    see(shared)
    few = _steps(ledger, shared)
    with Ledger.open(tmp_path, namespace="other") as other:
        other.observe([NewInteraction(f"{shared} {n}") for n in range(200)])
    assert _steps(ledger, shared) < 1.2 * few


def _steps(ledger: Ledger, query: str) -> int:
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    ledger._scope.connection.database.conn.set_progress_handler(count, 10)
    try:
        assert len(ledger.search(query)) == 1
    finally:
        ledger._scope.connection.database.conn.set_progress_handler(None, 10)
    return steps


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("サーバーの管理者は田中さんです。", "管理者"),
        ("サーバーの管理者は田中さんです。", "サーバーを管理しているのは誰ですか？"),
        ("服务器的管理员是张三。", "谁是管理员？"),
        ("我家有一只猫。", "猫"),
        ("서버 관리자는 김철수입니다.", "관리자가 누구입니까?"),
        ("ผู้จัดการร้านชื่อสมชาย", "ผู้จัดการ"),
        ("ຜູ້ຈັດການຊື່ສົມໄຊ", "ຜູ້ຈັດການ"),
        ("អ្នកគ្រប់គ្រងឈ្មោះសុខា", "អ្នកគ្រប់គ្រង"),
        ("မန်နေဂျာက ကိုအောင်ဖြစ်သည်။", "မန်နေဂျာ"),
        ("सर्वर की कुंजी राम के पास है।", "कुंजी"),
        ("ＰＩＮ is １２３４.", "pin 1234"),
        ("The pass­word is Kestrel.", "password"),
        ("Café Zoë closes late.", "café"),
        ("Über die Straße", "STRASSE"),
        ("مُدِير الخادم هو سامي", "مدير"),
    ],
)
def test_what_was_said_in_any_script_is_found(ledger: Ledger, see: See, text: str, query: str) -> None:
    see(text, "The ferry leaves at nine.", "昨日は雨でした。", "天气很好。", "비가 왔어요.", "ฝนตก")
    assert texts(ledger, query)[0] == text


def test_the_title_is_searched_and_weighs_more(ledger: Ledger) -> None:
    ledger.observe(
        [
            NewInteraction("It opened late that year.", title="Brewery"),
            NewInteraction("The brewery stood idle.", title="Mill"),
        ]
    )
    assert ledger.search("brewery")[0].interaction.title == "Brewery"


def test_stop_words_only_count_where_there_is_nothing_else(ledger: Ledger, see: See) -> None:
    see("To be or not to be.", "The dog barks.")
    assert texts(ledger, "what is the dog?") == ["The dog barks."]
    assert texts(ledger, "to be") == ["To be or not to be."]


@pytest.mark.parametrize("query", ["", "  ", "?!…", '"', "*", "_ __", "\x00", "\ud800"])
def test_a_query_without_words_finds_nothing(ledger: Ledger, see: See, query: str) -> None:
    see("something")
    assert ledger.search(query) == []


@pytest.mark.parametrize(
    "query",
    ['boat" OR "x', "title:boat", "NEAR(boat, 2)", "boat*", "-boat ^", "NOT boat", "(boat", "boat\x00"],
)
def test_syntax_of_fts5_is_only_text(ledger: Ledger, see: See, query: str) -> None:
    see("a boat")
    assert texts(ledger, query) == ["a boat"]


def test_limit_and_statuses(ledger: Ledger, see: See) -> None:
    ids = see(*(f"boat {number}" for number in range(8)))
    ledger.set_status(ids[:2], Status.LEARNED)
    assert len(ledger.search("boat")) == 5
    assert len(ledger.search("boat", limit=100)) == 8
    assert ledger.search("boat", limit=0) == []
    learned = ledger.search("boat", statuses=[Status.LEARNED])
    assert sorted(hit.interaction.id for hit in learned) == sorted(ids[:2])
    assert ledger.search("boat", statuses=[]) == []


def test_superseded_text_is_never_found(ledger: Ledger, see: See) -> None:
    (old,) = see("the boat is red")
    ledger.supersede(old, NewInteraction("the ship is blue"))
    assert texts(ledger, "boat red") == []
    assert texts(ledger, "boat", statuses=[Status.SUPERSEDED]) == []


def test_a_whole_document_may_be_the_query(ledger: Ledger, see: See) -> None:
    see("the very last words of it")
    assert texts(ledger, "words " + " ".join(f"w{n}" for n in range(20_000))) == ["the very last words of it"]


def test_of_equal_matches_the_newest_comes_first(ledger: Ledger, see: See) -> None:
    see("meeting one", "meeting two")
    assert texts(ledger, "meeting") == ["meeting two", "meeting one"]
