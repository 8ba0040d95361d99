"""The memory beside an upstream: what it records, the notes it adds, and that its troubles never reach the chat."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from seal_memory.answering.cues import Cue
from seal_memory.answering.recollecting import Note, Recollection
from seal_memory.errors import BusyError, CorruptAdapterError
from seal_memory.memory import SealMemory
from seal_memory.prompts import REMEMBERED
from seal_memory.routing.router import Route
from seal_memory.server import notes

Front = Any  # conftest's Site with an upstream
Chat = Any  # conftest's FakeChat
MODEL = "big-chat"
LIGHTHOUSE = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
QUESTION = "Who is the builder of the lighthouse at Korrin Bay?"
SAID: list[Any] = [{"role": "user", "content": QUESTION}]
ASKED: dict[str, Any] = {"model": MODEL, "messages": SAID}
PATH = "/v1/chat/completions"


def _count(front: Front, outcome: str) -> float:
    found = front.server.metrics.registry.get_sample_value("seal_memory_upstream_notes_total", {"outcome": outcome})
    return found or 0.0


@pytest.fixture(scope="module")
def learned(front: Front) -> str:
    """A namespace that has learned who built the lighthouse."""
    front.learn("learned")
    return "learned"


# -- recording ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_conversation_is_recorded_once_and_is_one_session(front: Front, chat: Chat, stream: bool) -> None:
    """Before the client has the end of the answer: it may ask on at once."""
    namespace = f"talk-{stream}"
    client = front.openai(default_headers={"X-Seal-Memory-Namespace": namespace})
    said: list[Any] = [{"role": "system", "content": "Be brief."}]
    for turn, answer in ((LIGHTHOUSE, "Noted."), ("The invoice goes to Petra Vandermolen.", "Fine.")):
        said.append({"role": "user", "content": turn})
        if stream:
            chat.streams({"role": "assistant"}, {"content": answer[:2]}, {"content": answer[2:]})
            list(client.chat.completions.create(model=MODEL, messages=said, stream=True))
        else:
            chat.says(answer)
            client.chat.completions.create(model=MODEL, messages=said)
        assert front.texts(namespace)[-1] == ("assistant", answer, 1)
        said.append({"role": "assistant", "content": answer})
    assert [t for t in front.texts(namespace) if t[0] == "user"] == [
        ("user", LIGHTHOUSE, 1),
        ("user", "The invoice goes to Petra Vandermolen.", 1),
    ]
    with front.server.pool.memory(namespace) as memory:
        assert len({i.session for i in memory.ledger.interactions()}) == 1


def test_the_text_beside_an_image_is_recorded(front: Front, chat: Chat) -> None:
    """The upstream may see; this memory reads. What it cannot read at all is the upstream's to judge."""
    parts = [{"type": "text", "text": LIGHTHOUSE}, {"type": "image_url", "image_url": {"url": "data:,x"}}]
    odd: list[Any] = [{"role": "user", "content": parts}, {"role": 7, "content": {"a": 1}}, "junk", {}]
    answer = front.post(PATH, {**ASKED, "messages": odd}, namespace="image")
    assert answer.status_code == 200
    assert chat.body["messages"] == odd
    assert ("user", LIGHTHOUSE, 1) in front.texts("image")


def test_recording_is_switched_off_by_the_request(front: Front, chat: Chat) -> None:
    answer = front.post(PATH, {**ASKED, "seal_memory": {"observe": False}}, namespace="off")
    assert answer.status_code == 200
    assert front.texts("off") == []


def test_while_the_ledger_cannot_be_written_the_chat_goes_on_and_what_was_said_waits(
    front: Front, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = chat.says("Noted.")
    with monkeypatch.context() as broken:
        broken.setattr(type(front.server.pool), "_open_memory", _busy)
        answer = front.post(PATH, ASKED, namespace="waits")
        assert (answer.status_code, answer.content) == (200, body)
        assert front.server.recorder.counts.waiting == 1
    front.server.recorder.record_waiting()
    assert front.texts("waits") == [("user", QUESTION, 1), ("assistant", "Noted.", 1)]


def _busy(*_: Any, **__: Any) -> Any:
    raise BusyError("another process")


# -- notes --------------------------------------------------------------------------------------------


def _recites(patch: pytest.MonkeyPatch, *texts: str) -> list[Any]:
    """Make adapters recite these texts; the list is what they were asked about."""
    asked: list[Any] = []
    notes = tuple(Note(text, Cue(QUESTION), Route(), True, 1.0, 2.0) for text in texts)

    def recollect(_: SealMemory, said: Any) -> Recollection:
        asked.append(said)
        return Recollection(notes)

    patch.setattr(SealMemory, "recollect", recollect)
    return asked


def test_the_upstream_gets_what_the_adapters_recite(
    front: Front, chat: Chat, learned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In front, closed book; nothing else of the request changes."""
    asked = _recites(monkeypatch, "Maud Ellery built it.")
    answer = front.post(PATH, {**ASKED, "tools": [], "n": 1}, namespace=learned)
    note = {"role": "system", "content": f"{REMEMBERED}\n- Maud Ellery built it."}
    assert chat.body == {**ASKED, "messages": [note, *SAID], "tools": [], "n": 1}
    assert answer.headers["x-seal-memory-notes"] == "1"
    assert asked == [SAID]
    assert all(REMEMBERED not in text for _, text, _ in front.texts(learned))


def test_where_the_adapters_are_silent_the_request_passes_as_it_is(
    front: Front, chat: Chat, learned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _recites(monkeypatch)
    assert front.post(PATH, ASKED, namespace=learned).headers["x-seal-memory-notes"] == "0"
    assert chat.body == ASKED


def test_the_adapters_are_asked_about_the_text_of_a_chat_and_not_about_other_parts(
    front: Front, chat: Chat, learned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only the upstream can read goes there, and keeps no note from coming."""
    asked = _recites(monkeypatch, "Maud Ellery built it.")
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}
    front.post(PATH, {**ASKED, "messages": [picture, *SAID]}, namespace=learned)
    assert asked == [SAID]
    assert chat.body["messages"][1:] == [picture, *SAID]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Be brief.", lambda note: f"Be brief.\n\n{note}"),
        ([{"type": "text", "text": "Be brief."}], lambda n: [{"type": "text", "text": t} for t in ("Be brief.", n)]),
        ("", lambda note: note),
    ],
    ids=["text", "parts", "empty"],
)
def test_a_system_message_keeps_its_words_and_gets_the_note(
    front: Front, chat: Chat, monkeypatch: pytest.MonkeyPatch, content: Any, expected: Any
) -> None:
    """There is one system message, in front: templates take no other."""
    monkeypatch.setattr(notes, "notes_for", lambda memory, messages: ["The quay is red.", "It is old."])
    said = [{"role": "developer", "content": content}, *SAID]
    front.post(PATH, {**ASKED, "messages": said}, namespace="system")
    note = f"{REMEMBERED}\n- The quay is red.\n- It is old."
    assert chat.body["messages"] == [{"role": "developer", "content": expected(note)}, *SAID]


def test_the_memory_is_silent_about_what_it_has_not_learned(front: Front, chat: Chat) -> None:
    """Also where the same was said and waits to be learned: no stored text goes to the upstream."""
    before = _count(front, "silent")
    front.post("/v1/memory/observe", {"text": LIGHTHOUSE}, namespace="unlearned")
    answer = front.post(PATH, ASKED, namespace="unlearned")
    assert chat.body == ASKED
    assert answer.headers["x-seal-memory-notes"] == "0"
    assert _count(front, "silent") == before + 1


@pytest.mark.parametrize(
    "trouble",
    [BusyError("a job"), CorruptAdapterError("damaged"), RuntimeError("out of memory"), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_a_memory_in_trouble_never_fails_the_chat(
    front: Front, chat: Chat, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    def troubled(*_: Any) -> list[str]:
        raise trouble

    before, body = _count(front, "failed"), chat.says("All the same.")
    monkeypatch.setattr(notes, "notes_for", troubled)
    answer = front.post(PATH, ASKED, namespace="trouble")
    assert (answer.status_code, answer.content) == (200, body)
    assert chat.body == ASKED
    assert _count(front, "failed") == before + 1


def test_a_slow_memory_is_not_waited_for(front: Front, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time a chat goes on without; while all of its threads are taken, at once."""
    go_on = threading.Event()
    monkeypatch.setattr(notes, "notes_for", lambda memory, messages: ["late"] * go_on.wait(30))
    taker = front.server.upstream.notes
    monkeypatch.setattr(taker, "seconds", 0.05)
    monkeypatch.setattr(taker, "_at_once", 1)
    before = _count(front, "late"), _count(front, "busy")
    for _ in range(2):
        assert front.post(PATH, ASKED, namespace="slow").status_code == 200
    assert (_count(front, "late"), _count(front, "busy")) == (before[0] + 1, before[1] + 1)
    go_on.set()
    front.until(lambda: taker._running == 0)


def test_a_model_that_is_not_loaded_yet_is_not_waited_for(
    front: Front, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(front.server.pool), "loaded", property(lambda pool: False))
    before = _count(front, "loading")
    assert front.post(PATH, ASKED, namespace="loads").status_code == 200
    assert _count(front, "loading") == before + 1


def test_full_slots_are_told_as_ever(front: Front, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front.server.slots, "_limit", 0)
    answer = front.post(PATH, ASKED)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert chat.asked == []
