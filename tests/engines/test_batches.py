"""Micro-batches: a token budget that holds, and targets that are exactly the target tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.engines import batches
from seal_memory.engines.batches import Row, collate, length_buckets, micro_batches, target_logprobs

CPU = torch.device("cpu")
PAD = 0


@st.composite
def rows_of_tokens(draw: st.DrawFn) -> list[Row]:
    """Rows of real tokens (padding's id among them), some without prompt, some without target."""
    ids = draw(st.lists(st.lists(st.integers(0, 90), min_size=1, max_size=12), min_size=1, max_size=8))
    return [Row(tuple(tokens), draw(st.integers(0, len(tokens)))) for tokens in ids]


@given(lengths=st.lists(st.integers(1, 50), max_size=30), budget=st.integers(1, 200))
def test_buckets_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    """Rows times the longest stays in the budget; only a single longer row may exceed it."""
    buckets = list(length_buckets(lengths, budget))
    assert sorted(i for bucket in buckets for i in bucket) == list(range(len(lengths)))
    for bucket in buckets:
        assert len(bucket) == 1 or len(bucket) * max(lengths[i] for i in bucket) <= budget


@given(rows=rows_of_tokens())
def test_targets_are_exactly_the_target_tokens(rows: list[Row]) -> None:
    """Row by row, in order; a first token has nothing before it and is never a target."""
    batch = collate(rows, range(len(rows)), pad_id=PAD, device=CPU)
    expected = [list(row.ids[max(row.prompt_length, 1) :]) for row in rows]
    assert batch.targets.tolist() == [token for tokens in expected for token in tokens]
    assert batch.row_of_target.tolist() == [b for b, tokens in enumerate(expected) for _ in tokens]


@given(rows=rows_of_tokens())
def test_the_mask_marks_the_position_before_each_target(rows: list[Row]) -> None:
    """What follows a marked position is its target: the same order, and never padding."""
    batch = collate(rows, range(len(rows)), pad_id=PAD, device=CPU)
    places = batch.mask.nonzero().tolist()
    assert [int(batch.input_ids[b, t + 1]) for b, t in places] == batch.targets.tolist()
    assert all(t + 1 < len(rows[b].ids) for b, t in places)
    for b, row in enumerate(rows):
        assert batch.input_ids[b, : len(row.ids)].tolist() == list(row.ids)
        assert set(batch.input_ids[b, len(row.ids) :].tolist()) <= {PAD}


@given(rows=rows_of_tokens(), budget=st.integers(8, 60), seed=st.integers(0, 9))
def test_micro_batches_hold_every_row_once_with_owners_together(rows: list[Row], budget: int, seed: int) -> None:
    """Each owner's rows are neighbours, so that every adapter is one group."""
    owners = [(seed * i) % 3 for i in range(len(rows))]
    made = list(micro_batches(rows, owners, token_budget=budget, pad_id=PAD, device=CPU))
    assert sorted(i for batch in made for i in batch.index) == list(range(len(rows)))
    for batch in made:
        own = [owners[i] for i in batch.index]
        assert own == sorted(own)
        assert batch.input_ids.numel() <= budget or len(batch.index) == 1


def test_logprobs_equal_a_plain_log_softmax(load_tiny: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks of any size, in a padded batch, and for a row without target (float32, 1e-5)."""
    model = load_tiny().model
    rows = [Row((5, 6, 7, 8, 9), 2), Row((11, 12), 2), Row((20, 21, 22, 23, 24, 25, 26), 4)]
    batch = collate(rows, [2, 1, 0], pad_id=PAD, device=CPU)
    expected = []
    with torch.inference_mode():
        for row in (rows[2], rows[1], rows[0]):
            logprobs = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
            expected += [float(logprobs[t - 1, row.ids[t]]) for t in range(row.prompt_length, len(row.ids))]
        for chunk in (1, 4, 1024):
            monkeypatch.setattr(batches, "LOGIT_CHUNK", chunk)
            found = target_logprobs(model, batch)
            torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


def test_a_batch_without_any_target_has_no_logprobs(load_tiny: Callable[[], Any]) -> None:
    """An empty tensor, not an error."""
    batch = collate([Row((5, 6), 2)], [0], pad_id=PAD, device=CPU)
    assert target_logprobs(load_tiny().model, batch).shape == (0,)
