"""The edit policy for the report page: reward by round, versions with their verdicts, arms and their rewards.

Figures only: the note-writer's training texts are not quoted. Not here: the page (`page`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from seal_memory.ledger import Ledger
from seal_memory.records import PolicyVersion
from seal_memory.report import charts


def lead(ledger: Ledger) -> str:
    """One sentence about the note-writer in use."""
    versions = ledger.policy.versions()
    usable = [v for v in versions if v.promoted and v.adapter_id is not None]
    if not versions:
        return "The note-writer is the untouched model; no round of refining has ended yet."
    writer = f"Version {usable[-1].version} writes the notes" if usable else "The untouched model writes the notes"
    return f"{writer}; {len(versions)} versions were tried, {sum(v.promoted for v in versions)} promoted."


def points(versions: Sequence[PolicyVersion]) -> list[tuple[str, float, float]]:
    """(version, old writer's reward, new writer's) of versions that validation episodes compared."""
    return [
        (str(v.version), v.measures["reward_old"], v.measures["reward_new"])
        for v in versions
        if "reward_old" in v.measures and "reward_new" in v.measures
    ]


def picture(ledger: Ledger) -> str:
    """The chart of reward by version, as SVG; "" before the first comparison."""
    found = points(ledger.policy.versions())
    return charts.rewards(found) if found else ""


def version_rows(ledger: Ledger) -> list[tuple[str, str, str, str]]:
    """Rows of (version, round, verdict, reasons), newest first."""
    return [
        (str(v.version), f"{v.measures['round']:.0f}" if "round" in v.measures else "–", verdict(v),
         " ".join(v.reasons))
        for v in reversed(ledger.policy.versions())
    ]  # fmt: skip


def arm_means(ledger: Ledger) -> list[tuple[str, int, float]]:
    """(arm in words, times tried, mean reward), best first."""
    earned: dict[str, list[float]] = defaultdict(list)
    for row in ledger.policy.arm_rewards():
        earned[row.arm].append(row.reward)
    means = sorted(((sum(own) / len(own), name, len(own)) for name, own in earned.items()), reverse=True)
    return [(arm_in_words(name), tried, mean) for mean, name, tried in means]


def arm_rows(ledger: Ledger) -> list[tuple[str, str, str]]:
    """`arm_means` as text, for a table."""
    return [(arm, str(tried), f"{mean:+.3f}") for arm, tried, mean in arm_means(ledger)]


def arm_in_words(name: str) -> str:
    """An arm's canonical name in words: its genres, and factors other than 1; any other text unchanged."""
    try:
        mix, *factors = json.loads(name)
        genres = ", ".join(f"{genre} {weight:g}" for genre, weight in mix)
        labels = ("learning rate", "steps", "rank")
        turned = [f"{label} ×{factor:g}" for label, factor in zip(labels, factors, strict=True) if factor != 1]
    except (ValueError, TypeError):
        return name
    return "; ".join([genres, *turned])


def verdict(version: PolicyVersion) -> str:
    """A version's outcome, in words."""
    if not version.promoted:
        return "kept as evidence"
    return "promoted" if version.adapter_id is not None else "promoted, then lost to a forget"
