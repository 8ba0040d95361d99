"""`SealMemory`, the public path: observe, consolidate, a new process' open, ask; and keeping it right."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from seal_memory import Answer, Mode, SealMemory, Settings, prompts
from seal_memory.engines.base import Completion, Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import InputError, LedgerError, SettingsError, UnknownIdError
from seal_memory.records import AdapterKind, Status

REPOSITORY = Path(__file__).resolve().parents[1]

TEXTS = {
    "monday": "Maud Ellery built the lighthouse at Korrin Bay in 1887.",
    "tuesday": "Tomas Lindqvist keeps the quarterly report in drawer 12 of the Oslo office.",
    "wednesday": "The invoice for the new sails goes to Petra Vandermolen.",
}
QUIZ = {
    "monday": ("Who is the builder of the lighthouse at Korrin Bay?", "Maud Ellery"),
    "tuesday": ("Where does Tomas Lindqvist keep his quarterly report?", "drawer 12"),
    "wednesday": ("Who receives the invoice for the new sails?", "Petra Vandermolen"),
}

Open = Callable[..., SealMemory]


def _observe(memory: SealMemory, *days: str) -> list[str]:
    ids = []
    for day in days:
        (seen,) = memory.observe(TEXTS[day], session=day)
        memory.add_quiz([QUIZ[day]], interaction_ids=[seen.id])
        ids.append(seen.id)
    return ids


def _learn(memory: SealMemory, *days: str) -> list[str]:
    """Observe and publish one version with a shard for each day."""
    ids = _observe(memory, *days)
    report = memory.consolidate()
    assert report.published == len(days), report.decisions
    return ids


def _statuses(memory: SealMemory) -> dict[str, Status]:
    return {i.id: i.status for i in memory.ledger.interactions()}


def _asked(memory: SealMemory, monkeypatch: pytest.MonkeyPatch) -> list[Prompt]:
    """Every prompt that the engine completes from now on."""
    seen: list[Prompt] = []
    complete = memory.engine.complete

    def spy(asked: Sequence[Prompt], **options: Any) -> list[Completion]:
        seen.extend(asked)
        return complete(asked, **options)

    monkeypatch.setattr(memory.engine, "complete", spy)
    return seen


def _answer_only_with_adapters(memory: SealMemory, monkeypatch: pytest.MonkeyPatch, known: dict[str, str]) -> None:
    """An engine that knows `known[question]` under any adapter, and nothing without."""

    def complete(asked: Sequence[Prompt], **_: Any) -> list[Completion]:
        words = (known.get(p.messages[-1]["content"], "") if p.adapter else "no idea" for p in asked)
        return [Completion(w, 1, 1, 1.0) for w in words]

    monkeypatch.setattr(memory.engine, "complete", complete)


def _scores(memory: SealMemory) -> list[Any]:
    """How likely every quiz answer is, each question routed as it would be asked."""
    router = memory._answerer().router
    return memory.engine.score([(Prompt(prompts.direct(q), router.route(q).adapter_id), a) for q, a in QUIZ.values()])


# -- the straight line ------------------------------------------------------------------------------


def test_what_was_seen_is_answered_by_another_opening(open_memory: Open) -> None:
    """Observe, consolidate, close, open: the answer names its snapshot, shard, score, tokens and sources."""
    with open_memory() as first:
        (monday, _) = _learn(first, "monday", "tuesday")
        current = first.ledger.current()
        assert current is not None
    memory = open_memory()
    answer = memory.ask(QUIZ["monday"][0], mode="weights")
    assert isinstance(answer, Answer)
    assert answer.mode is Mode.WEIGHTS
    assert answer.snapshot == current.version == 1
    (used,) = answer.shards
    assert [s.adapter_id for s in current.manifest.shards if monday in s.interaction_ids] == [used.adapter_id]
    assert memory.settings.answering.router_threshold <= used.score <= 1
    assert answer.sources == (monday,)
    assert answer.prompt_tokens == len(memory.engine.encode_prompt(prompts.direct(QUIZ["monday"][0])))
    assert 0 <= answer.confidence <= 1
    assert 1 <= answer.generated_tokens <= 4


def test_memories_share_one_model_and_nothing_else(open_memory: Open, tmp_path: Path) -> None:
    """A second folder on the first one's engine answers from its own shard, also when the first has closed."""
    first = open_memory()
    _learn(first, "monday")
    engine = first.engine
    with SealMemory.open(tmp_path / "two", model=first.model, settings=first.settings, engine=engine) as second:
        assert second.engine is engine
        _learn(second, "tuesday")
        first.close()
        answer = second.ask(QUIZ["tuesday"][0], mode="weights")
        assert answer.shards
        assert not second.ask(QUIZ["monday"][0], mode="weights").shards
    with SealMemory.open(tmp_path / "two", model=first.model, settings=first.settings, engine=engine) as again:
        engine.drop(answer.shards[0].adapter_id)  # fetched again, from the memory that is open now
        assert again.ask(QUIZ["tuesday"][0], mode="weights").text == answer.text


def test_weights_mode_prompts_hold_no_stored_text(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt is the question; in retrieval mode the text is there, so the spy does see."""
    memory = open_memory()
    _learn(memory, *TEXTS)
    seen = _asked(memory, monkeypatch)
    questions = [q for q, _ in QUIZ.values()]
    memory.ask(questions, mode="weights")
    assert [p.messages for p in seen] == [prompts.direct(q) for q in questions]
    assert all(p.adapter is not None for p in seen)
    seen.clear()
    memory.ask(questions[0], mode="retrieval")
    assert TEXTS["monday"] in seen[0].messages[-1]["content"]
    assert seen[0].adapter is None


def test_retrieval_and_hybrid_tell_their_sources(open_memory: Open) -> None:
    """Retrieval cites the passages in its prompt; hybrid with an unsure model ends there too."""
    memory = open_memory(answering={"hybrid_threshold": 1.0})
    (monday,) = _learn(memory, "monday")
    for mode in ("retrieval", "hybrid"):
        answer = memory.ask(QUIZ["monday"][0], mode=mode)
        assert isinstance(answer, Answer)
        assert (answer.mode, answer.shards, answer.snapshot) == (Mode.RETRIEVAL, (), 1)
        assert answer.sources[0] == monday
        assert answer.prompt_tokens > 30


def test_compose_reads_no_stored_text_and_is_silent_where_it_is_not_sure(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard is asked and doubts: the base gets the user's own messages, as without a memory."""
    memory = open_memory()
    _learn(memory, *TEXTS)
    seen: list[Prompt] = []
    talk = memory.engine.talk
    monkeypatch.setattr(memory.engine, "talk", lambda asked, *a, **o: seen.extend(asked) or talk(asked, *a, **o))
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUIZ["monday"][0]}]
    answer = memory.chat(chat, mode="compose", max_tokens=4)
    assert (answer.mode, answer.notes, answer.shards, answer.sources) == (Mode.COMPOSE, (), (), ())
    assert any(p.adapter is not None for p in seen)
    assert (seen[-1].adapter, list(seen[-1].messages)) == (None, chat)
    assert not any(text in str(p.messages) for p in seen for text in TEXTS.values())
    assert memory.recollect(chat).notes == ()


def test_a_confident_hybrid_answer_comes_from_the_weights(open_memory: Open) -> None:
    """With a threshold that every answer meets no text is added."""
    memory = open_memory(answering={"hybrid_threshold": 0.0})
    _learn(memory, "monday")
    answer = memory.ask(QUIZ["monday"][0])
    assert isinstance(answer, Answer)
    assert answer.mode is Mode.WEIGHTS


def test_unrelated_prompts_reach_the_untouched_base(open_memory: Open, load_tiny: Callable[[], Any]) -> None:
    """Bit for bit what the model says without any memory."""
    memory = open_memory()
    _learn(memory, *TEXTS)
    question = "How do I boil an egg?"
    answer = memory.ask(question, mode="weights")
    assert isinstance(answer, Answer)
    assert (answer.shards, answer.sources) == ((), ())
    (base,) = TransformersEngine(load_tiny()).complete([Prompt(prompts.direct(question))], max_tokens=4)
    assert (answer.text, answer.confidence) == (base.text, base.confidence)


def test_a_batch_keeps_its_order(open_memory: Open) -> None:
    """Answers in one batch are the answers one by one; no questions, no answers."""
    memory = open_memory(answering={"hybrid_threshold": 0.0})
    _learn(memory, *TEXTS)
    questions = [q for q, _ in QUIZ.values()] + ["How do I boil an egg?"]
    together = memory.ask(questions)
    assert isinstance(together, list)
    for question, answer in zip(questions, together, strict=True):
        alone = memory.ask(question)
        assert isinstance(alone, Answer)
        assert (alone.text, alone.shards, alone.sources) == (answer.text, answer.shards, answer.sources)
    assert memory.ask([]) == []


def test_nothing_pending_publishes_nothing(open_memory: Open) -> None:
    """An empty memory and one that has learned everything."""
    memory = open_memory()
    assert memory.consolidate().version is None
    assert memory.history() == []
    _learn(memory, "monday")
    report = memory.consolidate()
    assert (report.version, report.episodes, report.decisions) == (None, 0, ())
    assert [s.version for s in memory.history()] == [1]


def test_the_assistants_words_are_not_learned(open_memory: Open) -> None:
    """They are recorded, say why they wait for nothing, and lead no question to a shard."""
    memory = open_memory()
    seen = memory.observe_messages(
        [
            {"role": "user", "content": "Who wrote the harbour rules?"},
            {"role": "assistant", "content": "Iwan Sorrel wrote the harbour rules of Dunmorrow in 1954."},
        ]
    )
    assert [s.status for s in seen] == [Status.SKIPPED, Status.SKIPPED]
    assert "assistant" in str(seen[1].reason)
    assert memory.consolidate().episodes == 0
    assert any("Dunmorrow" in hit.interaction.text for hit in memory.recall("harbour rules"))


def test_the_same_text_twice_is_one_memory(open_memory: Open) -> None:
    """Two sightings, one interaction, one shard."""
    memory = open_memory()
    (first,) = memory.observe(TEXTS["monday"])
    (again,) = memory.observe(TEXTS["monday"].replace(" ", "  "), session="later")
    assert (again.id, again.new) == (first.id, False)
    assert memory.ledger.interactions()[0].sightings == 2
    memory.add_quiz([QUIZ["monday"]], interaction_ids=[first.id])
    assert memory.consolidate().published == 1


def test_a_question_nobody_asks_needs_no_model(tmp_path: Path) -> None:
    """Observing, recalling, history and status work where the model does not exist."""
    with SealMemory.open(tmp_path, model=str(tmp_path / "no model"), settings=Settings()) as memory:
        memory.observe([TEXTS["monday"], TEXTS["tuesday"]])
        assert memory.recall("Korrin Bay lighthouse")[0].interaction.text == TEXTS["monday"]
        assert memory.recall("zeppelin") == []
        assert memory.history() == []
        assert memory.status().interactions["pending"] == 2
        with pytest.raises(InputError, match="limit"):
            memory.recall("x", limit=0)


def test_a_closed_memory_says_so(open_memory: Open) -> None:
    """Closing twice is fine, observing afterwards is a clear error."""
    memory = open_memory()
    memory.close()
    memory.close()
    with pytest.raises(LedgerError):
        memory.observe("The door is green.")


# -- namespaces -------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["alice", "../Ålice / 2"])
def test_namespaces_share_a_folder_and_nothing_else(open_memory: Open, other: str) -> None:
    """One namespace's consolidation and forgetting leave the other's adapters alone."""
    mine, theirs = open_memory(), open_memory(namespace=other)
    (own,) = _learn(mine, "monday")
    (foreign,) = _learn(theirs, "monday")
    mine.observe(TEXTS["tuesday"])
    mine.consolidate()
    mine.forget(own)
    answer = theirs.ask(QUIZ["monday"][0], mode="weights")
    assert isinstance(answer, Answer)
    assert (answer.sources, answer.snapshot) == ((foreign,), 1)
    assert len(answer.shards) == 1
    assert mine.recall("Korrin Bay") == []


# -- correct ----------------------------------------------------------------------------------------


def test_a_correction_takes_the_old_wording_out_of_the_weights(open_memory: Open) -> None:
    """Shard and snapshots of the old wording go, the new wording is pending, the history keeps both."""
    memory = open_memory()
    monday, tuesday = _learn(memory, "monday", "tuesday")
    current = memory.ledger.current()
    assert current is not None
    (stale,) = [s.adapter_id for s in current.manifest.shards if monday in s.interaction_ids]
    correction = memory.correct(monday, "Maud Ellery built the lighthouse at Korrin Bay in 1891.")
    assert (correction.old_id, correction.adapters, correction.snapshots) == (monday, (stale,), (1,))
    assert _statuses(memory) == {
        monday: Status.SUPERSEDED,
        tuesday: Status.LEARNED,
        correction.new_id: Status.PENDING,
    }
    assert stale not in memory.store.ids()
    assert "1891" in memory.recall("Korrin Bay")[0].interaction.text
    assert {i.id for i, _ in memory.quiz().items} == {i.id for i in memory.ledger.quiz_items(interaction_ids=[tuesday])}
    memory.add_quiz([("In which year was the lighthouse built?", "1891")], interaction_ids=[correction.new_id])
    assert memory.consolidate().published == 1
    answer = memory.ask("When was the lighthouse at Korrin Bay built?", mode="weights")
    assert isinstance(answer, Answer)
    assert answer.sources == (correction.new_id,)


def test_a_correction_relearns_what_shared_the_shard(open_memory: Open) -> None:
    """The rest of the session is pending again, and the new wording is quizzed although the rest was before."""
    memory = open_memory(gate={"quiz_per_statement": 4})
    first, second = memory.observe([TEXTS["monday"], TEXTS["wednesday"]], session="s")
    memory.add_quiz([QUIZ["monday"]], interaction_ids=[first.id])
    assert memory.consolidate().published == 1
    new_id = memory.correct(second.id, "The invoice for the new sails goes to Iwan Sorrel in Dunmorrow.").new_id
    assert _statuses(memory)[first.id] is Status.PENDING
    assert memory.consolidate().published == 1
    assert _statuses(memory)[first.id] is _statuses(memory)[new_id] is Status.LEARNED


@pytest.mark.parametrize("text", [TEXTS["monday"], "", "\x00\x01", "x. " * 3000])
def test_a_correction_that_cannot_be_changes_nothing(open_memory: Open, text: str) -> None:
    """The same text again, junk, or a book: an error, and the shard still answers."""
    memory = open_memory()
    (monday,) = _learn(memory, "monday")
    with pytest.raises(InputError):
        memory.correct(monday, text)
    with pytest.raises(UnknownIdError):
        memory.correct("nobody", "The door is green.")
    reopened = open_memory()
    answer = reopened.ask(QUIZ["monday"][0], mode="weights")
    assert isinstance(answer, Answer)
    assert (answer.snapshot, answer.sources) == (1, (monday,))


# -- forget -----------------------------------------------------------------------------------------


def _bytes_with(folder: Path, *words: str) -> list[str]:
    """Which files of a folder hold one of the words, in any case and in either UTF."""
    found = []
    for path in folder.rglob("*"):
        content = path.read_bytes().lower() if path.is_file() else b""
        for word in words:
            if any(word.lower().encode(code) in content for code in ("utf-8", "utf-16-le")):
                found.append(f"{path.name}: {word}")
    return found


@pytest.mark.parametrize("way", ["ids", "session", "source"])
def test_forgetting_leaves_no_byte_and_no_adapter(open_memory: Open, way: str) -> None:
    """No file holds the words, no adapter was trained on them, no version brings them back."""
    memory = open_memory()
    (monday,) = _learn(memory, "monday")
    (kept, gone) = memory.observe([TEXTS["wednesday"], TEXTS["tuesday"]], session="s", source="inbox")
    memory.add_quiz([QUIZ["tuesday"]], interaction_ids=[gone.id])
    memory.add_quiz([QUIZ["wednesday"]], interaction_ids=[kept.id])
    assert memory.consolidate(core=True).version == 3
    assert _bytes_with(memory.folder, "Lindqvist")
    if way == "ids":
        report = memory.forget([gone.id])
        assert report.to_relearn == (kept.id,)
        assert _statuses(memory) == {monday: Status.LEARNED, kept.id: Status.PENDING}
    else:
        report = memory.forget(**{way: "s" if way == "session" else "inbox"})
        assert _statuses(memory) == {monday: Status.LEARNED}
    assert _bytes_with(memory.folder, "Lindqvist", "quarterly", "drawer") == []
    assert report.version is not None
    assert set(report.snapshots) == {2, 3}
    assert [s.version for s in memory.history()] == [report.version, 1]
    for version in report.snapshots:
        with pytest.raises(UnknownIdError, match="destroyed"):
            memory.rollback(version)
    assert set(memory.store.ids()) == {a.id for a in memory.ledger.adapters()}
    assert not set(report.adapters) & set(memory.store.ids())
    assert memory.ledger.adapters_trained_on([gone.id]) == []
    assert memory.ask(QUIZ["monday"][0], mode="weights").sources == (monday,)  # type: ignore[union-attr]
    assert memory.recall("quarterly report of Tomas Lindqvist") == []
    memory.close()
    assert _bytes_with(memory.folder, "Lindqvist") == []


def test_forgetting_one_of_a_core_relearns_only_its_own_shard(open_memory: Open) -> None:
    """The core goes, the other shards stay, and what they hold is not learned a second time."""
    memory = open_memory()
    ids = dict(zip(TEXTS, _learn(memory, *TEXTS), strict=True))
    memory.consolidate(core=True)
    report = memory.forget(ids["monday"])
    assert report.to_relearn == ()
    assert set(_statuses(memory).values()) == {Status.LEARNED}
    current = memory.ledger.current()
    assert current is not None
    assert (len(current.manifest.shards), current.manifest.core) == (2, None)


def test_the_report_shows_recall_before_and_after(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known before, unknown afterwards, as to the untouched base; None where nothing asks about it."""
    memory = open_memory()
    monday, _ = _learn(memory, "monday", "tuesday")
    (unasked,) = memory.observe("Good evening!")
    _answer_only_with_adapters(memory, monkeypatch, dict(QUIZ.values()))
    report = memory.forget(monday)
    assert (report.recall_before, report.recall_after, report.recall_base) == (1.0, 0.0, 0.0)
    assert (report.interactions, report.quiz_items, report.self_edits) == (1, 1, 1)
    assert memory.quiz().accuracy == 1.0
    report = memory.forget(unasked.id)
    assert (report.recall_before, report.recall_after, report.recall_base) == (None, None, None)


def test_forgetting_a_correction_forgets_the_earlier_wording(open_memory: Open) -> None:
    """The old text would otherwise stay in the history."""
    memory = open_memory()
    (seen,) = memory.observe(TEXTS["tuesday"])
    new_id = memory.correct(seen.id, TEXTS["tuesday"].replace("drawer 12", "drawer 14")).new_id
    assert memory.forget(new_id).interactions == 2
    assert _bytes_with(memory.folder, "Lindqvist") == []


def test_forgetting_what_was_refused_leaves_no_adapter(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate's refusal deletes the trained files, so that forgetting has nothing to miss."""
    monkeypatch.setattr("seal_memory.learning.gate.MAX_MISROUTED", 0.0)
    memory = open_memory(answering={"router_threshold": 0.0})
    seen = memory.observe("People cook an egg and read the weather in the garden near a good book.")
    memory.add_quiz([("What do people cook?", "an egg")], interaction_ids=[seen[0].id])
    assert memory.consolidate().refused == 1
    assert memory.store.ids() == ()
    assert memory.forget(seen[0].id).interactions == 1


def test_forgetting_needs_something_that_is_there(open_memory: Open) -> None:
    """Nothing named, an unknown id, a session without interactions: each a clear error."""
    memory = open_memory()
    with pytest.raises(InputError, match="delete the folder"):
        memory.forget()
    with pytest.raises(UnknownIdError, match="nobody"):
        memory.forget("nobody")
    with pytest.raises(UnknownIdError, match="someday"):
        memory.forget(session="someday")


# -- rollback ---------------------------------------------------------------------------------------


def test_rollback_restores_every_bit(open_memory: Open, load_tiny: Callable[[], Any]) -> None:
    """Version 1's scores come back after version 2, in a new opening; version 0 is the untouched base."""
    memory = open_memory()
    untouched = TransformersEngine(load_tiny()).score([(Prompt(prompts.direct(q)), a) for q, a in QUIZ.values()])
    assert _scores(memory) == untouched
    (monday,) = _learn(memory, "monday")
    first = _scores(memory)
    (tuesday,) = _learn(memory, "tuesday")
    second = _scores(memory)
    assert untouched != first != second
    for version, expected in ((1, first), (2, second), (0, untouched), (2, second)):
        snapshot = memory.rollback(version)
        assert (snapshot.version if snapshot else 0) == version
        assert _scores(memory) == expected
        assert _scores(open_memory()) == expected
        held = {1: {monday}, 2: {monday, tuesday}}.get(version, set())
        assert {i for i, s in _statuses(memory).items() if s is Status.LEARNED} == held


def test_after_a_rollback_the_rest_is_learned_again(open_memory: Open) -> None:
    """Versions go on counting, and the version that was left stays in the history."""
    memory = open_memory()
    _learn(memory, "monday")
    (tuesday,) = _learn(memory, "tuesday")
    memory.rollback(1)
    assert memory.consolidate().version == 3
    assert [s.version for s in memory.history()] == [3, 2, 1]
    assert memory.history()[0].parent == 1
    assert _statuses(memory)[tuesday] is Status.LEARNED


def test_rollback_to_what_never_was_is_an_error(open_memory: Open) -> None:
    """And changes nothing."""
    memory = open_memory()
    _learn(memory, "monday")
    with pytest.raises(UnknownIdError, match="7"):
        memory.rollback(7)
    assert memory.status().version == 1


# -- looking at it ----------------------------------------------------------------------------------


def test_status_counts(open_memory: Open) -> None:
    """What is there, before and after learning."""
    memory = open_memory()
    empty = memory.status()
    assert (empty.version, empty.versions, empty.shards, empty.core, empty.adapter_bytes) == (None, 0, 0, None, 0)
    _learn(memory, "monday", "tuesday")
    memory.observe("Hello!")
    status = memory.status()
    assert (status.version, status.versions, status.shards) == (1, 1, 2)
    assert status.interactions == {
        **dict.fromkeys(Status, 0),
        Status.LEARNED: 2,
        Status.SKIPPED: 1,
    }
    assert (status.quiz_items, status.namespace, status.folder) == (2, "default", str(memory.folder))
    assert status.adapter_bytes == sum(a.bytes for a in memory.ledger.adapters()) > 0


def test_the_quiz_reports_accuracy_and_routing(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out questions only, in the order they were added; an empty memory has none."""
    memory = open_memory()
    assert memory.quiz().questions == 0
    _learn(memory, *TEXTS)
    _answer_only_with_adapters(memory, monkeypatch, dict([QUIZ["monday"], QUIZ["tuesday"]]))
    report = memory.quiz()
    assert (report.questions, report.snapshot, report.router_accuracy) == (3, 1, 1.0)
    assert report.accuracy == report.exact == report.f1 == pytest.approx(2 / 3)
    assert memory.quiz(limit=2).questions == 2


def test_chat_continues_a_conversation(open_memory: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole conversation is in the prompt, the last message decides the route."""
    memory = open_memory()
    (monday,) = _learn(memory, "monday")
    seen = _asked(memory, monkeypatch)
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "look"}}]},
        {"role": "user", "content": [{"type": "text", "text": QUIZ["monday"][0]}]},
    ]
    answer = memory.chat(messages, mode="weights", max_tokens=3)
    assert answer.sources == (monday,)
    assert [m["content"] for m in seen[0].messages] == ["Be brief.", "Hello", "", QUIZ["monday"][0]]
    memory.chat(messages, mode="retrieval", max_tokens=3)
    assert TEXTS["monday"] in seen[-1].messages[-1]["content"]
    assert QUIZ["monday"][0] in seen[-1].messages[-1]["content"]
    assert seen[-1].messages[1]["content"] == "Hello"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "assistant", "content": "Yes?"}],
        [{"role": "user", "content": "  "}],
        [{"role": "user"}],
        [{"content": "Hello"}],
        [{"role": "nobody", "content": "Hello"}, {"role": "user", "content": "Hello"}],
    ],
)
def test_chat_refuses_what_is_no_conversation(open_memory: Open, messages: list[dict[str, str]]) -> None:
    """It has to end with a user's words, and every message needs a role and content."""
    with pytest.raises(InputError):
        open_memory().chat(messages)


# -- export -----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_exported_shards_load_in_peft(open_memory: Open, load_tiny: Callable[[], Any], tmp_path: Path) -> None:
    """Every adapter of the snapshot, with the same logits, and a manifest that names them."""
    memory = open_memory()
    _learn(memory, "monday", "tuesday")
    exported = memory.export(tmp_path / "out")
    current = memory.ledger.current()
    assert current is not None
    assert set(exported.files) == {"manifest.json", *current.manifest.adapter_ids}
    ids = torch.tensor([memory.engine.encode_prompt(prompts.direct(QUIZ["monday"][0]))])
    for adapter_id in current.manifest.adapter_ids:
        theirs = peft.PeftModel.from_pretrained(load_tiny().model, tmp_path / "out" / adapter_id)
        with torch.inference_mode(), memory.engine.stack.rows([memory.engine.adapter(adapter_id)]):
            ours = memory.engine.model(input_ids=ids).logits
            torch.testing.assert_close(theirs(input_ids=ids).logits, ours, atol=1e-4, rtol=0)
    with pytest.raises(InputError, match="not an empty folder"):
        memory.export(tmp_path / "out")


def test_a_merged_export_is_base_plus_core(open_memory: Open, tmp_path: Path) -> None:
    """An ordinary model folder with the core's logits; without a core an error that says what to run."""
    memory = open_memory(learning={"learning_rate": 0.01})
    with pytest.raises(InputError, match="consolidate first"):
        memory.export(tmp_path / "out")
    _learn(memory, "monday", "tuesday")
    with pytest.raises(InputError, match="--core"):
        memory.export(tmp_path / "out", merged=True)
    assert memory.consolidate(core=True).version == 2
    current = memory.ledger.current()
    assert current is not None
    core = memory.engine.adapter(current.manifest.core)
    assert memory.ledger.adapters(ids=[str(current.manifest.core)])[0].kind is AdapterKind.CORE
    memory.export(tmp_path / "out", merged=True)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ids = torch.tensor([memory.engine.encode_prompt(prompts.direct(QUIZ["monday"][0]))])
    with torch.inference_mode():
        with memory.engine.stack.rows([core]):
            ours = memory.engine.model(input_ids=ids).logits
        base = memory.engine.model(input_ids=ids).logits
        found = merged(input_ids=ids).logits
    torch.testing.assert_close(found, ours, atol=1e-4, rtol=0)
    assert float((found - base).abs().max()) > 1e-3
    assert len(memory.engine.adapter(current.manifest.core).pairs) == 14  # type: ignore[union-attr]


def test_the_core_answers_where_the_router_abstains(open_memory: Open) -> None:
    """Weights mode then names the core as what answered."""
    memory = open_memory()
    _learn(memory, "monday", "tuesday")
    memory.consolidate(core=True)
    current = memory.ledger.current()
    assert current is not None
    answer = memory.ask("How do I boil an egg?", mode="weights")
    assert isinstance(answer, Answer)
    assert [s.adapter_id for s in answer.shards] == [current.manifest.core]


# -- bad use ----------------------------------------------------------------------------------------


def test_bad_settings_are_refused(tmp_path: Path, open_memory: Open) -> None:
    """At opening where they can be known, at training where the model has to be asked."""
    (tmp_path / "settings.toml").write_text("rnak = 4\n")
    with pytest.raises(SettingsError, match="rank"):
        SealMemory.open(tmp_path)
    memory = open_memory(learning={"target_modules": ("query_key_value",)})
    _observe(memory, "monday")
    with pytest.raises(SettingsError, match="q_proj"):
        memory.consolidate()
    assert set(_statuses(memory).values()) == {Status.PENDING}


def test_bad_questions_are_refused(open_memory: Open) -> None:
    """Empty ones, unknown modes, and quiz pairs with an empty side."""
    memory = open_memory()
    for question in ("", ["fine?", " \n"]):
        with pytest.raises(InputError, match="empty"):
            memory.ask(question)
    with pytest.raises(InputError, match=r"telepathy.*weights"):
        memory.ask("Who?", mode="telepathy")
    with pytest.raises(InputError, match="empty side"):
        memory.add_quiz([("Who?", " ")], interaction_ids=[])
    with pytest.raises(UnknownIdError):
        memory.add_quiz([("Who?", "Ada")], interaction_ids=["nobody"])


def test_importing_is_cheap() -> None:
    """`import seal_memory` brings neither torch nor transformers nor pydantic; names resolve when used."""
    program = (
        "import sys, seal_memory\n"
        "heavy = {'torch', 'transformers', 'peft', 'pydantic', 'sqlite_utils'} & set(sys.modules)\n"
        "print(sorted(heavy), seal_memory.Settings.__name__)\n"
        "try: seal_memory.Nothing\n"
        "except AttributeError as error: print(error)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert child.stdout.splitlines() == ["[] Settings", "module 'seal_memory' has no attribute 'Nothing'"]
