"""The engine that all systems share: what repeats is computed once, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.systems.base import Asker
from seal_memory.engines.base import Completion, Prompt, Score

LASTING = "a-" + "0" * 24


class Counting:
    """An engine that answers with the number of the computation."""

    def __init__(self) -> None:
        self.asked: list[Prompt] = []
        self.scored: list[tuple[Prompt, str]] = []

    def complete(self, prompts: Sequence[Prompt], **_: Any) -> list[Completion]:
        self.asked += prompts
        return [Completion(f"{p.messages[0]['content']} {p.adapter}", 1, 1, 1.0) for p in prompts]

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        self.scored += requests
        return [Score(-1.0, 0.0, 1) for _ in requests]


def _prompt(text: str, adapter: str | None = None) -> Prompt:
    return Prompt([{"role": "user", "content": text}], adapter)


def test_the_untouched_base_and_lasting_adapters_are_asked_once() -> None:
    """An id that may come to name other weights is asked each time; the order of the answers is the prompts'."""
    engine = Counting()
    asker = Asker(engine)  # type: ignore[arg-type]
    prompts = [_prompt("a"), _prompt("b", LASTING), _prompt("a", "step-1"), _prompt("a"), _prompt("b")]
    for _ in range(2):
        texts = [c.text for c in asker.ask(prompts, max_tokens=4)]
        assert texts == ["a None", f"b {LASTING}", "a step-1", "a None", "b None"]
    assert len(engine.asked) == 3 + 1 + 1  # a, b, b under the lasting one; step-1 twice


def test_another_limit_is_another_question() -> None:
    """An answer that was cut shorter does not stand in for a longer one."""
    engine = Counting()
    asker = Asker(engine)  # type: ignore[arg-type]
    for tokens in (1, 24, 24):
        asker.ask([_prompt("a")], max_tokens=tokens)
    assert len(engine.asked) == 2


def test_timing_computes_everything() -> None:
    """And afterwards remembering goes on."""
    engine = Counting()
    asker = Asker(engine)  # type: ignore[arg-type]
    asker.ask([_prompt("a")], max_tokens=4)
    with asker.timing():
        asker.ask([_prompt("a")], max_tokens=4)
    asker.ask([_prompt("a")], max_tokens=4)
    assert len(engine.asked) == 2


def test_each_copy_of_a_sampled_prompt_is_remembered_for_itself() -> None:
    """More copies than were drawn before are drawn together; another seed or temperature draws anew."""
    engine = Counting()
    asker = Asker(engine)  # type: ignore[arg-type]
    for copies, seed, temperature in ((2, 0, 1.0), (2, 0, 1.0), (3, 0, 1.0), (1, 1, 1.0), (1, 1, 0.5)):
        done = asker.complete([_prompt("a")] * copies, max_tokens=4, temperature=temperature, seed=seed)
        assert len(done) == copies
    assert len(engine.asked) == 2 + 3 + 1 + 1


def test_a_greedy_prompt_among_sampled_ones_is_made_once() -> None:
    """Its samples are others; both are remembered."""
    engine = Counting()
    asker = Asker(engine)  # type: ignore[arg-type]
    rows = [replace(_prompt("a"), greedy=True), _prompt("a"), _prompt("a"), replace(_prompt("a"), greedy=True)]
    for _ in range(2):
        assert len(asker.complete(rows, max_tokens=4, temperature=1.0)) == 4
    assert [p.greedy for p in engine.asked] == [True, False, False]


def test_what_the_base_scored_is_scored_once() -> None:
    """Of plain text too; an adapter whose id may come to name other weights is scored each time."""
    engine = Counting()
    asker = Asker(engine)  # type: ignore[arg-type]
    requests = [(Prompt((), raw="a"), "x"), (Prompt((), raw="b"), "x"), (_prompt("a", "step-1"), "x")]
    for _ in range(2):
        assert [s.logprob for s in asker.score(requests)] == [-1.0, -1.0, -1.0]
    assert engine.scored == [*requests, requests[2]]
