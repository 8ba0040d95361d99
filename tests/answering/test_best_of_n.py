"""Several samples of an adapter are compared, and the one that the question fits best is the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory import prompts
from seal_memory.answering import best_of_n
from seal_memory.answering.best_of_n import SampleOptions
from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.base import Completion, Decoding, OnText, Prompt, Score
from seal_memory.engines.local import TransformersEngine

SIX = SampleOptions(6, 0.8)
QUESTION = "Who keeps the key?"


class SamplingEngine:
    """An engine whose adapters say the next of some texts; `fits` is how likely a question is behind each of them."""

    def __init__(
        self, says: Sequence[str], fits: dict[str, float], *, confidence: dict[str, float] | None = None
    ) -> None:
        self.says: Iterator[str] = iter(says)
        self.confidence = confidence or {}
        self.fits = fits
        self.batches = 0
        self.decoded: list[tuple[str | None, Decoding]] = []
        self.scored: list[tuple[Prompt, str]] = []

    def complete(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Completion]:
        return self.talk(prompts, Decoding(max_tokens, temperature, seed=seed))

    def talk(self, prompts: Sequence[Prompt], decoding: Decoding, *, on_text: OnText | None = None) -> list[Completion]:
        done = []
        self.batches += 1
        for row, prompt in enumerate(prompts):
            self.decoded.append((prompt.adapter, replace(decoding, temperature=0.0) if prompt.greedy else decoding))
            text = next(self.says)
            if on_text is not None:
                on_text(row, text)
            done.append(Completion(text, 7, len(text.split()), self.confidence.get(text, 0.5)))
        return done

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        self.scored += requests
        return [Score(self.fits[_sample_of(p)], 0.0, 5) for p, _ in requests]


def _sample_of(prompt: Prompt) -> str:
    assert prompt.raw is not None
    return prompt.raw.removesuffix(prompts.before_question(""))


def _ask(
    engine: SamplingEngine, options: SampleOptions = SIX, *, adapter: str | None = "a-1", **more: Any
) -> Completion:
    decoding = more.pop("decoding", Decoding(9))
    (done,) = best_of_n.complete([(Prompt((), adapter, raw="?"), QUESTION)], engine, decoding, options, **more)
    return done


def test_the_sample_that_the_question_fits_is_the_answer() -> None:
    """The untouched base compares each distinct one once; what was spent is counted."""
    says = ["Ann has a cat.", "Bob keeps the key.", "Ann has a cat.", "", "Bob keeps the key.", "It rains."]
    engine = SamplingEngine(says, {"Ann has a cat.": -3.0, "Bob keeps the key.": -1.0, "It rains.": -4.0})
    answer = _ask(engine)
    assert answer.text == "Bob keeps the key."
    assert [_sample_of(p) for p, _ in engine.scored] == ["Ann has a cat.", "Bob keeps the key.", "It rains."]
    assert {(p.adapter, target) for p, target in engine.scored} == {(None, f" {QUESTION}")}
    assert answer.generated_tokens == 4 + 4 + 4 + 0 + 4 + 2
    assert answer.prompt_tokens == 7 + (4 + 5) + (4 + 5) + (2 + 5)


@given(
    texts=st.lists(st.sampled_from(["a", "b", "c"]), min_size=6, max_size=6), fits=st.permutations([-1.0, -1.0, -2.0])
)
def test_nothing_made_fits_better(texts: list[str], fits: list[float]) -> None:
    """And of equals the first made is kept: the greedy one where it is among them."""
    likely = dict(zip("abc", fits, strict=True))
    best = max(likely[t] for t in texts)
    assert _ask(SamplingEngine(texts, likely)).text == next(t for t in texts if likely[t] == best)


@pytest.mark.parametrize(("likelier", "chosen"), [(0.1, "At 12:10."), (3.0, "At 12:1.")])
def test_of_what_fits_alike_the_surer_one_is_kept(likelier: float, chosen: str) -> None:
    """The question cannot tell one number from another; what it can tell outweighs how sure the adapter was."""
    fits = {"At 12:1.": -1.0, "At 12:10.": -1.0 - likelier / 5}
    engine = SamplingEngine(["At 12:10.", "At 12:1."], fits, confidence={"At 12:1.": 0.2, "At 12:10.": 0.9})
    assert _ask(engine, SampleOptions(2, 0.8)).text == chosen


@pytest.mark.parametrize("text", ["Bob keeps the key.", ""])
def test_who_always_says_the_same_is_not_compared(text: str) -> None:
    """Not even where that is nothing."""
    engine = SamplingEngine([text] * 6, {})
    answer = _ask(engine)
    assert (answer.text, answer.prompt_tokens, engine.scored) == (text, 7, [])


def test_the_base_and_a_single_sample_are_greedy() -> None:
    """One prompt, as any model is asked."""
    for options, adapter in ((SIX, None), (SampleOptions(1, 0.8), "a-1")):
        engine = SamplingEngine(["Bob."], {})
        assert _ask(engine, options, adapter=adapter).text == "Bob."
        assert engine.decoded == [(adapter, Decoding(9))]


def test_a_caller_who_samples_keeps_the_temperature() -> None:
    """All are drawn at it, from its seed; else only the first is greedy. One batch either way."""
    engine = SamplingEngine("abcdef", dict.fromkeys("abcdef", -1.0))
    _ask(engine, decoding=Decoding(9, 0.3, top_p=0.9, seed=4))
    assert [(d.temperature, d.top_p, d.seed) for _, d in engine.decoded] == [(0.3, 0.9, 4)] * 6
    engine = SamplingEngine("abcdef", dict.fromkeys("abcdef", -1.0))
    _ask(engine)
    assert [d.temperature for _, d in engine.decoded] == [0.0] + [0.8] * 5
    assert engine.batches == 1


def test_a_listener_hears_the_chosen_one_only() -> None:
    """The base's pieces while they are made; of samples only that work goes on, then the answer."""
    told: list[tuple[int, str]] = []
    engine = SamplingEngine(["base words", "no", "yes", "no"], {"no": -2.0, "yes": -1.0})
    asked = [(Prompt((), None, raw="?"), "?"), (Prompt((), "a-1", raw="?"), QUESTION)]
    best_of_n.complete(
        asked, engine, Decoding(9), SampleOptions(3, 0.8), on_text=lambda row, piece: told.append((row, piece))
    )
    assert [t for t in told if t[1]] == [(0, "base words"), (1, "yes")]
    assert (1, "") in told


def test_only_the_end_of_a_long_question_is_compared() -> None:
    """What is asked stands there."""
    engine = SamplingEngine(["no", "yes"], {"no": -2.0, "yes": -1.0})
    long = "paste " * 500 + QUESTION
    best_of_n.complete([(Prompt((), "a-1", raw="?"), long)], engine, Decoding(9), SampleOptions(2, 0.8))
    assert {len(target) for _, target in engine.scored} == {1 + best_of_n.QUESTION_CHARACTERS}
    assert all(target.endswith(QUESTION) for _, target in engine.scored)


def test_an_answer_is_the_same_alone_and_in_a_batch(
    load_tiny: Callable[[], Any], random_adapter: Callable[..., Any]
) -> None:
    """With a real engine: the samples follow from the prompt, the adapter and the seed alone."""
    engine = TransformersEngine(load_tiny())
    for number, name in enumerate(("one", "two")):
        engine.put(name, random_adapter(engine.stack, 4, LLAMA_LINEAR, number))
    asked = [(Prompt(prompts.direct(t), a), t) for t in ("Who?", "Where is it?") for a in ("one", "two", None)]
    options = SampleOptions(5, 1.5)
    together = best_of_n.complete([*asked, *asked[:3]], engine, Decoding(6), options)
    alone = [best_of_n.complete([pair], engine, Decoding(6), options)[0] for pair in asked]
    spent = [[(c.text, c.generated_tokens, c.prompt_tokens) for c in done] for done in (together[:6], alone)]
    assert spent[0] == spent[1]
    assert all(c.generated_tokens > 6 for c, (prompt, _) in zip(alone, asked, strict=True) if prompt.adapter)
