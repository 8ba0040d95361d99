"""The demo's output: the JSON object of `demo --json`, and the printed table.

Not here: measuring (`demo_answers`), learning the story (`demo`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seal_memory.cli.demo_answers import SYSTEMS, Inquiry
from seal_memory.cli.learning import yields_table
from seal_memory.cli.output import say, shorten, table

if TYPE_CHECKING:
    from rich.console import Console

    from seal_memory.config import Settings
    from seal_memory.records import Decision, GenreYield

__all__ = ["Results", "demo_data", "show_demo"]

NAMES = {
    "base": "untouched model",
    "weights": "weights only",
    "retrieval": "retrieval",
    "hybrid": "hybrid",
    "oracle": "oracle (text in prompt)",
}
REFUSALS = 3  # reasons shown


@dataclass(frozen=True, slots=True)
class Results:
    """The demo's results. `systems` maps each of SYSTEMS to its figures, as the answering process wrote them."""

    inquiries: tuple[Inquiry, ...]
    systems: Mapping[str, Mapping[str, Any]]
    router_accuracy: float
    after_first: float | None
    sessions: tuple[str, ...]
    versions: int
    decisions: tuple[Decision, ...]
    yields: tuple[GenreYield, ...]
    consolidate_seconds: float
    peak_memory_mb: float | None
    settings: Settings
    model: str
    folder: str | None  # None: a temporary one, deleted

    @property
    def after_last(self) -> float | None:
        """Accuracy of the weights on the first session, after the last one; None without such questions."""
        right = self.systems["weights"]["right"]
        first = [ok for ok, i in zip(right, self.inquiries, strict=True) if i.session == self.sessions[0]]
        return sum(first) / len(first) if first else None


def demo_data(results: Results) -> dict[str, Any]:
    """The JSON object; its keys are a contract."""

    def each(figure: str) -> dict[str, float]:
        return {system: round(results.systems[system][figure], 4) for system in SYSTEMS}

    return {
        "accuracy": each("accuracy"),
        "f1": each("f1"),
        "first_session": {"after_first": _round(results.after_first), "after_last": _round(results.after_last)},
        "prompt_tokens": each("prompt_tokens"),
        "seconds": each("seconds"),
        "questions": len(results.inquiries),
        "versions": results.versions,
        "router_accuracy": round(results.router_accuracy, 4),
        "consolidate_seconds": round(results.consolidate_seconds, 2),
        "peak_memory_mb": results.peak_memory_mb,
        "seed": results.settings.seed,
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def show_demo(results: Results, out: Console) -> None:
    """Print the table and the lines below it."""
    rows = []
    for system in SYSTEMS:
        found = results.systems[system]
        numbers = (found["accuracy"], found["f1"], round(found["prompt_tokens"]), f"{found['seconds']:.3f}")
        rows.append((NAMES[system], *numbers))
    headings = ["", "accuracy>", "F1>", "prompt tokens>", "seconds per question>"]
    out.print(table(headings, rows, title=f"{len(results.inquiries)} held-out questions, asked in a new process"))
    say(out, "Seconds: one batch of all questions, divided by their number.", style="dim")
    say(out, _first_session(results))
    published = sum(d.accepted for d in results.decisions)
    say(
        out,
        f"router accuracy {results.router_accuracy:.2f}; {results.consolidate_seconds:.0f} s to consolidate; "
        f"{results.versions} versions published, with {published} of {len(results.decisions)} shards",
    )
    if results.yields:
        out.print(yields_table(results.yields))
    _show_refusals(results.decisions, out)
    _show_samples(results, out)
    say(out, _conditions(results), style="dim")


def _first_session(results: Results) -> str:
    before, after = results.after_first, results.after_last
    if before is None or after is None:
        return "session 1: nothing was asked about it"
    return f"session 1: {before:.2f} right after it was learned, {after:.2f} after session {len(results.sessions)}"


def _show_refusals(decisions: Sequence[Decision], out: Console) -> None:
    reasons = Counter(" ".join(d.reasons) for d in decisions if not d.accepted)
    for reason, count in reasons.most_common(REFUSALS):
        say(out, f"refused by the gate, {count} times: {reason}")


def _show_samples(results: Results, out: Console) -> None:
    """Print one answer that the weights got right and one that they got wrong, if any."""
    right = list(results.systems["weights"]["right"])
    chosen = [right.index(wanted) for wanted in (True, False) if wanted in right]
    rows = [
        (
            "right" if right[n] else "wrong",
            results.inquiries[n].question,
            results.inquiries[n].answer,
            shorten(results.systems["weights"]["texts"][n]),
            shorten(results.systems["base"]["texts"][n], 48),
        )
        for n in chosen
    ]
    out.print(table(["weights", "question", "expected", "weights only", "untouched model"], rows))


def _conditions(results: Results) -> str:
    s = results.settings
    where = (
        f"the memory is kept in {results.folder}"
        if results.folder
        else "its temporary folder is gone (--keep keeps it)"
    )
    return (
        f"model {results.model}; rank {s.learning.rank}, "
        f"epochs {s.learning.epochs}, answers of at most {s.answering.max_tokens} tokens, seed {s.seed}; {where}"
    )
