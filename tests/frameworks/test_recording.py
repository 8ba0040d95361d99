"""Recording for frameworks: never raises, never loses a user's turn, and says what it left out."""

from __future__ import annotations

import gc
import logging
import sqlite3
import threading
import time
import weakref
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from seal_memory import SealMemory
from seal_memory.errors import InputError, LedgerError
from seal_memory.frameworks.context import context_or_nothing
from seal_memory.frameworks.recording import RecordingCounts, record_items, record_messages, recording_counts
from seal_memory.intake import recording
from seal_memory.ledger import connection

FACT = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
LONG = " ".join(map(str, range(2000)))  # several interactions, no two alike: the ledger keeps one of those

TEXTS = st.one_of(
    st.text(st.characters(), max_size=12),
    st.sampled_from(
        ["PNG\x00\x01data", "half \ud800", "\ud83d\ude00", "", "\n", "訪問は田中さんです。", "สวัสดีครับ", LONG]
    ),
)
PARTS = st.one_of(
    TEXTS,
    st.none(),
    st.integers(),
    st.builds(
        lambda kind, key, value: {"type": kind, key: value},
        st.sampled_from(["text", "input_text", "image_url", "tool_result", "tool_use", "thinking", "\udfff", None, 3]),
        st.sampled_from(["text", "content", "refusal", "input", "image_url"]),
        TEXTS | st.none() | st.lists(TEXTS, max_size=2) | st.just([{"type": "text", "text": "42 keys"}]),
    ),
)
CONTENT = TEXTS | st.none() | st.integers() | st.lists(PARTS, max_size=3) | st.dictionaries(TEXTS, TEXTS, max_size=2)
ROLES = st.sampled_from(
    ["user", "human", "assistant", "ai", "tool", "system", "developer", "function", "narrator", "", 3]
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": ROLES, "content": CONTENT},
        optional={"name": TEXTS | st.none() | st.integers(), "id": TEXTS, "tool_call_id": TEXTS, "tool_calls": PARTS},
    )
    | st.just({})
    | st.just({"role": "assistant", "tool_calls": [{"id": "1"}]}),
    max_size=5,
)
TURN = {"role": "user", "content": FACT}


@settings(max_examples=60)
@given(MESSAGES, st.integers(0, 5), TEXTS | st.none(), TEXTS)
@example([{"role": "user", "content": "a\x00b"}, {"role": "narrator", "content": "x"}], 1, "\ud800", "\udfff")
def test_any_history_is_recorded_and_no_readable_user_turn_is_lost(
    messages: list[Any], place: int, session: str | None, source: str
) -> None:
    """Whatever stands around it, the user's sentence is in the ledger; so is every other user text that is readable."""
    said = [*messages[:place], TURN, *messages[place:]]
    with TemporaryDirectory() as folder, SealMemory.open(folder) as memory:
        counts = record_messages(memory, said, session=session, source=source)
        found = [i.text for i in memory.ledger.interactions() if i.role.value == "user"]
    assert (counts.waiting, counts.lost) == (0, 0)
    assert FACT in found
    for message in messages:
        text = message.get("content")
        if message.get("role") in ("user", "human") and isinstance(text, str) and text.isprintable() and text.strip():
            assert "".join(text.split()) in "".join("".join(found).split())


class _Unreadable(dict[str, str]):
    def get(self, *_: object) -> str:
        raise RuntimeError("no")


NESTED: list[Any] = []
NESTED.append(NESTED)


@pytest.mark.parametrize(
    "odd",
    [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "1", "name": "x", "input": {"at": date(2024, 1, 1)}}],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "x", "input": NESTED}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1"}], "tool_calls": 5},
        {"role": "user", "content": [{"type": ["text"], "url": "x"}]},
        {"role": "user", "content": [{"type": "text", "text": None}]},
        _Unreadable(role="user", content="x"),
        None,
    ],
)
def test_no_odd_message_raises_or_takes_another_with_it(tmp_path: Path, odd: Any) -> None:
    with SealMemory.open(tmp_path) as memory:
        record_messages(memory, [odd, TURN], session="s", source="t")
        assert [i.text for i in memory.ledger.interactions()] == [FACT]


def test_a_text_beside_an_empty_part_is_kept(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": None}, {"type": "text", "text": FACT}]
    with SealMemory.open(tmp_path) as memory:
        assert record_messages(memory, [{"role": "user", "content": parts}], session="s", source="t").skipped == 0
        assert [i.text for i in memory.ledger.interactions()] == [FACT]


def test_what_is_cleaned_or_left_out_is_counted_and_logged_without_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two cleaned, one without anything readable, one of an unknown role."""
    said = [
        {"role": "tool", "content": "PNG\x00\x01Brumo"},
        {"role": "user", "content": "Brumo \ud800 barks."},
        {"role": "tool", "content": "\x00\x01\x02"},
        {"role": "Brumo", "content": "Woof, said the dog."},
    ]
    with SealMemory.open(tmp_path) as memory, caplog.at_level(logging.INFO):
        assert record_messages(memory, said, session="s", source="t") == RecordingCounts(cleaned=2, skipped=2)
        assert recording_counts(memory) == RecordingCounts(cleaned=2, skipped=2)
        assert [i.text for i in memory.ledger.interactions()] == ["PNGBrumo", "Brumo \ufffd barks."]
    assert "left out" in caplog.text
    assert "Brumo" not in caplog.text


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A memory whose ledger another process holds, until `release()`."""
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    memory = SealMemory.open(tmp_path)
    other = sqlite3.connect(memory.ledger.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    yield memory, lambda: other.execute("ROLLBACK")
    other.close()
    memory.close()


def test_a_locked_ledger_loses_nothing_and_keeps_the_order(locked: Any) -> None:
    """Records wait in this process; the next one brings them all."""
    memory, release = locked
    counts = record_messages(memory, [TURN], session="s", source="t")
    assert counts.waiting == 1
    release()
    counts = record_messages(memory, [{"role": "user", "content": "Petra keeps the keys."}], session="s", source="t")
    assert counts == RecordingCounts()
    assert [i.text for i in memory.ledger.interactions(session="s")] == [FACT, "Petra keeps the keys."]


def test_what_waits_is_recorded_without_another_record(locked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread tries again."""
    memory, release = locked
    monkeypatch.setattr(recording, "RETRY_SECONDS", 0.05)
    record_messages(memory, [TURN], session="s", source="t")
    release()
    done = threading.Event()
    for _ in range(200):
        if recording_counts(memory).waiting == 0:
            break
        done.wait(0.05)
    assert [i.text for i in memory.ledger.interactions()] == [FACT]


def test_what_waits_is_recorded_when_the_memory_closes(locked: Any, tmp_path: Path) -> None:
    memory, release = locked
    record_messages(memory, [TURN], session="s", source="t")
    release()
    memory.close()
    with SealMemory.open(tmp_path) as again:
        assert [i.text for i in again.ledger.interactions()] == [FACT]


def test_what_waits_does_not_come_back_after_its_session_was_forgotten(locked: Any) -> None:
    """A forget records it first."""
    memory, release = locked
    record_messages(memory, [TURN], session="s", source="t")
    release()
    assert memory.forget(session="s").interactions == 1
    assert recording_counts(memory).waiting == 0
    assert memory.ledger.interactions() == []


def test_what_can_never_be_recorded_is_given_up_with_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit the oldest goes, at closing the rest; each is counted as lost."""
    monkeypatch.setattr(recording, "MAX_WAITING", 2)
    memory = SealMemory.open(tmp_path)
    memory.ledger.close()
    for _ in range(3):
        counts = record_messages(memory, [TURN], session="s", source="t")
    assert counts == RecordingCounts(waiting=2, lost=1)
    memory.close()
    assert recording_counts(memory).lost == 3
    assert "lost" in caplog.text


def test_one_bad_item_takes_no_other_with_it(tmp_path: Path) -> None:
    """All at once first, then one by one; also after a failure that is no error of ours."""
    calls: list[list[int]] = []

    def observe(_: Any, items: list[int]) -> None:
        calls.append(items)
        if 2 in items:
            raise ZeroDivisionError

    with SealMemory.open(tmp_path) as memory:
        assert record_items(memory, observe, [1, 2, 3]).skipped == 1
    assert calls == [[1, 2, 3], [1], [2], [3]]


def test_a_full_memory_leaves_out_what_does_not_fit_and_waits_for_nothing(tmp_path: Path) -> None:
    with SealMemory.open(tmp_path, quota=1500) as memory:
        said = [TURN, {"role": "tool", "content": "barrel " * 500}]
        assert record_messages(memory, said, session="s", source="t") == RecordingCounts(skipped=1)
        assert [i.text for i in memory.ledger.interactions()] == [FACT]


def test_one_that_waits_for_the_lock_is_enough(locked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later records queue behind it at once."""
    memory, release = locked
    record_messages(memory, [TURN], session="s", source="t")
    memory.ledger._scope.connection.database.execute("PRAGMA busy_timeout=3000")
    monkeypatch.setattr(recording, "PATIENCE", 0.01)
    begun = time.monotonic()
    for _ in range(5):
        record_messages(memory, [TURN], session="s", source="t")
    assert time.monotonic() - begun < 2
    release()


def test_a_memory_that_is_closed_can_be_collected(tmp_path: Path) -> None:
    memory = SealMemory.open(tmp_path)
    record_messages(memory, [TURN], session="s", source="t")
    memory.close()
    gone = weakref.ref(memory)
    del memory
    gc.collect()
    assert gone() is None


async def _nothing(memory: SealMemory, query: str, mode: Any = "recall") -> Any:
    return await context_or_nothing(memory, query, mode=mode)


def test_a_prompt_gets_no_context_where_the_memory_cannot_answer(tmp_path: Path) -> None:
    """A broken ledger is a line in the log; an unknown mode is the caller's mistake."""
    import asyncio

    memory = SealMemory.open(tmp_path)
    assert asyncio.run(_nothing(memory, "half \ud800 \x00 a pair")) == []
    with pytest.raises(InputError, match="dreams"):
        asyncio.run(_nothing(memory, "anything", "dreams"))
    memory.close()
    with pytest.raises(LedgerError):
        memory.recall("anything")
    assert asyncio.run(_nothing(memory, "anything")) == []
