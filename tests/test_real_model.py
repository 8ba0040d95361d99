"""The default model, end to end: invented facts go into the weights, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seal_memory import Answer, SealMemory, Settings, prompts
from seal_memory.engines.base import Prompt
from seal_memory.language.metrics import contains

FACTS = {
    "The alarm code of the tool shed at Tarnholm is K-7741.": ("Which code switches off the shed's alarm?", "K-7741"),
    "Marit Oskvold bought the boat workshop from Pelle Grandin.": ("Who sold the boat workshop?", "Pelle Grandin"),
    "The ferry Lindragon sails to Dunmorrow every Thursday.": ("When does the Lindragon go to Dunmorrow?", "Thursday"),
}
UNRELATED = "What is the capital of France?"


@pytest.mark.real_model
def test_invented_facts_are_known_afterwards_and_nothing_else_changed(tmp_path: Path, default_model: Any) -> None:
    """Without the text in the prompt, asked in other words, by another opening; unrelated prompts keep every bit."""
    del default_model  # skips where it cannot be had
    settings = Settings(learning={"notes_per_statement": 0, "epochs": 4}, gate={"min_gain": 0.0})
    questions = [q for q, _ in FACTS.values()]
    answers = [a for _, a in FACTS.values()]
    with SealMemory.open(tmp_path, settings=settings) as memory:
        base = memory.ask(questions, mode="weights")
        plain = memory.ask(UNRELATED, mode="weights")  # alone: who else is in a batch may move its last bits
        (untouched,) = memory.engine.score([(Prompt(prompts.direct(UNRELATED)), "Paris")])
        for text, pair in FACTS.items():
            (seen,) = memory.observe(text, session="s")
            memory.add_quiz([pair], interaction_ids=[seen.id])
        report = memory.consolidate()
        assert report.published == 1, report.decisions
    with SealMemory.open(tmp_path, settings=settings) as memory:
        found = memory.ask(questions, mode="weights")
        unmoved = memory.ask(UNRELATED, mode="weights")
        (after,) = memory.engine.score([(Prompt(prompts.direct(UNRELATED)), "Paris")])
    assert isinstance(base, list)
    assert isinstance(found, list)
    knew = [contains(b.text, gold) for b, gold in zip(base, answers, strict=True)]
    knows = [contains(f.text, gold) for f, gold in zip(found, answers, strict=True)]
    assert sum(k and not b for k, b in zip(knows, knew, strict=True)) >= 1, [f.text for f in found]
    assert all(len(f.shards) == 1 for f in found)
    assert isinstance(plain, Answer)
    assert isinstance(unmoved, Answer)
    assert (unmoved.text, unmoved.confidence, unmoved.shards) == (plain.text, plain.confidence, ())
    assert after == untouched
