"""Constrained decoding: whatever a model prefers, its text is JSON of the schema, and ends before the limit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.base import Decoding, Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import InputError
from seal_memory.lora.adapter import LoraAdapter

jsonschema = pytest.importorskip("jsonschema_rs")

ASKED = [{"role": "user", "content": "Who built it?"}]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "boats": {"type": "array", "items": {"type": "object", "properties": {"id": {"enum": ["red", "green"]}}}},
        "harbour": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["name", "age", "boats", "harbour"],
    "additionalProperties": False,
}
SCHEMAS = [
    PERSON,
    {"type": "object"},
    {"type": "array", "items": {"type": "number"}, "minItems": 2},
    {"enum": [1, "b"]},
]


def _value(text: str) -> Any:
    """The JSON value; a number that floats cannot hold is a great one."""
    return json.loads(text, parse_float=lambda number: max(-1e300, min(float(number), 1e300)))


@pytest.fixture(scope="module")
def engine(load_tiny: Callable[[], Any], random_adapter: Callable[..., LoraAdapter]) -> TransformersEngine:
    engine = TransformersEngine(load_tiny())
    engine.put("one", random_adapter(engine.stack, 4, LLAMA_LINEAR, 1))
    return engine


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_random_models_text_follows_the_schema(engine: TransformersEngine, temperature: float) -> None:
    """In one batch with an adapter's row and a free one, whose text stays the same; each ends with "stop"."""
    free = Prompt([{"role": "user", "content": "And when?"}])
    asked = [Prompt(ASKED, adapter, schema=s) for s in SCHEMAS for adapter in (None, "one")]
    decoding = Decoding(120, temperature=temperature, seed=3)
    *made, beside = engine.talk([*asked, free], decoding)
    for prompt, completion in zip(asked, made, strict=True):
        assert prompt.schema is not None
        assert jsonschema.is_valid(prompt.schema, _value(completion.text)), completion.text
        assert completion.finish == "stop"
    (alone,) = engine.talk([free], decoding)
    assert beside.text == alone.text


def test_pieces_of_a_constrained_text_add_up(engine: TransformersEngine) -> None:
    told: list[str] = []
    (done,) = engine.talk([Prompt(ASKED, schema=PERSON)], Decoding(120), on_text=lambda row, piece: told.append(piece))
    assert "".join(told) == done.text


def test_a_text_that_cannot_be_valid_within_the_limit_is_cut(engine: TransformersEngine) -> None:
    (cut,) = engine.talk([Prompt(ASKED, schema=PERSON)], Decoding(3))
    assert (cut.finish, cut.generated_tokens) == ("length", 3)


def test_logprobs_are_those_of_the_free_model(engine: TransformersEngine) -> None:
    """As vLLM reports them: a token that was forced upon the model is not a likely one."""
    (done,) = engine.talk([Prompt(ASKED, schema={"const": "red"})], Decoding(40, top_logprobs=1))
    assert done.text == '"red"'
    assert done.confidence < 0.5
    assert all(t.top[0][1] >= t.logprob > -100 for t in done.tokens)


def test_an_opening_is_continued_and_not_repeated(engine: TransformersEngine) -> None:
    opened = engine.encode(Prompt(ASKED, opening="<tool_call>\n"))
    assert engine.tokenizer.decode(opened).endswith("assistant\n<tool_call>\n")


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "objekt"}, "objekt"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": 5}, "followed"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused_by_its_part(
    engine: TransformersEngine, schema: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        engine.check(Prompt(ASKED, schema=schema), Decoding())


NAMES = st.sampled_from(["a", "b", "c d"])
LEAVES = st.sampled_from(
    [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"enum": ["x", "yy"]}, {"type": "number"}]
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda one: {"type": "array", "items": one}),
        st.dictionaries(NAMES, inner, max_size=2).map(
            lambda p: {"type": "object", "properties": p, "required": list(p), "additionalProperties": False}
        ),
    ),
    max_leaves=4,
)


@settings(max_examples=40, deadline=None)
@given(schema=TREES, seed=st.integers(0, 2**31))
def test_any_choice_among_the_allowed_tokens_ends_in_valid_json(
    engine: TransformersEngine, schema: dict[str, Any], seed: int
) -> None:
    """Law: tokens drawn blindly, within 160 of them."""
    matcher, rng, ids = engine.schemas.matcher(schema), np.random.default_rng(seed), list[int]()
    for left in range(160, 0, -1):
        token = int(rng.choice(np.flatnonzero(matcher.allowed(left))))
        if token in engine.stop_ids:
            break
        matcher.accept(token)
        ids.append(token)
    else:
        pytest.fail(f"no end: {engine.tokenizer.decode(ids)}")
    assert jsonschema.is_valid(schema, _value(engine.tokenizer.decode(ids)))
