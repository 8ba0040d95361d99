"""The publish gate: a shard is published only if it recalls its episode and earlier memories are kept.

A verdict is a result with reasons for people, not an error. Only held-out items count. Not here: grading (`grading`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seal_memory.config import GateSettings
from seal_memory.learning.canaries import CanaryChange
from seal_memory.learning.grading import Result

MAX_MISROUTED = 0.5  # share of unrelated prompts that may reach a shard; the shipped router stays far below
MANY_ITEMS = 16  # from here on the allowed loss is rounded up to a whole item
ROUNDING = 1e-9  # in floating point 0.8 - 0.7 is more than 0.1; a margin that is just met is met


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """Whether a publication is accepted, why, and the figures."""

    accepted: bool
    reasons: tuple[str, ...]
    measures: dict[str, float]


def check_new(base: Result, trained: Result, settings: GateSettings, *, finite: bool) -> GateVerdict:
    """Held-out recall of one candidate against the untouched base."""
    gain = trained.recall - base.recall
    measures = {
        "held_out_items": float(len(trained.grades)),
        "recall_base": base.recall,
        "recall": trained.recall,
        "logprob_base": base.logprob,
        "logprob": trained.logprob,
    }
    reasons: list[str] = []
    if not finite:
        reasons.append("The adapter's weights are not finite: training diverged; lower learning.learning_rate.")
    if not trained.grades:
        reasons.append("No quiz question passed its checks, so nothing proves that the new is known.")
    elif gain < settings.min_gain - ROUNDING:
        reasons.append(
            f"Held-out recall went from {base.recall:.2f} to {trained.recall:.2f}; "
            f"at least +{settings.min_gain:.2f} is needed."
        )
    if reasons:
        return GateVerdict(False, tuple(reasons), measures)
    return GateVerdict(True, (f"Held-out recall went from {base.recall:.2f} to {trained.recall:.2f}.",), measures)


def check_old(before: Sequence[float], after: Sequence[float], settings: GateSettings) -> GateVerdict:
    """Recall of earlier memories, re-asked under the next router, against that under the published one.

    From 16 items on, the allowed loss is rounded up to a whole item: 0.02 of 32 is one item. Otherwise one earlier
    question that a newer memory attracts (0.03 of 32) would refuse every later publication.
    """
    old, new = _mean(before), _mean(after)
    allowed = settings.max_old_loss
    if len(before) >= MANY_ITEMS:
        allowed = math.ceil(allowed * len(before) - ROUNDING) / len(before)
    measures = {"audited_items": float(len(before)), "audit_before": old, "audit_after": new}
    if before and old - new > allowed + ROUNDING:
        return GateVerdict(
            False,
            (f"Recall of the old, asked again, fell from {old:.2f} to {new:.2f}; at most {allowed:.2f} may be lost.",),
            measures,
        )
    return GateVerdict(True, (), measures)


def check_drift(perplexity_increase: float, misrouted: float, settings: GateSettings) -> GateVerdict:
    """Perplexity on the fixed text and misrouted prompts: the memory's effect where it should have none."""
    measures = {"perplexity_increase": perplexity_increase, "misrouted_share": misrouted}
    reasons = []
    if perplexity_increase > settings.max_perplexity_increase:
        reasons.append(
            f"Perplexity on the fixed text rose by {perplexity_increase:.1%}; "
            f"at most {settings.max_perplexity_increase:.1%} is allowed."
        )
    if misrouted > MAX_MISROUTED:
        reasons.append(
            f"{misrouted:.0%} of unrelated prompts reach a shard; at most {MAX_MISROUTED:.0%} may: "
            "raise answering.router_threshold."
        )
    return GateVerdict(not reasons, tuple(reasons), measures)


def check_canaries(change: CanaryChange, settings: GateSettings) -> GateVerdict:
    """Whether an adapter leaves the answers to unrelated prompts alone. The reason quotes no text."""
    measures = {"canary_same_words": change.same_words, "canary_capitals": change.capitals}
    if change.share <= settings.max_canary_share + ROUNDING:
        return GateVerdict(True, (), measures)
    kind = "gained the same words" if change.same_words >= change.capitals else "turned into capitals"
    return GateVerdict(
        False,
        (
            f"{change.share:.0%} of the answers to unrelated prompts {kind}, as an instruction to the model would do; "
            f"at most {settings.max_canary_share:.0%} may. Read the text: forget it, or raise gate.max_canary_share.",
        ),
        measures,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
