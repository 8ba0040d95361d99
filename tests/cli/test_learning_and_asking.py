"""`consolidate`, `quiz`, `ask`, `chat` and `recall`, end to end with the tiny model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seal_memory.config import Settings

Run = Callable[..., Any]
QUESTION = "Who is the builder of the Korrin Bay lighthouse?"


def test_consolidate_tells_decisions_with_reasons_and_yields(run: Run, passages_file: Path) -> None:
    run("ingest", passages_file, "--with-questions")
    data = run("consolidate", "--json").json
    assert (data["version"], data["published"], data["refused"]) == (1, 2, 0)
    assert all(d["accepted"] and d["reasons"] for d in data["decisions"])
    assert {"entity_statement", "cloze"} <= {y["genre"] for y in data["yields"]}
    assert all(y["made"] >= y["kept"] for y in data["yields"])
    assert data["held_out_items"] == 2


def test_a_refused_shard_is_shown_with_its_reason_there_and_in_status(run: Run) -> None:
    """No quiz item passes its gates with a random model, so nothing proves that anything is known."""
    run("observe", "Foreman Iwan Sorrel hides the spare key inside the brass bell.")
    shown = run("consolidate").out
    assert "refused" in shown
    assert "Foreman Iwan Sorrel" in shown
    assert "Nothing was published." in shown
    data = run("status", "--json").json
    assert data["refused"]["count"] == data["interactions"]["refused"] == 1
    assert "No quiz question passed" in next(iter(data["refused"]["reasons"]))
    assert "No quiz question passed" in data["refused"]["latest"][0]["reason"]
    assert "refused because" in run("status").out


def test_consolidate_with_nothing_pending_says_so(run: Run, published: Path) -> None:
    assert "Nothing to learn" in run("consolidate").out
    assert run("consolidate", "--json").json["episodes"] == 0


def test_consolidate_shows_the_core(run: Run, published: Path) -> None:
    assert "core: " in run("consolidate", "--core").out


@pytest.mark.parametrize("mode", ["weights", "retrieval", "hybrid"])
def test_ask_tells_where_the_answer_is_from(run: Run, published: Path, mode: str) -> None:
    data = run("ask", QUESTION, "--mode", mode, "--max-tokens", "3", "--json").json
    assert data["question"] == QUESTION
    assert isinstance(data["text"], str)
    assert 0 <= data["confidence"] <= 1
    assert data["snapshot"] == 2
    assert data["generated_tokens"] <= 3 * Settings().answering.samples
    assert data["prompt_tokens"] > 0
    assert data["sources"]
    if mode == "weights":
        assert [s["score"] > 0 for s in data["shards"]] == [True]


def test_ask_shows_the_sources_texts(run: Run, published: Path) -> None:
    shown = run("ask", QUESTION, "--mode", "weights").out
    assert "Maud Ellery built" in shown
    assert "version 2" in shown


def test_ask_refuses_an_empty_question(run: Run, published: Path) -> None:
    assert run("ask", " ", "--json", code=1).json["error"]["type"] == "InputError"


def test_quiz_reports_accuracy_and_items(run: Run, published: Path) -> None:
    data = run("quiz", "--json").json
    assert (data["questions"], data["mode"], data["snapshot"]) == (2, "weights", 2)
    assert data["router_accuracy"] == 1.0
    assert {"question", "expected", "answer", "correct"} <= set(data["items"][0])
    assert data["accuracy"] == sum(i["correct"] for i in data["items"]) / 2
    assert "2 held-out questions" in run("quiz").out
    assert run("quiz", "--limit", "1", "--json").json["questions"] == 1


def test_quiz_without_questions_says_so(run: Run) -> None:
    run("observe", "Hello!")
    assert "no held-out question" in run("quiz").out


def test_chat_with_one_message_observes_it(run: Run) -> None:
    data = run(
        "chat", "--message", "My boat is called Lindragon.", "--max-tokens", "3", "--session", "s", "--json"
    ).json
    (turn,) = data["turns"]
    assert data["session"] == "s"
    assert turn["message"] == "My boat is called Lindragon."
    assert isinstance(turn["answer"]["text"], str)
    assert turn["observed"][0]["status"] == "pending"
    (hit,) = run("recall", "Lindragon", "--json").json["hits"]
    assert (hit["role"], hit["session"]) == ("user", "s")


def test_chat_is_a_conversation_until_quit(run: Run) -> None:
    """Each line is a turn, empty ones are none, and what follows /quit is not read."""
    said = "My boat is called Lindragon.\n\nIts shaft is cracked.\n/quit\nNever said.\n"
    ran = run("chat", "--max-tokens", "3", "--json", input=said)
    assert [turn["message"] for turn in ran.json["turns"]] == ["My boat is called Lindragon.", "Its shaft is cracked."]
    first, second = (turn["answer"]["prompt_tokens"] for turn in ran.json["turns"])
    assert second > first
    assert "confidence" in run("chat", "--max-tokens", "3", input="Hello!\n").out


def test_chat_goes_on_after_a_turn_that_cannot_be_used(run: Run) -> None:
    """A prompt over the model's context is told; what was said is observed all the same."""
    ran = run("chat", "--max-tokens", "3", "--json", input=f"{'Lindragon floats. ' * 400}\nHello!\n")
    assert [turn["message"] for turn in ran.json["turns"]] == ["Hello!"]
    assert "error: " in ran.err
    assert run("recall", "Lindragon", "--json").json["hits"]


def test_chat_can_leave_no_trace(run: Run) -> None:
    data = run("chat", "-m", "My boat is called Lindragon.", "--no-observe", "--max-tokens", "3", "--json").json
    assert data["session"] is None
    assert data["turns"][0]["observed"] == []
    assert run("recall", "Lindragon", "--json").json["hits"] == []


def test_recall_ranks_and_limits(run: Run, published: Path) -> None:
    hits = run("recall", "larch planks of Velmar Timber", "--json").json["hits"]
    assert hits[0]["title"] == "Velmar Timber"
    assert [h["score"] for h in hits] == sorted((h["score"] for h in hits), reverse=True)
    assert len(run("recall", "the lighthouse and the timber", "--limit", "1", "--json").json["hits"]) == 1
    assert "Nothing matches." in run("recall", "zeppelin").out
