"""The publish gate: what it lets through, and the sentences it refuses with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.config import GateSettings
from seal_memory.learning import gate
from seal_memory.learning.grading import Result, summarise
from seal_memory.records import Grade

SETTINGS = GateSettings(min_gain=0.1, max_old_loss=0.1, max_perplexity_increase=0.05)


def _result(*correct: bool) -> Result:
    return summarise([Grade(f"q{n}", None, None, -1.0, 0.0, c, 0.0) for n, c in enumerate(correct)])


def test_a_gain_is_published() -> None:
    """With a sentence that names both recalls, and all measures."""
    verdict = gate.check_new(_result(False, False), _result(True, False), SETTINGS, finite=True)
    assert verdict.accepted
    assert "0.00 to 0.50" in verdict.reasons[0]
    assert verdict.measures == {
        "held_out_items": 2.0, "recall_base": 0.0, "recall": 0.5, "logprob_base": -1.0, "logprob": -1.0,
    }  # fmt: skip


def test_no_gain_is_refused() -> None:
    """What the base knew already, or what training did not teach."""
    for before, after in (((True, True), (True, True)), ((False,), (False,)), ((True,), (False,))):
        verdict = gate.check_new(_result(*before), _result(*after), SETTINGS, finite=True)
        assert not verdict.accepted
        assert "+0.10 is needed" in verdict.reasons[0]


def test_without_held_out_items_nothing_is_published() -> None:
    """Whatever the settings: nothing proves that the new is known."""
    lax = GateSettings(min_gain=0.0)
    verdict = gate.check_new(_result(), _result(), lax, finite=True)
    assert not verdict.accepted
    assert "No quiz question passed its checks" in verdict.reasons[0]


def test_diverged_training_is_refused() -> None:
    """Even where the answers happen to be right."""
    verdict = gate.check_new(_result(False), _result(True), SETTINGS, finite=False)
    assert not verdict.accepted
    assert "not finite" in verdict.reasons[0]


@given(before=st.lists(st.sampled_from([0.0, 1.0]), max_size=15), data=st.data())
def test_the_old_may_lose_so_much_and_no_more(before: list[float], data: st.DataObject) -> None:
    """The verdict of a few items follows the means; nothing audited is nothing lost."""
    after = [data.draw(st.sampled_from([0.0, 1.0])) for _ in before]
    verdict = gate.check_old(before, after, SETTINGS)
    loss = (sum(before) - sum(after)) / len(before) if before else 0.0
    assert verdict.accepted == (loss <= SETTINGS.max_old_loss)
    assert bool(verdict.reasons) != verdict.accepted
    assert verdict.measures["audited_items"] == len(before)


@pytest.mark.parametrize(
    ("share", "items", "lost", "accepted"),
    [(0.02, 32, 1, True), (0.02, 32, 2, False), (0.02, 100, 2, True), (0.02, 100, 3, False), (0.0, 32, 1, False),
     (0.02, 15, 1, False), (0.02, 1, 1, False)],
)  # fmt: skip
def test_of_many_items_a_started_one_may_be_lost(share: float, items: int, lost: int, accepted: bool) -> None:
    """Else one question that goes astray refuses all that is new. Of a few items, or with a share of 0, none."""
    settings = SETTINGS.model_copy(update={"max_old_loss": share})
    verdict = gate.check_old([1.0] * items, [0.0] * lost + [1.0] * (items - lost), settings)
    assert verdict.accepted is accepted


@pytest.mark.parametrize(
    ("increase", "misrouted", "complaints"),
    [(0.05, 0.2, []), (-0.5, 0.0, []), (0.06, 0.2, ["Perplexity"]), (0.0, 0.21, ["unrelated"]),
     (1.0, 1.0, ["Perplexity", "unrelated"])],
)  # fmt: skip
def test_drift_has_two_budgets(
    increase: float, misrouted: float, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own sentence."""
    monkeypatch.setattr(gate, "MAX_MISROUTED", 0.2)
    verdict = gate.check_drift(increase, misrouted, SETTINGS)
    assert verdict.accepted == (not complaints)
    assert len(verdict.reasons) == len(complaints)
    assert all(c in r for c, r in zip(complaints, verdict.reasons, strict=True))
