"""Chats whose texts cannot be recorded as they are: the answer comes, and the user's turn is kept."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory.engines.base import Completion
from seal_memory.errors import QuotaError
from seal_memory.ledger import connection

Site = Any  # conftest's
SAID = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
LATER = "Tomas Lindqvist keeps the report in drawer 12."
TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "run", "arguments": "{}"}}


def _chat(site: Site, namespace: str, messages: list[Any], **more: Any) -> Any:
    body = json.dumps({"model": "tiny", "messages": messages, "max_tokens": 3, **more})
    headers = {"X-Seal-Memory-Namespace": namespace.encode(), "Content-Type": "application/json"}
    return site.http.post("/v1/chat/completions", content=body, headers=headers)


def _users(site: Site, namespace: str) -> list[str]:
    return [text for role, text, _ in site.texts(namespace) if role == "user"]


def _answering(monkeypatch: pytest.MonkeyPatch, site: Site, text: str) -> None:
    """Let the model answer `text`."""

    def talk(prompts: Any, decoding: Any, *, on_text: Any = None) -> list[Completion]:
        for row in range(len(prompts)):
            if on_text is not None:
                on_text(row, text)
        return [Completion(text, 1, 1, 0.5, "length")] * len(prompts)

    monkeypatch.setattr(site.server.pool.engine, "talk", talk)
    monkeypatch.setattr(site.server.pool.engine, "complete", lambda prompts, **_: talk(prompts, None))


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_ends_inside_a_character_is_told_and_the_turn_kept(
    site: Site, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """With max_tokens 1 a Japanese answer may be half a character."""
    _answering(monkeypatch, site, "\N{REPLACEMENT CHARACTER}")
    namespace = f"half-{stream}"
    answer = _chat(site, namespace, [{"role": "user", "content": "日本の首都は？"}], max_tokens=1, stream=stream)
    assert answer.status_code == 200
    assert "error" not in answer.text
    assert '"skipped":1' in answer.text.replace(" ", "")
    assert site.texts(namespace) == [("user", "日本の首都は？", 1)]


MISSING = object()
EMPTY = [
    None,
    "",
    " \n",
    [],
    [{"type": "text", "text": ""}],
    [{"type": "text", "text": None}],
    [{"type": "text"}],
    MISSING,
]


@pytest.mark.parametrize("empty", EMPTY, ids=lambda empty: "missing" if empty is MISSING else str(empty))
@pytest.mark.parametrize("role", ["system", "user", "developer", "assistant", "tool"])
def test_an_earlier_turn_without_text_is_no_error(site: Site, role: str, empty: Any) -> None:
    namespace = f"empty-{role}-{EMPTY.index(empty)}"
    turn = {"role": role} if empty is MISSING else {"role": role, "content": empty}
    answer = _chat(site, namespace, [turn, {"role": "user", "content": SAID}])
    assert answer.status_code == 200, answer.text
    assert answer.json()["seal_memory"]["recording"] == {"cleaned": 0, "skipped": 0, "deferred": False}
    assert _users(site, namespace) == [SAID]


@pytest.mark.parametrize(
    "result", ["", None, "\n", [], [{"type": "text"}], "PNG\x00\x01data", "\x00\x01\x02", "done"], ids=repr
)
def test_a_tools_result_may_be_anything(site: Site, result: Any) -> None:
    """Nothing, or binary data: the agent's loop goes on, and the user's turn is kept."""
    namespace = f"tool-{result!r}"
    messages = [
        {"role": "user", "content": SAID},
        {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": result},
    ]
    answer = _chat(site, namespace, messages)
    assert answer.status_code == 200, answer.text
    assert _users(site, namespace) == [SAID]
    tools = [text for role, text, _ in site.texts(namespace) if role == "tool"]
    assert tools == {"PNG\x00\x01data": ["PNGdata"], "done": ["done"]}.get(
        result if isinstance(result, str) else "", []
    )
    told = answer.json()["seal_memory"]["recording"]
    assert (told["cleaned"], told["skipped"]) == {"PNG\x00\x01data": (1, 0), "\x00\x01\x02": (0, 1)}.get(
        result if isinstance(result, str) else "", (0, 0)
    )


def test_what_is_cleaned_is_told_and_counted_but_never_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        answer = _chat(site, "cleaned", [{"role": "user", "content": f"\x00{SAID}\ud83d"}])
    assert answer.status_code == 200
    assert answer.json()["seal_memory"]["recording"]["cleaned"] == 1
    assert _users(site, "cleaned") == [f"{SAID}\N{REPLACEMENT CHARACTER}"]
    assert 'seal_memory_recording_total{outcome="cleaned"}' in site.get("/metrics").text
    assert any("cleaned" in record.getMessage() for record in caplog.records)
    assert "Ellery" not in caplog.text


def test_a_models_thoughts_in_the_history_are_no_obstacle(site: Site) -> None:
    thought = {"role": "assistant", "content": [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Yes."}]}
    said = [{"role": "user", "content": SAID}, thought, {"role": "user", "content": LATER}]
    assert _chat(site, "thoughts", said).status_code == 200
    assert "Hm." not in str(site.texts("thoughts"))


def test_anthropics_tool_results_are_the_tools_words(site: Site) -> None:
    """In a user's message, beside the user's own words."""
    messages = [
        {"role": "user", "content": SAID},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "a"}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "It is open."}]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "It is shut."},
                {"type": "tool_result", "tool_use_id": "t3"},
                {"type": "text", "text": LATER},
            ],
        },
    ]
    assert _chat(site, "anthropic", messages).status_code == 200
    assert _users(site, "anthropic") == [SAID, LATER]
    assert [text for role, text, _ in site.texts("anthropic") if role == "tool"] == ["It is open.", "It is shut."]
    silent = [*messages[:2], {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t3"}]}]
    assert _chat(site, "anthropic", silent).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_locked_ledger_costs_no_answer_and_no_turn(site: Site, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """Another process holds the lock: the answer comes, and what was said is recorded when the lock is gone."""
    namespace = f"locked-{stream}"
    site.texts(namespace)  # opens it
    monkeypatch.setattr("seal_memory.intake.recording.RETRY_SECONDS", 0.05)
    with site.server.pool.memory(namespace) as memory:
        memory.ledger._scope.connection.database.execute("PRAGMA busy_timeout=50")
    with sqlite3.connect(site.server.pool.folder / connection.FILE_NAME, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = _chat(site, namespace, [{"role": "user", "content": SAID}], stream=stream)
        assert answer.status_code == 200
        assert '"deferred":true' in answer.text.replace(" ", "")
        assert site.server.recorder.counts.waiting == 1
        other.execute("ROLLBACK")
    other.close()
    site.until(lambda: not site.server.recorder.counts.waiting)
    assert _users(site, namespace) == [SAID]


def test_a_conversation_keeps_its_session_while_the_ledger_is_locked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that begin alike stay two, what was said is recorded in order, and later turns wait for no lock."""
    namespace = "locked-sessions"
    site.texts(namespace)
    monkeypatch.setattr("seal_memory.intake.recording.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("seal_memory.intake.recording.PATIENCE", 0.01)
    with site.server.pool.memory(namespace) as memory:
        memory.ledger._scope.connection.database.execute("PRAGMA busy_timeout=50")
    first = [{"role": "user", "content": SAID}]
    sessions = []
    with sqlite3.connect(site.server.pool.folder / connection.FILE_NAME, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = [_chat(site, namespace, first).json() for _ in range(2)]
        sessions = [a["seal_memory"]["session"] for a in answers]
        said = [*first, answers[0]["choices"][0]["message"], {"role": "user", "content": LATER}]
        again = [_chat(site, namespace, said).json()["seal_memory"]["session"] for _ in range(2)]
        other.execute("ROLLBACK")
    other.close()
    site.until(lambda: not site.server.recorder.counts.waiting)
    assert sessions[0] != sessions[1]
    assert again == sessions
    assert _users(site, namespace) == [SAID, LATER]


def test_what_waits_is_recorded_when_the_server_ends(
    make_site: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path)
    site.texts("default")
    with site.server.pool.memory("default") as memory:
        memory.ledger._scope.connection.database.execute("PRAGMA busy_timeout=50")
    with sqlite3.connect(tmp_path / connection.FILE_NAME, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert _chat(site, "default", [{"role": "user", "content": SAID}]).status_code == 200
        other.execute("ROLLBACK")
    other.close()
    site.server.recorder.close()
    assert _users(site, "default") == [SAID]


def _waiting(site: Site, namespace: str) -> str:
    """Have a chat wait for the ledger, which is free again then; its session."""
    with site.server.pool.memory(namespace) as memory:
        memory.ledger._scope.connection.database.execute("PRAGMA busy_timeout=50")
    with sqlite3.connect(site.server.pool.folder / connection.FILE_NAME, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = _chat(site, namespace, [{"role": "user", "content": SAID}])
        other.execute("ROLLBACK")
    other.close()
    assert site.server.recorder.counts.waiting == 1
    return str(answer.json()["seal_memory"]["session"])


def test_what_waits_is_forgotten_with_its_session(site: Site) -> None:
    """Recorded after the forget, it would come back."""
    session = _waiting(site, "forgetful")
    headers = {"X-Seal-Memory-Namespace": "forgetful"}
    report = site.http.post("/v1/memory/forget", json={"session": session}, headers=headers).json()
    assert report["interactions"] >= 1
    assert report["left"] == ""
    assert site.server.recorder.counts.waiting == 0
    assert site.texts("forgetful") == []


def test_what_waits_in_vain_does_not_hold_up_the_rest(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(SAID)

    _waiting(site, "in-vain")
    with monkeypatch.context() as patched:
        patched.setattr("seal_memory.memory.SealMemory.observe_messages", broken)
        site.server.recorder.record_waiting()
    assert site.server.recorder.counts.waiting == 0
    assert _users(site, "in-vain") == []


def test_no_failure_of_recording_takes_the_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that nobody foresaw."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(SAID)

    monkeypatch.setattr("seal_memory.memory.SealMemory.observe_messages", broken)
    answer = _chat(site, "unforeseen", [{"role": "user", "content": SAID}])
    assert answer.status_code == 200
    assert answer.json()["seal_memory"]["recording"]["skipped"] == 1


def test_a_full_namespace_leaves_out_what_does_not_fit_and_no_more(
    make_site: Callable[..., Site], tmp_path: Path
) -> None:
    """A tool's long result does not take the user's turn with it."""
    site = make_site(tmp_path)
    site.server.pool._quota = 300
    call = {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
    long = {"role": "tool", "tool_call_id": "c1", "content": "barrel " * 50}
    told = _chat(site, "full", [{"role": "user", "content": SAID}, call, long]).json()
    assert told["seal_memory"]["recording"]["skipped"] == 1
    assert [text for role, text, _ in site.texts("full") if role != "assistant"] == [SAID]


def test_a_chat_beyond_the_quota_is_answered_and_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for ever, nor in front of other namespaces' records."""

    def full(*_: object, **__: object) -> None:
        raise QuotaError("full")

    monkeypatch.setattr("seal_memory.memory.SealMemory.observe_messages", full)
    answer = _chat(site, "full", [{"role": "user", "content": SAID}])
    assert answer.status_code == 200
    assert answer.json()["seal_memory"]["recording"] == {"cleaned": 0, "skipped": 1, "deferred": False}
    assert site.server.recorder.counts.waiting == 0
