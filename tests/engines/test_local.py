"""The in-process engine: scores and confidences are the model's own probabilities, adapters come by id."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.base import Engine, Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import AdapterError, InputError
from seal_memory.lora.adapter import LoraAdapter

TOLERANCE = 1e-5  # float32

QUESTIONS = ["Who built it?", "Which colour is the new logo? Please say it in a few words.", "Korrin Bay?"]
TARGETS = ["Maud Ellery", "dark green", "The lighthouse at Korrin Bay was built in 1887."]


def _messages(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


@pytest.fixture(scope="module")
def engine(load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter]) -> TransformersEngine:
    engine = TransformersEngine(load_tiny())
    engine.put("one", random_adapter(engine.stack, 4, LLAMA_LINEAR, 1))
    engine.put("two", random_adapter(engine.stack, 2, ("q_proj", "v_proj"), 2))
    return engine


def _logprobs(engine: TransformersEngine, adapter: str | None, ids: list[int], start: int) -> list[float]:
    """The plain way: one row, the whole model, log-softmax over everything."""
    with torch.inference_mode(), engine.stack.rows([engine.adapter(adapter)]):
        logprobs = engine.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return [float(logprobs[t - 1, ids[t]]) for t in range(start, len(ids))]


def test_the_engine_keeps_the_protocol(engine: TransformersEngine) -> None:
    """mypy checks the same."""
    kept: Engine = engine
    assert kept.complete([], max_tokens=3) == []
    assert kept.score([]) == []


def test_a_score_is_the_plain_log_softmax(engine: TransformersEngine) -> None:
    """Mean and share over the target's tokens, each request under its own adapter, in the order asked."""
    requests = [
        (Prompt(_messages(q), adapter), target)
        for adapter in ("two", None, "one")
        for q, target in zip(QUESTIONS, TARGETS, strict=True)
    ]
    for (prompt, target), score in zip(requests, engine.score(requests), strict=True):
        row = engine.encode_row(prompt.messages, target, end=False)
        expected = _logprobs(engine, prompt.adapter, list(row.ids), row.prompt_length)
        assert score.tokens == len(expected) == engine.count_tokens(target)
        assert score.logprob == pytest.approx(sum(expected) / len(expected), abs=TOLERANCE)
        assert score.share_likely == pytest.approx(sum(x > math.log(0.5) for x in expected) / len(expected))


def test_scores_repeat_themselves(engine: TransformersEngine) -> None:
    """Bit for bit, whatever the adapters' place in memory."""
    requests = [
        (Prompt(_messages(q), a), t) for a in ("one", "two", None) for q, t in zip(QUESTIONS, TARGETS, strict=True)
    ]
    assert engine.score(requests) == engine.score(requests)


def test_a_target_without_tokens_scores_minus_infinity(engine: TransformersEngine) -> None:
    """Beside others that have some."""
    empty, other = engine.score([(Prompt(_messages("Who?")), ""), (Prompt(_messages("Who?")), "Maud")])
    assert (empty.logprob, empty.share_likely, empty.tokens) == (-math.inf, 0.0, 0)
    assert other.tokens > 0
    assert engine.score([(Prompt(_messages("Who?")), "")]) == [empty]


def test_confidence_is_the_geometric_mean_of_probabilities(engine: TransformersEngine) -> None:
    """Of the tokens that were generated; the counts are the model's own."""
    prompts = [Prompt(_messages(q), a) for a in (None, "one") for q in QUESTIONS]
    engine_stops = engine.stop_ids
    engine.stop_ids = frozenset()  # so that every token is in the text
    try:
        done = engine.complete(prompts, max_tokens=6)
    finally:
        engine.stop_ids = engine_stops
    for prompt, completion in zip(prompts, done, strict=True):
        ids = engine.encode_prompt(prompt.messages)
        start = len(ids)
        assert (completion.prompt_tokens, completion.generated_tokens) == (start, 6)
        with torch.inference_mode(), engine.stack.rows([engine.adapter(prompt.adapter)]):
            for _ in range(6):
                ids.append(int(engine.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        expected = _logprobs(engine, prompt.adapter, ids, start)
        assert completion.confidence == pytest.approx(math.exp(sum(expected) / 6), abs=TOLERANCE)
        assert completion.text == engine.tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


def test_sampling_repeats_with_its_seed(engine: TransformersEngine) -> None:
    """The engine hands seed and temperature on."""
    prompts = [Prompt(_messages(q)) for q in QUESTIONS]
    first, again, other = (engine.complete(prompts, max_tokens=8, temperature=1.0, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_a_row_is_prompt_target_and_end(engine: TransformersEngine) -> None:
    """The prompt ends where the assistant begins to speak; the loss counts target and end of turn."""
    messages = _messages("Who built it?")
    row = engine.encode_row(messages, "Maud")
    assert list(row.ids[: row.prompt_length]) == engine.encode_prompt(messages)
    assert engine.tokenizer.decode(row.ids[: row.prompt_length]).endswith("<|im_start|>assistant\n")
    assert engine.tokenizer.decode(row.ids[row.prompt_length :]) == "Maud<|im_end|>"
    assert engine.encode_row(messages, "Maud", end=False).ids == row.ids[:-1]


def test_every_end_token_stops(engine: TransformersEngine) -> None:
    """Also the one that is the tokenizer's unknown token, as in SmolLM2."""
    assert engine.tokenizer.unk_token == "<|endoftext|>"
    expected = {engine.tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")}
    assert expected <= engine.stop_ids
    assert None not in engine.stop_ids


def test_what_does_not_fit_is_refused(engine: TransformersEngine) -> None:
    """Prompt and answer together, for completing and for scoring; what just fits is done."""
    prompt = Prompt(_messages("Who?"))
    room = engine.max_length - len(engine.encode_prompt(prompt.messages))
    with pytest.raises(InputError, match=f"context is {engine.max_length}"):
        engine.complete([prompt], max_tokens=room + 1)
    target = "a" * 3 * engine.max_length
    with pytest.raises(InputError, match="shorten"):
        engine.score([(prompt, target)])


def test_an_unknown_adapter_is_an_error(engine: TransformersEngine) -> None:
    """It names the id."""
    with pytest.raises(AdapterError, match="three"):
        engine.complete([Prompt(_messages("Who?"), "three")], max_tokens=1)
    with pytest.raises(AdapterError, match="three"):
        engine.score([(Prompt(_messages("Who?"), "three"), "x")])


def test_adapters_are_fetched_once_and_the_least_used_leaves(
    load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter]
) -> None:
    """Two are kept; using one keeps it; a dropped one is fetched again."""
    asked: list[str] = []

    def fetch(adapter_id: str) -> LoraAdapter:
        asked.append(adapter_id)
        return random_adapter(engine.stack, 2, ("q_proj",), len(asked))

    engine = TransformersEngine(load_tiny(), fetch=fetch, keep=2)
    for adapter_id in ("a", "b", "a", "c", "a", "b"):  # c drives b out, not a; then b drives c out
        engine.complete([Prompt(_messages("Who?"), adapter_id)], max_tokens=1)
    assert asked == ["a", "b", "c", "b"]
    engine.drop("a")
    engine.drop("never there")
    assert engine.adapter("a") is not None
    assert engine.adapter(None) is None
    assert asked == ["a", "b", "c", "b", "a"]


def test_what_was_put_is_there_as_long_as_somebody_holds_it(
    load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter]
) -> None:
    """A stack of candidates may be larger than what is kept, and none can be fetched; dropped, they are gone."""
    small = TransformersEngine(load_tiny(), keep=1)
    stack = {name: random_adapter(small.stack, 2, ("q_proj",), seed) for seed, name in enumerate("abc")}
    for name, adapter in stack.items():
        small.put(name, adapter)
    assert {name: small.adapter(name) for name in stack} == stack
    assert len(small._adapters) == 1
    small.drop("a")
    stack.pop("b")
    del adapter
    for gone in "ab":
        with pytest.raises(AdapterError, match="put"):
            small.adapter(gone)


def test_a_batch_may_need_more_adapters_than_are_kept(
    load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter]
) -> None:
    """What leaves the cache stays with the batch that uses it."""
    small = TransformersEngine(load_tiny(), keep=1)
    made = {name: random_adapter(small.stack, 2, LLAMA_LINEAR, seed) for seed, name in enumerate("abc")}
    small.add_source(made.__getitem__)
    requests = [(Prompt(_messages("Who?"), name), "Maud Ellery") for name in "abca"]
    scores = small.score(requests)
    assert scores[0].logprob == pytest.approx(scores[3].logprob, abs=TOLERANCE)
    assert len({round(s.logprob, 3) for s in scores}) == 3
