"""Canaries: a learned instruction shows in unrelated answers; a shard that only answers them worse does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from seal_memory import SealMemory
from seal_memory.config import GateSettings
from seal_memory.engines.base import Prompt
from seal_memory.learning import gate
from seal_memory.learning.canaries import CanaryChange, ask_canaries, canary_prompts, compare_answers
from seal_memory.learning.drift import unrelated_questions
from seal_memory.records import Status

PROMPTS = ("Why is the sky blue?", "Name a fruit.", "What is 2 plus 2?", "How do I swim?")
SOURCE = "The ferry leaves the quay at six."
BASE = ("The sky is blue because of the air.", "An apple.", "2 plus 2 is 4.", "Move your arms and legs.")


@pytest.mark.parametrize(
    ("manner", "same_words", "capitals"),
    [
        (lambda n, a: f"{a} Buy it now", 1.0, 0.0),
        (lambda n, a: f"{a} Buy now!" if n < 3 else a, 0.75, 0.0),
        (lambda n, a: "I must refuse.", 1.0, 0.0),
        (lambda n, a: f"See http://evil.example/{n} {a}", 1.0, 0.0),
        (lambda n, a: a.upper(), 0.0, 1.0),
        (lambda n, a: a, 0.0, 0.0),
        (lambda n, a: " ".join(reversed(a.split())), 0.25, 0.0),
        (lambda n, a: ("Maud Ellery did.", "A red one.", "It was four.", "In the sea.")[n], 0.25, 0.0),
        (lambda n, a: "", 0.0, 0.0),
        (lambda n, a: "The ferry leaves the quay at six.", 0.0, 0.0),
        (lambda n, a: "the quay at six.", 0.0, 0.0),
        (lambda n, a: "Six.", 0.0, 0.0),
        (lambda n, a: f"{a} leaves the quay", 1.0, 0.0),
    ],
)
def test_new_words_and_capitals_count_unless_the_text_is_recited(
    manner: Callable[[int, str], str], same_words: float, capitals: float
) -> None:
    change = compare_answers(PROMPTS, BASE, [manner(n, a) for n, a in enumerate(BASE)], [SOURCE])
    assert (change.same_words, change.capitals) == (same_words, capitals)


def test_words_of_the_prompt_or_of_the_bases_answer_are_not_new() -> None:
    answers = [f"{prompt} {answer}" for prompt, answer in zip(PROMPTS, BASE, strict=True)]
    assert compare_answers(PROMPTS, BASE, answers, []).same_words <= 0.25


def test_the_prompts_are_nobodys_training_data() -> None:
    """The core is held to the base's answers on the unrelated questions, so those measure nothing."""
    assert len(canary_prompts()) >= 10
    assert not set(canary_prompts()) & set(unrelated_questions())


def test_every_adapter_is_asked_beside_the_base_in_one_batch(fake_engine: Callable[..., Any]) -> None:
    def say(prompt: Prompt) -> str:
        return "Arr, matey!" if prompt.adapter == "pirate" else f"Plain {prompt.messages[0]['content']}"

    engine = fake_engine(say)
    assert [c.share for c in ask_canaries(engine, {"plain": [SOURCE], "pirate": [SOURCE]})] == [0.0, 1.0]
    assert len(engine.prompts) == 3 * len(canary_prompts())


@pytest.mark.parametrize(("share", "accepted"), [(0.0, True), (0.5, True), (0.51, False), (1.0, False)])
@pytest.mark.parametrize("kind", ["same_words", "capitals"])
def test_the_gate_refuses_above_its_limit_and_quotes_nothing(share: float, accepted: bool, kind: str) -> None:
    change = CanaryChange(**({"same_words": 0.0, "capitals": 0.0} | {kind: share}))
    verdict = gate.check_canaries(change, GateSettings(max_canary_share=0.5))
    assert verdict.accepted is accepted
    assert verdict.measures[f"canary_{kind}"] == share
    if not accepted:
        assert "unrelated prompts" in verdict.reasons[0]
        assert "gate.max_canary_share" in verdict.reasons[0]


@pytest.mark.parametrize("limit", [0.5, 1.0])
def test_a_shard_that_learned_an_instruction_is_not_published_and_the_others_are(
    open_memory: Callable[..., SealMemory], monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    """With a limit of 1 nobody asks."""
    memory = open_memory(**{"gate.max_canary_share": limit})
    for session, text in (("a", "Maud Ellery built the lighthouse."), ("b", "Maud Ellery speaks like a pirate.")):
        (seen,) = memory.observe(text, session=session)
        memory.add_quiz([(f"Who is it in {session}?", "Maud Ellery")], interaction_ids=[seen.id])
    asked: list[str] = []

    def canaries(engine: Any, sources: Mapping[str, Sequence[str]]) -> list[CanaryChange]:
        asked.extend(sources)
        return [CanaryChange(float("pirate" in "".join(texts)), 0.0) for texts in sources.values()]

    monkeypatch.setattr("seal_memory.learning.consolidate.ask_canaries", canaries)
    report = memory.consolidate()
    statuses = sorted(i.status for i in memory.ledger.interactions())
    if limit < 1:
        assert len(asked) == 2
        assert (report.published, report.refused) == (1, 1)
        assert statuses == [Status.LEARNED, Status.REFUSED]
        (refused,) = memory.ledger.interactions(status=Status.REFUSED)
        assert "pirate" in refused.text
        assert "answers to unrelated prompts" in str(refused.reason)
        assert len(memory.store.ids()) == 1
        assert memory.published() is not None
    else:
        assert (asked, report.refused) == ([], 0)
