"""Talking: stop strings, log-probabilities, why it ended, and pieces that add up to the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.base import ChatEngine, Decoding, Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.transcript import Transcript
from seal_memory.errors import InputError
from seal_memory.lora.adapter import LoraAdapter

ASKED = [
    Prompt([{"role": "user", "content": "Who built it?"}], "one"),
    Prompt([{"role": "user", "content": "Korrin Bay?"}]),
]


@pytest.fixture(scope="module")
def engine(load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter]) -> TransformersEngine:
    engine = TransformersEngine(load_tiny())
    engine.put("one", random_adapter(engine.stack, 4, LLAMA_LINEAR, 1))
    return engine


def _pieces(engine: TransformersEngine, decoding: Decoding) -> tuple[list[Any], list[str]]:
    told = ["" for _ in ASKED]

    def listen(row: int, piece: str) -> None:
        told[row] += piece

    return engine.talk(ASKED, decoding, on_text=listen), told


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_pieces_add_up_to_the_text(engine: TransformersEngine, temperature: float) -> None:
    """With and without a listener the answer is the same, and the pieces are it."""
    decoding = Decoding(12, temperature=temperature, seed=3)
    done, told = _pieces(engine, decoding)
    assert done == engine.talk(ASKED, decoding)
    assert told == [c.text for c in done]
    assert isinstance(engine, ChatEngine)


def test_plain_talk_is_complete(engine: TransformersEngine) -> None:
    assert engine.talk(ASKED, Decoding(8)) == engine.complete(ASKED, max_tokens=8)


def test_a_stop_string_ends_the_text_before_it(engine: TransformersEngine) -> None:
    """It is no part of the text, fewer tokens are made, and the finish says so."""
    (whole, _) = engine.talk(ASKED, Decoding(16))  # a random model's words
    stop = next(word for word in reversed(whole.text.split()) if len(word) > 1)[:3]
    done, told = _pieces(engine, Decoding(16, stop=("no such thing", stop)))
    assert done[0].text == whole.text[: whole.text.index(stop)].strip() == told[0]
    assert done[0].finish == "stop"
    assert done[0].generated_tokens < whole.generated_tokens


def test_the_limit_is_told(engine: TransformersEngine) -> None:
    stops, engine.stop_ids = engine.stop_ids, frozenset()
    try:
        assert {c.finish for c in engine.talk(ASKED, Decoding(4))} == {"length"}
    finally:
        engine.stop_ids = stops


def test_logprobs_are_those_of_the_tokens(engine: TransformersEngine) -> None:
    """Greedy: each token is the likeliest of its place; none are given unasked, none of a stop string."""
    (done, _) = engine.talk(ASKED, Decoding(6, top_logprobs=3))
    assert len(done.tokens) == done.generated_tokens
    assert all(t.top[0] == (t.text, pytest.approx(t.logprob, abs=1e-5)) and len(t.top) == 3 for t in done.tokens)
    assert engine.talk(ASKED, Decoding(6, top_logprobs=0))[0].tokens[0].top == ()
    assert engine.talk(ASKED, Decoding(6))[0].tokens == ()
    (cut, _) = engine.talk(ASKED, Decoding(6, top_logprobs=0, stop=(done.text[-2:],)))
    assert "".join(t.text for t in cut.tokens).strip().startswith(cut.text)
    assert len(cut.tokens) <= len(done.tokens)


def test_a_listener_may_end_it_all(engine: TransformersEngine) -> None:
    """What it raises comes through, and the engine is free again."""

    def gone(row: int, piece: str) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        engine.talk(ASKED, Decoding(8), on_text=gone)
    assert engine.talk(ASKED, Decoding(2))


def test_raw_text_is_continued_without_a_template(engine: TransformersEngine) -> None:
    ids = engine.encode(Prompt((), raw="The lighthouse"))
    assert engine.tokenizer.decode(ids) == "The lighthouse"
    assert engine.talk([Prompt((), raw="The lighthouse")], Decoding(3))[0].prompt_tokens == len(ids)


@pytest.mark.parametrize("bad", [{"stop": ("",)}, {"max_tokens": -2}, {"temperature": -1.0}, {"top_p": 0.0}])
def test_options_out_of_range_are_refused(engine: TransformersEngine, bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        engine.check(ASKED[0], Decoding(**bad))


def test_without_a_limit_the_answer_fits(engine: TransformersEngine) -> None:
    """A prompt that leaves little room is answered shortly, one that leaves none is refused."""
    assert engine.encoder.max_new_tokens([engine.max_length - 3], None) == 3
    assert engine.encoder.max_new_tokens([10], None) == 256
    with pytest.raises(InputError, match="context"):
        engine.encoder.max_new_tokens([engine.max_length], None)


@given(
    st.lists(st.binary(min_size=1, max_size=3), max_size=12), st.lists(st.sampled_from(["ab", " ", "b\n"]), max_size=2)
)
def test_any_pieces_add_up(tokens: list[bytes], stop: list[str]) -> None:
    """Law: whatever bytes the tokens are, the pieces joined are the text, and no stop string is in it."""
    told: list[str] = []

    def decode(ids: Any) -> str:
        return b"".join(tokens[i] for i in ids).decode("utf-8", errors="replace")

    transcript = Transcript(decode, 1, stop=stop, on_text=lambda _, piece: told.append(piece))
    made: list[int] = []
    for n in range(len(tokens)):
        made.append(n)
        if transcript.token(0, n):
            break
    text = transcript.close(0, made)
    assert "".join(told) == text
    assert not any(s.strip() and s.strip() == s and s in text for s in stop)
    assert transcript.count_kept(0, made) <= len(made)
