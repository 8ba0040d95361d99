"""What every engine does: the same prompts and adapters give the same words and numbers, whoever computes them.

Held against the plainest way to compute: one row, the whole model, no cache. In fp32 log-probabilities agree to 1e-4
in this process and to 5e-4 on a vLLM server, whose kernels add in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from seal_memory.engines.base import ChatEngine, Decoding, Engine, Prompt
from seal_memory.errors import AdapterError, InputError, PromptTooLongError

QUESTIONS = ["Who built it?", "Which colour is the new logo? Please say it in a few words.", "Korrin Bay?"]
TARGETS = ["Maud Ellery", "dark green", "The lighthouse at Korrin Bay was built in 1887."]


@pytest.fixture(params=["local", "stand-in", pytest.param("vllm", marks=pytest.mark.timeout(1800))])
def pair(request: pytest.FixtureRequest, pairs: Callable[[str], Any]) -> Any:
    return pairs(request.param)


def _asked(question: str, adapter: str | None = None) -> Prompt:
    return Prompt([{"role": "user", "content": question}], adapter)


def _rows(pair: Any) -> list[Prompt]:
    """Base rows beside rows of two adapters."""
    return [_asked(q, a) for q in QUESTIONS for a in (pair.adapters[0], None, pair.adapters[1])]


def test_it_keeps_the_protocols(pair: Any) -> None:
    engine: Engine = pair.engine
    assert engine.complete([], max_tokens=3) == []
    assert engine.score([]) == []
    assert isinstance(engine, ChatEngine)


def test_greedy_is_the_likeliest_token_again_and_again(pair: Any) -> None:
    """Each row under its own adapter, base rows among them; confidence is the geometric mean, stop token included."""
    for prompt, done in zip(_rows(pair), pair.engine.complete(_rows(pair), max_tokens=6), strict=True):
        ids, logprobs = pair.greedy(prompt, 6)
        assert done.text == pair.plain.encoder.text(ids).strip()
        assert (done.prompt_tokens, done.generated_tokens) == (len(pair.plain.encode(prompt)), len(ids))
        assert done.confidence == pytest.approx(math.exp(sum(logprobs) / len(logprobs)), abs=pair.tolerance)
        assert done.finish == ("stop" if len(logprobs) > len(ids) else "length")


def test_logprobs_are_those_of_the_tokens(pair: Any) -> None:
    """Without temperature; the likeliest tokens beside, best first; none unasked."""
    prompts = _rows(pair)[:3]
    done = pair.engine.talk(prompts, Decoding(5, top_logprobs=3))
    for prompt, completion in zip(prompts, done, strict=True):
        ids, logprobs = pair.greedy(prompt, 5)
        found = [t.logprob for t in completion.tokens]
        assert found == pytest.approx(logprobs[: len(ids)], abs=pair.tolerance)
        assert [t.text for t in completion.tokens] == [pair.plain.encoder.text([i]) for i in ids]
        assert all(len(t.top) == 3 and t.top[0][0] == t.text for t in completion.tokens)
    assert pair.engine.talk(prompts, Decoding(2))[0].tokens == ()


def test_a_score_is_the_plain_log_softmax(pair: Any) -> None:
    """Mean and share over the target's tokens, each request under its own adapter, in the order asked."""
    requests = [
        (_asked(q, a), t)
        for a in (pair.adapters[1], None, pair.adapters[0])
        for q, t in zip(QUESTIONS, TARGETS, strict=True)
    ]
    for (prompt, target), score in zip(requests, pair.engine.score(requests), strict=True):
        start = pair.plain.encode(prompt)
        expected = pair.logprobs(prompt.adapter, [*start, *pair.plain.encoder.ids(target)], len(start))
        assert score.tokens == len(expected)
        assert score.logprob == pytest.approx(sum(expected) / len(expected), abs=pair.tolerance)
        assert score.share_likely == pytest.approx(sum(x > math.log(0.5) for x in expected) / len(expected), abs=0.2)


def test_more_adapters_than_there_is_room_for(pair: Any) -> None:
    """They take turns, and each row still has its own; the base stays the base."""
    names = [*pair.adapters, None, *pair.adapters[::-1]]
    scores = pair.engine.score([(_asked(QUESTIONS[1], name), TARGETS[1]) for name in names])
    start = pair.plain.encode(_asked(QUESTIONS[1]))
    ids = [*start, *pair.plain.encoder.ids(TARGETS[1])]
    for name, score in zip(names, scores, strict=True):
        expected = pair.logprobs(name, ids, len(start))
        assert score.logprob == pytest.approx(sum(expected) / len(expected), abs=pair.tolerance)


def test_many_at_once_are_each_answered_as_alone(pair: Any) -> None:
    """Threads that ask for the base, for several adapters and for scores at the same time."""
    names = [pair.adapters[0], None, pair.adapters[2], None, pair.adapters[3], pair.adapters[0]]

    def ask(n: int) -> tuple[str, float]:
        prompt = _asked(QUESTIONS[n % 3], names[n])
        (score,) = pair.engine.score([(prompt, TARGETS[0])])
        (done,) = pair.engine.talk([prompt], Decoding(4), on_text=lambda row, piece: None)
        return done.text, score.logprob

    with ThreadPoolExecutor(len(names)) as threads:
        together = list(threads.map(ask, range(len(names))))
    alone = [ask(n) for n in range(len(names))]
    assert [text for text, _ in together] == [text for text, _ in alone]
    assert [x for _, x in together] == pytest.approx([x for _, x in alone], abs=pair.tolerance)


def test_raw_text_is_continued_without_a_template(pair: Any) -> None:
    prompt = Prompt((), raw="The lighthouse at Korrin")
    (done,) = pair.engine.complete([prompt], max_tokens=4)
    assert done.prompt_tokens == len(pair.plain.encoder.ids("The lighthouse at Korrin"))
    assert done.text == pair.plain.encoder.text(pair.greedy(prompt, 4)[0])
    (score,) = pair.engine.score([(prompt, " Bay")])
    start = pair.plain.encode(prompt)
    expected = pair.logprobs(None, [*start, *pair.plain.encoder.ids(" Bay")], len(start))
    assert score.logprob == pytest.approx(sum(expected) / len(expected), abs=pair.tolerance)


def test_a_stop_string_ends_the_text_before_it(pair: Any) -> None:
    """It is no part of the text, told or not, and the finish says so."""
    prompt = _asked(QUESTIONS[0], pair.adapters[0])
    (whole,) = pair.engine.talk([prompt], Decoding(12))
    stop = next(word for word in reversed(whole.text.split()) if word)[:3]
    told: list[str] = []
    decoding = Decoding(12, stop=("no such thing", stop))
    (heard,) = pair.engine.talk([prompt], decoding, on_text=lambda row, piece: told.append(piece))
    (done,) = pair.engine.talk([prompt], decoding)
    assert heard.text == done.text == "".join(told) == whole.text[: whole.text.index(stop)].strip()
    assert heard.finish == done.finish == "stop"


def test_pieces_add_up_to_the_text(pair: Any) -> None:
    """Row by row, whoever is first; a listener changes nothing of the answer."""
    prompts = _rows(pair)[:4]
    told = [""] * len(prompts)

    def listen(row: int, piece: str) -> None:
        told[row] += piece

    done = pair.engine.talk(prompts, Decoding(8), on_text=listen)
    assert told == [c.text for c in done] == [c.text for c in pair.engine.talk(prompts, Decoding(8))]


def test_samples_repeat_with_their_seed(pair: Any) -> None:
    """Rows of one call draw their own; another seed, other words."""
    prompts = [_asked(QUESTIONS[0])] * 4
    drawn = [[c.text for c in pair.engine.complete(prompts, max_tokens=8, temperature=1.5, seed=s)] for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) > 1


def test_a_greedy_prompt_is_not_sampled_with_the_others(pair: Any) -> None:
    """It says what it says alone; the others draw as if it were not there, a copy of it, too."""
    sampled = [_asked(QUESTIONS[0])] * 2
    alone = [c.text for c in pair.engine.complete(sampled, max_tokens=8, temperature=1.5, seed=1)]
    (likeliest,) = pair.engine.complete([_asked(QUESTIONS[0])], max_tokens=8)
    rows = [replace(_asked(QUESTIONS[0]), greedy=True), *sampled]
    found = [c.text for c in pair.engine.complete(rows, max_tokens=8, temperature=1.5, seed=1)]
    assert found == [likeliest.text, *alone]


def test_a_target_without_tokens_scores_minus_infinity(pair: Any) -> None:
    empty, other = pair.engine.score([(_asked("Who?"), ""), (_asked("Who?"), "Maud")])
    assert (empty.logprob, empty.share_likely, empty.tokens) == (-math.inf, 0.0, 0)
    assert other.tokens > 0


def test_no_tokens_are_no_answer(pair: Any) -> None:
    (done,) = pair.engine.talk([_asked("Who?")], Decoding(0))
    assert (done.text, done.generated_tokens, done.finish) == ("", 0, "length")


def test_what_does_not_fit_is_refused(pair: Any) -> None:
    room = pair.plain.max_length - len(pair.plain.encode(_asked("Who?")))
    for refused in (pair.engine.talk, lambda p, d: pair.engine.check(p[0], d)):
        with pytest.raises(PromptTooLongError, match="shorten"):
            refused([_asked("Who?")], Decoding(room + 1))
    with pytest.raises(PromptTooLongError, match="shorten"):
        pair.engine.score([(_asked("Who?"), "a b" * 3 * pair.plain.max_length)])


@pytest.mark.parametrize("bad", [{"temperature": -1.0}, {"top_p": 0.0}])
def test_options_out_of_range_are_refused(pair: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        pair.engine.talk([_asked("Who?")], Decoding(2, **bad))


def test_an_unknown_adapter_is_an_error(pair: Any) -> None:
    """It names the id."""
    unknown = "a-" + "0" * 24
    with pytest.raises(AdapterError, match=unknown):
        pair.engine.complete([_asked("Who?", unknown)], max_tokens=1)


def test_a_listener_may_end_it_all(pair: Any) -> None:
    """What it raises comes through, and the engine is free again."""

    def gone(row: int, piece: str) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        pair.engine.talk(_rows(pair)[:2], Decoding(8), on_text=gone)
    assert len(pair.engine.talk(_rows(pair)[:2], Decoding(2))) == 2
