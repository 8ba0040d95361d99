"""Choosing tokens: the cuts are transformers' own, and each row draws for itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from seal_memory.engines.sampling import GREEDY, Sampling, choose, draw_uniforms
from seal_memory.errors import InputError

LOGITS = torch.randn(3, 200, generator=torch.Generator().manual_seed(7)) * 3


@pytest.mark.parametrize(
    "sampling",
    [Sampling(1.0), Sampling(0.7, top_k=5), Sampling(1.5, top_p=0.8), Sampling(0.9, top_k=20, top_p=0.3)],
)
def test_each_token_is_as_likely_as_in_transformers(sampling: Sampling) -> None:
    """The share of evenly spread draws that choose a token is its probability after temperature, top-k, top-p."""
    steps = 4000
    spread = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    warped: Any = LOGITS.clone()
    for warp in (TemperatureLogitsWarper(sampling.temperature), TopKLogitsWarper(sampling.top_k)):
        warped = warp(None, warped)
    if sampling.top_p < 1:
        warped = TopPLogitsWarper(sampling.top_p)(None, warped)
    for row, expected in zip(LOGITS, warped.softmax(-1), strict=True):
        chosen, logprobs = choose(row.expand(steps, -1), sampling, spread)
        found = torch.bincount(chosen, minlength=200) / steps
        assert found == pytest.approx(expected, abs=1.01 / steps)
        assert logprobs == pytest.approx(row.log_softmax(-1)[chosen], abs=1e-5)  # untempered, uncut


def test_the_ends_of_the_draw_stay_inside_the_cut() -> None:
    """0 takes the likeliest token; just below 1 the least likely of those that are left, never one that was cut."""
    sampling = Sampling(1.0, top_k=10, top_p=0.5)
    chosen, _ = choose(LOGITS, sampling, torch.zeros(3, dtype=torch.float64))
    assert torch.equal(chosen, LOGITS.argmax(-1))
    last, _ = choose(LOGITS, sampling, torch.full((3,), 1 - 2**-53, dtype=torch.float64))
    for row, token in zip(LOGITS, last.tolist(), strict=True):
        ahead = row.topk(10).values.softmax(-1)[: int((row > row[token]).sum())]
        assert float(ahead.sum()) < 0.5


def test_greedy_draws_nothing() -> None:
    assert draw_uniforms(GREEDY, [[1]] * 4, [None] * 4, 9) is None
    assert torch.equal(choose(LOGITS, GREEDY, None)[0], LOGITS.argmax(-1))


@given(
    rows=st.lists(st.tuples(st.sampled_from([(1, 2), (1, 3), ()]), st.sampled_from(["a", None])), min_size=1),
    tokens=st.integers(1, 5),
)
def test_a_row_draws_the_same_whoever_is_beside_it(rows: list[tuple[tuple[int, ...], str | None]], tokens: int) -> None:
    """Alone, and with more room, a prompt draws the numbers that it draws among others; its copies draw others."""
    sampling = Sampling(1.0, seed=3)
    found = draw_uniforms(sampling, [ids for ids, _ in rows], [owner for _, owner in rows], tokens)
    for place, row in enumerate(rows):
        copies = rows[: place + 1].count(row)
        alone = draw_uniforms(sampling, [row[0]] * copies, [row[1]] * copies, tokens + 2)
        assert found is not None
        assert alone is not None
        assert torch.equal(found[place], alone[-1, :tokens])
        assert len(alone.unique(dim=0)) == copies


@given(greedy=st.lists(st.booleans(), min_size=1, max_size=6))
def test_greedy_rows_of_a_sampled_batch_draw_zeros_and_move_no_other(greedy: list[bool]) -> None:
    """The k-th of the others draws what the k-th of them draws without the greedy ones."""
    sampling, rest = Sampling(1.0, seed=3), greedy.count(False)
    found = draw_uniforms(sampling, [(1, 2)] * len(greedy), ["a"] * len(greedy), 4, greedy)
    alone = draw_uniforms(sampling, [(1, 2)] * rest, ["a"] * rest, 4)
    assert found is not None
    assert alone is not None
    others = [n for n, likeliest in enumerate(greedy) if not likeliest]
    assert torch.equal(found[others], alone)
    assert float(found.sum() - alone.sum()) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1: expected 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0: expected 1 or more"),
        ({"top_p": 0.0}, "top_p is 0.0: expected more than 0"),
        ({"top_p": 1.1}, "top_p is 1.1: expected more than 0 and at most 1"),
    ],
)
def test_what_cannot_be_sampled_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampling(**wrong)
