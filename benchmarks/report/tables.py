"""Text tables of results, for the page (wide) and for docs/results.md (compact).

A missing figure is an en dash, never a 0. Not here: escaping for HTML or Markdown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks.report import retention
from benchmarks.report.records import Point, Results, Stat, Times, Way

MISSING = "–"
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure, and what stands small beside it: an interval, a count."""

    text: str = MISSING
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Titles and rows; the first column names the way.

    `unmeasured`: columns left out, no way had a figure. `folded`: long, to be opened by whoever wants it.
    """

    caption: str
    titles: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    unmeasured: tuple[str, ...] = ()
    folded: bool = False


Column = tuple[str, Callable[[Way], Cell]]


# A run that is still going on has not asked every way everything yet: the reader must see that.
QUESTIONS: Column = ("questions", lambda w: number(w.accuracy.n if w.accuracy else None))


def overall(results: Results) -> Table:
    """Everything measured of every way."""
    columns: list[Column] = [
        QUESTIONS,
        ("accuracy", lambda w: stat(w.accuracy)),
        ("judged", lambda w: stat(w.judged)),
        ("F1", lambda w: stat(w.f1)),
        ("exact", lambda w: stat(w.exact)),
        ("prompt tokens", lambda w: number(w.prompt_tokens)),
        ("generated tokens", lambda w: number(w.generated_tokens)),
        ("first token, s", lambda w: times(w.first_token_seconds)),
        ("answer, s", lambda w: times(w.answer_seconds)),
        ("training, s per unit", lambda w: seconds(w.training_seconds_per_unit)),
        ("training, s in all", lambda w: seconds(w.training_seconds)),
        ("trained tokens", lambda w: number(w.training_tokens)),
        ("peak memory", lambda w: size(w.peak_memory_bytes)),
        ("disk", lambda w: size(w.disk_bytes)),
        ("right evidence", lambda w: share(w.evidence_accuracy)),
        ("perplexity", lambda w: perplexity(w)),
    ]
    return _table("Every way, over all questions", results.ways, columns)


def by_kind(results: Results) -> Table | None:
    """Accuracy by the task's own kinds of question; None when there is only one, which the accuracy has already."""
    kinds = list(dict.fromkeys(kind for way in results.ways for kind in way.by_kind))
    ways = [way for way in results.ways if way.by_kind]
    if len(kinds) < 2:
        return None
    return _table("Accuracy by kind of question", ways, [_kind_column(kind, ways) for kind in kinds])


def special(results: Results) -> list[Table]:
    """What only this experiment measures; nothing for `single`."""
    captions = {
        "sessions": "What is left of earlier sessions",
        "scale": "Accuracy by facts in the memory",
        "update": "Which value is given once it has changed",
        "delete": "Before and after forgetting on request",
    }
    columns = special_columns(results)
    made = [_table(captions[results.experiment], results.ways, columns)] if columns else []
    return [*made, points(results)] if results.experiment == "scale" else made


def special_columns(results: Results) -> list[Column]:
    """The columns of `special`, in docs/results.md too."""
    columns: dict[str, list[Column]] = {
        "sessions": [
            ("average accuracy", lambda w: share(average_accuracy(w))),
            ("right after learning", lambda w: share(retention.right_after(w.retention))),
            ("after the last session", lambda w: stat(w.accuracy)),
            ("BWT", lambda w: signed(bwt(w))),
            ("forgetting", lambda w: signed(forgetting(w))),
            ("perplexity change", lambda w: perplexity_change(w)),
        ],
        "scale": [_accuracy_at(facts) for facts in _sizes(results)],
        "update": [
            ("new value", lambda w: stat(w.new_value)),
            ("old value", lambda w: stat(w.old_value)),
        ],
        "delete": [
            ("forgotten: before", lambda w: stat(w.before)),
            ("forgotten: after", lambda w: stat(w.after)),
            ("never saw it", lambda w: stat(w.never_saw)),
            ("kept: before", lambda w: stat(w.kept_before)),
            ("kept: after", lambda w: stat(w.kept_after)),
        ],
    }
    return columns.get(results.experiment, [])


def points(results: Results) -> Table:
    """One row a way and size of the memory."""
    columns: list[tuple[str, Callable[[Point], Cell]]] = [
        ("facts", lambda p: number(p.facts)),
        ("accuracy", lambda p: stat(p.accuracy)),
        ("prompt tokens", lambda p: number(p.prompt_tokens)),
        ("first token, s", lambda p: times(p.first_token_seconds)),
        ("answer, s", lambda p: times(p.answer_seconds)),
        ("training, s per fact", lambda p: seconds(p.training_seconds_per_fact)),
        ("disk", lambda p: size(p.disk_bytes)),
        ("right evidence", lambda p: share(p.evidence_accuracy)),
    ]
    found = [(way.name, point) for way in results.ways for point in way.points]
    names = [name for name, _ in found]
    made = [(title, [cell(point) for _, point in found]) for title, cell in columns]
    return replace(_lay_out("Every way at every size of the memory", names, made), folded=True)


def compact(results: Results) -> Table:
    """The compact table, for docs/results.md."""
    columns: list[Column]
    if results.experiment == "scale":
        columns = _scale_columns(results)
    elif results.experiment == "sessions":
        return _table(results.name, results.ways, _sessions_columns(changes=_any_changes(results)), keep_empty=True)
    else:
        middle = special_columns(results) or [
            ("accuracy", lambda w: stat(w.accuracy)),
            ("F1", lambda w: share(w.f1.mean if w.f1 else None)),
        ]
        columns = [
            *([] if special_columns(results) else [QUESTIONS]),
            *middle,
            ("prompt tokens", lambda w: number(w.prompt_tokens)),
            ("training s per unit", lambda w: seconds(w.training_seconds_per_unit)),
        ]
    return _table(results.name, results.ways, columns, keep_empty=True)


def _sessions_columns(*, changes: bool) -> list[Column]:
    """Of a run of sessions what docs/results.md shows; `changes`: also what is given for facts that changed."""
    changed: list[Column] = [
        ("changed facts: new value", lambda w: share(w.new_value.mean if w.new_value else None)),
        ("old value", lambda w: share(w.old_value.mean if w.old_value else None)),
    ]
    return [
        QUESTIONS,
        ("accuracy at the end", lambda w: stat(w.accuracy)),
        ("right after learning", lambda w: share(retention.right_after(w.retention))),
        ("BWT", lambda w: signed(bwt(w))),
        *(changed if changes else []),
        ("right evidence", lambda w: share(w.evidence_accuracy)),
        ("prompt tokens", lambda w: number(w.prompt_tokens)),
        ("perplexity change", lambda w: perplexity_change(w)),
    ]


def _any_changes(results: Results) -> bool:
    return any(way.new_value is not None for way in results.ways)


def average_accuracy(way: Way) -> float | None:
    """As the run reported it, or from the last row of its matrix."""
    return way.average_accuracy if way.average_accuracy is not None else retention.after_last(way.retention)


def bwt(way: Way) -> float | None:
    """As the run reported it, or from its matrix."""
    return way.bwt if way.bwt is not None else retention.backward_transfer(way.retention)


def forgetting(way: Way) -> float | None:
    """As the run reported it, or from its matrix."""
    return way.forgetting if way.forgetting is not None else retention.forgetting(way.retention)


def stat(value: Stat | None) -> Cell:
    """A share and its interval."""
    if value is None:
        return Cell()
    between = f"{value.low:.2f}–{value.high:.2f}" if value.low is not None and value.high is not None else ""
    return Cell(f"{value.mean:.2f}", between)


def times(value: Times | None) -> Cell:
    """Median and, beside it, the 95th percentile."""
    if value is None:
        return Cell()
    return Cell(seconds(value.median).text, "" if value.p95 is None else seconds(value.p95).text)


def share(value: float | None) -> Cell:
    """A share with two places."""
    return Cell() if value is None else Cell(f"{value:.2f}")


def signed(value: float | None) -> Cell:
    """A change with its sign; what rounds to nothing has none."""
    if value is None:
        return Cell()
    text = f"{value:+.2f}"
    return Cell("0.00" if text[1:] == "0.00" else text.replace("-", MINUS))


def number(value: float | None) -> Cell:
    """A count, with commas."""
    return Cell() if value is None else Cell(f"{value:,.0f}")


def seconds(value: float | None) -> Cell:
    """About three digits, whatever the scale."""
    if value is None:
        return Cell()
    if 0 < value < 0.001:
        return Cell("<0.001")
    if value == 0:
        return Cell("0")
    places = 3 if value < 0.1 else 2 if value < 10 else 1 if value < 100 else 0
    return Cell(f"{value:,.{places}f}")


def size(value: float | None) -> Cell:
    """Bytes in the unit a person would say."""
    if value is None:
        return Cell()
    if value < 1e3:
        return Cell(f"{value:.0f} B")
    scale, unit = next(pair for pair in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if value >= pair[0])
    amount = value / scale
    return Cell(f"{amount:.{0 if amount >= 10 else 1}f} {unit}")


def perplexity(way: Way) -> Cell:
    """After everything, and the untouched model's beside it."""
    if way.perplexity is None:
        return Cell()
    base = "" if way.perplexity_base is None else _perplexity(way.perplexity_base)
    return Cell(_perplexity(way.perplexity), base)


def perplexity_change(way: Way) -> Cell:
    """In per cent of the untouched model's."""
    if way.perplexity is None or way.perplexity_base is None or math.isinf(way.perplexity_base):
        return Cell()
    if math.isinf(way.perplexity):
        return Cell("+∞")
    text = f"{100 * (way.perplexity / way.perplexity_base - 1):+,.1f}"
    return Cell("0.0 %" if text[1:] == "0.0" else text.replace("-", MINUS) + " %")


def _perplexity(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return f"{value:.2f}" if value < 1000 else f"{value:,.0f}"


def _table(caption: str, ways: Sequence[Way], columns: Sequence[Column], *, keep_empty: bool = False) -> Table:
    made = [(title, [cell(way) for way in ways]) for title, cell in columns]
    return _lay_out(caption, [way.name for way in ways], made, keep_empty=keep_empty)


def _lay_out(
    caption: str, names: Sequence[str], columns: Sequence[tuple[str, list[Cell]]], *, keep_empty: bool = False
) -> Table:
    kept = [(title, cells) for title, cells in columns if keep_empty or any(cell != Cell() for cell in cells)]
    titles = tuple(title for title, _ in kept)
    rows = tuple((Cell(name), *(cells[i] for _, cells in kept)) for i, name in enumerate(names))
    return Table(caption, ("way", *titles), rows, tuple(t for t, _ in columns if t not in titles))


def _kind_column(kind: str, ways: Sequence[Way]) -> Column:
    counts = {way.by_kind[kind].n for way in ways if kind in way.by_kind}
    only = counts.pop() if len(counts) == 1 else None

    def cell(way: Way) -> Cell:
        found = way.by_kind.get(kind)
        if found is None:
            return Cell()
        return Cell(f"{found.accuracy:.2f}", "" if only is not None or found.n is None else f"n = {found.n}")

    return kind if only is None else f"{kind} (n = {only})", cell


def _sizes(results: Results) -> list[int]:
    return sorted({point.facts for way in results.ways for point in way.points})


def _at(way: Way, facts: int) -> Point:
    return next((p for p in way.points if p.facts == facts), Point(facts))


def _accuracy_at(facts: int, *, interval: bool = True) -> Column:
    def cell(way: Way) -> Cell:
        found = stat(_at(way, facts).accuracy)
        return found if interval else Cell(found.text)

    return f"{facts:,} facts", cell


def _scale_columns(results: Results) -> list[Column]:
    sizes = _sizes(results)
    if not sizes:
        return [("accuracy", lambda w: stat(w.accuracy))]
    last = sizes[-1]
    return [
        *(_accuracy_at(facts, interval=facts == last) for facts in sizes),  # one interval keeps the table narrow
        (f"prompt tokens at {last:,}", lambda w: number(_at(w, last).prompt_tokens)),
        (f"training s per fact at {last:,}", lambda w: seconds(_at(w, last).training_seconds_per_fact)),
    ]
