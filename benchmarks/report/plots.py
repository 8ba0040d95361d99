"""Charts of results, as PNG bytes with an alternative text.

Drawn with matplotlib's objects on the Agg canvas: no pyplot, no window, no global state. `pictures` chooses an
experiment's charts; a chart leaves out ways without its figures.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox

from benchmarks.report import heatmaps, labels, retention
from benchmarks.report.labels import Label
from benchmarks.report.records import Point, Results, Stat, Way
from benchmarks.report.styles import FAINT, RC, Style, drawable

WIDTH = 9.0  # inches: 900 pixels at 100 dpi
SEAL_NAME = "SEAL, as published\n(7B model; other scale)"
Styles = dict[str, Style]


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG: its file name, what it shows in words, and a note on how to read it."""

    name: str
    alt: str
    caption: str
    png: bytes


def pictures(results: Results, styles: Styles) -> list[Picture]:
    """Every picture that these results have the figures for."""
    makers: dict[str, Sequence[Callable[[Results, Styles], Picture | None]]] = {
        "single": (against_tokens,),
        "sessions": (forgetting_curve, heat_maps, against_tokens),
        "scale": (against_size,),
    }
    with matplotlib.rc_context(RC):
        made = [make(results, styles) for make in makers.get(results.experiment, ())]
    return [picture for picture in made if picture is not None]


def against_tokens(results: Results, styles: Styles) -> Picture | None:
    """Accuracy against the prompt's length, one point a way."""
    shown = [(w, w.accuracy, w.prompt_tokens) for w in results.ways if w.accuracy and (w.prompt_tokens or 0) >= 1]
    if not shown:
        return None
    figure, axes = _figure(5.2)
    tokens = [tokens or 1.0 for _, _, tokens in shown]
    drawn = side_by_side(tokens)
    for (way, accuracy, _), x in zip(shown, drawn, strict=True):
        _point(axes, x, accuracy, styles[way.name])
    axes.set_xscale("log")
    low, high = min(drawn), max(drawn)
    axes.set_xlim(low / 1.35, high * 1.9)
    _ticks(axes, _round_steps(low / 1.35, high * 1.9))
    _shares(axes, [a.high or a.mean for _, a, _ in shown])
    axes.set_xlabel("prompt tokens a question, mean (log scale; near-equal counts are drawn side by side)")
    axes.set_ylabel(f"accuracy ({_sample(results)})")
    axes.set_title("What each way answers right, and the prompt it needs for it")
    figure.subplots_adjust(left=0.08, right=0.98, top=0.92, bottom=0.11)
    marks = [Label(drawable(w.name), x, a.mean, styles[w.name]) for (w, a, _), x in zip(shown, drawn, strict=True)]
    taken = [box for (_, a, _), x in zip(shown, drawn, strict=True) for box in _boxes(axes, x, a)]
    labels.beside_points(axes, marks, taken)
    words = "; ".join(f"{w.name} {a.mean:.2f} with {t:,.0f} tokens" for (w, a, _), t in zip(shown, tokens, strict=True))
    return Picture(
        f"{results.name}-tokens.png",
        f"Accuracy against prompt tokens. {words}.",
        "Up is better, left is cheaper. Bars are 95 % bootstrap intervals over questions.",
        _png(figure),
    )


def forgetting_curve(results: Results, styles: Styles) -> Picture | None:
    """Mean accuracy k sessions after learning, and SEAL's two published points."""
    curves = [(way, _at_least_none(way)) for way in results.ways if retention.asked_again(way.retention)]
    if not curves:
        return None
    figure, axes = _figure(5.4)
    marks = [_curve(axes, way.name, curve, styles[way.name]) for way, curve in curves]
    marks.append(_seal(axes))
    last = max(curve[-1][0] for _, curve in curves)
    last = max(last, retention.SEAL_PUBLISHED[-1][0])
    axes.set_xlim(-0.2, last + 0.2)
    axes.set_xticks(range(0, last + 1, max(1, last // 12)))
    _shares(axes, [y for _, curve in curves for _, y in curve] + [0.415])
    axes.set_xlabel("sessions learned since (0: right after learning)")
    axes.set_ylabel(f"accuracy, mean over sessions ({_sample(results)})")
    axes.set_title("What is left of a session when others have been learned after it")
    _room_for_names(figure, marks, left=0.08, top=0.92, bottom=0.11)
    labels.at_ends(axes, marks)
    words = "; ".join(f"{way.name} {curve[0][1]:.2f} to {curve[-1][1]:.2f}" for way, curve in curves)
    return Picture(
        f"{results.name}-forgetting.png",
        f"Accuracy right after learning and after the most sessions since. {words}. SEAL as published, a 7B model: "
        "0.415 right after a write, 0.189 seven writes later.",
        "A point k is the accuracy right after learning plus the mean change, R[j + k][j] - R[j][j], over the sessions "
        "j that have k later ones: points further right rest on fewer sessions. SEAL's published points are of another "
        f"model, task size and grader: compare the slopes, not the heights.{_only_last(results)}",
        _png(figure),
    )


def heat_maps(results: Results, styles: Styles) -> Picture | None:
    """Retention matrices side by side; the choice of ways is in `heatmaps`."""
    del styles  # one colour scale for all
    shown = heatmaps.select_ways(results.ways)
    if not shown:
        return None
    figure = heatmaps.draw(shown, WIDTH)
    words = "; ".join(
        f"{w.name} {retention.right_after(w.retention) or 0:.2f} then {retention.after_last(w.retention) or 0:.2f}"
        for w in shown
    )
    return Picture(
        f"{results.name}-retention.png",
        f"Heat maps of accuracy on each session's questions after each session. Mean right after learning, then after "
        f"the last session: {words}.",
        "Read a column downwards: it is one session's questions, asked again after every later session. A way that "
        "forgets darkens on the way down. Numbers are per cent.",
        _png(figure),
    )


def against_size(results: Results, styles: Styles) -> Picture | None:
    """Accuracy, and seconds of learning a fact, against the number of facts."""
    ways = [way for way in results.ways if any(p.accuracy for p in way.points)]
    if not ways:
        return None
    figure = Figure(figsize=(WIDTH, 7.6))
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    trained = [way for way in ways if any(p.training_seconds_per_fact for p in way.points)]
    fan = {way.name: 1.024 ** (i - (len(ways) - 1) / 2) for i, way in enumerate(ways)}
    marks = [_accuracies(upper, way, styles[way.name], fan[way.name]) for way in ways]
    costs = [_costs(lower, way, styles[way.name], fan[way.name]) for way in trained]
    _shares(upper, [p.accuracy.high or p.accuracy.mean for w in ways for p in w.points if p.accuracy])
    upper.set_ylabel("accuracy (95 % interval)")
    upper.set_title("Accuracy as the memory grows")
    _cost_axis(lower, [_cost(p) for w in trained for p in w.points if p.training_seconds_per_fact])
    _size_axis(lower, ways, max(fan.values()))
    _room_for_names(figure, marks, left=0.09, top=0.95, bottom=0.07)
    labels.at_ends(upper, marks)
    labels.at_ends(lower, costs)
    words = "; ".join(f"{w.name} {s.mean:.2f}" for w in ways if (s := w.points[-1].accuracy))
    return Picture(
        f"{results.name}-scale.png",
        f"Accuracy, and seconds of learning a fact, by facts in memory. Accuracy at the largest size: {words}.",
        "Ways are drawn side by side at each size. " + _not_drawn(ways, trained),
        _png(figure),
    )


def side_by_side(values: Sequence[float], *, share: float = 0.017) -> list[float]:
    """Places on a log axis where near-equal values are fanned out, in the given order, around their middle.

    `share`: the step between two neighbours, as a share of the whole (logarithmic) axis.
    """
    step = max(1.02, (2.5 * max(values) / min(values)) ** share)
    groups: list[list[int]] = []
    for i in sorted(range(len(values)), key=lambda i: (values[i], i)):
        if groups and values[i] / values[groups[-1][0]] < step * step:
            groups[-1].append(i)
        else:
            groups.append([i])
    drawn = list(values)
    for group in groups:
        middle = values[group[len(group) // 2]]
        for place, i in enumerate(sorted(group)):
            drawn[i] = middle * step ** (place - (len(group) - 1) / 2)
    return drawn


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _at_least_none(way: Way) -> list[tuple[int, float]]:
    """The curve without what lies below zero: a mean change can be larger than what most sessions had to lose."""
    return [(k, max(0.0, share)) for k, share in retention.curve(way.retention)]


def _point(axes: Axes, x: float, stat: Stat, style: Style) -> None:
    low, high = _interval(stat)
    axes.plot([x, x], [low, high], color=style.colour, linewidth=1.6, alpha=0.55)
    axes.plot([x], [stat.mean], color=style.colour, marker=style.marker, markersize=8, linestyle="none")


def _boxes(axes: Axes, x: float, stat: Stat) -> list[Bbox]:
    low, high = _interval(stat)
    (px, bottom), (_, top), (_, middle) = axes.transData.transform([(x, low), (x, high), (x, stat.mean)])
    return [Bbox.from_extents(px - 2, bottom, px + 2, top), Bbox.from_bounds(px - 6, middle - 6, 12, 12)]


def _interval(stat: Stat) -> tuple[float, float]:
    return (stat.mean if stat.low is None else stat.low, stat.mean if stat.high is None else stat.high)


def _curve(axes: Axes, name: str, curve: Sequence[tuple[float, float]], style: Style) -> Label:
    axes.plot(
        [k for k, _ in curve],
        [y for _, y in curve],
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        markersize=5,
        linewidth=1.8,
    )
    return Label(drawable(name), *curve[-1], style)


def _seal(axes: Axes) -> Label:
    style = Style(FAINT, "*", (0, (5, 3)))
    points = retention.SEAL_PUBLISHED
    axes.plot(
        [k for k, _ in points],
        [y for _, y in points],
        color=FAINT,
        linestyle=style.line,
        marker="*",
        markersize=11,
        linewidth=1.5,
        zorder=1,
    )
    return Label(SEAL_NAME, *points[-1], style)


def _only_last(results: Results) -> str:
    late = [way.name for way in results.ways if way.retention and not retention.asked_again(way.retention)]
    return f" Asked after the last session only, so not drawn: {', '.join(late)}." if late else ""


def _accuracies(axes: Axes, way: Way, style: Style, fan: float) -> Label:
    points = [(p.facts * fan, p.accuracy) for p in way.points if p.accuracy]
    for x, stat in points:
        axes.plot([x, x], _interval(stat), color=style.colour, linewidth=1.3, alpha=0.4)
    return _curve(axes, way.name, [(x, stat.mean) for x, stat in points], style)


def _costs(axes: Axes, way: Way, style: Style, fan: float) -> Label:
    points = [(p.facts * fan, _cost(p)) for p in way.points if p.training_seconds_per_fact]
    return _curve(axes, way.name, points, style)


def _cost(point: Point) -> float:
    return point.training_seconds_per_fact or 0.0


def _cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    axes.set_title("What learning one fact takes")
    if costs and max(costs) > 20 * min(costs):
        axes.set_yscale("log")
        axes.set_ylim(min(costs) / 1.6, max(costs) * 1.6)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylabel("seconds a fact (log scale)")
    else:
        axes.set_ylim(0, 1.1 * max(costs, default=1.0))
        axes.set_ylabel("seconds a fact")


def _size_axis(axes: Axes, ways: Sequence[Way], fan: float) -> None:
    sizes = [float(size) for size in sorted({p.facts for way in ways for p in way.points})]
    axes.set_xscale("log")
    axes.set_xlim(sizes[0] / fan / 1.06, sizes[-1] * fan * 1.03)
    _ticks(axes, sizes)
    axes.set_xlabel("facts in the memory (log scale)")


def _not_drawn(ways: Sequence[Way], trained: Sequence[Way]) -> str:
    rest = [way for way in ways if way not in trained]
    free = [w.name for w in rest if any(p.training_seconds_per_fact is not None for p in w.points)]
    unknown = [w.name for w in rest if w.name not in free]
    said = [f"No time to learn a fact: {', '.join(free)}."] if free else []
    said += [f"Not measured: {', '.join(unknown)}."] if unknown else []
    return " ".join(said)


def _shares(axes: Axes, tops: Sequence[float]) -> None:
    top = min(1.0, max(0.1, *tops) * 1.08)
    axes.set_ylim(-0.01 * top, top)


def _ticks(axes: Axes, at: Sequence[float]) -> None:
    axes.xaxis.set_major_locator(FixedLocator(at))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _round_steps(low: float, high: float) -> list[float]:
    digits = (1, 2, 5) if high > 20 * low else range(1, 10)
    return [step for e in range(7) for m in digits if low <= (step := m * 10.0**e) <= high]


def _sample(results: Results) -> str:
    return "95 % interval" if results.questions is None else f"{results.questions} questions"


def _room_for_names(figure: Figure, marks: Sequence[Label], *, left: float, top: float, bottom: float) -> None:
    widest = max(labels.text_size(figure, mark.text, fontsize=9)[0] for mark in marks)
    figure.subplots_adjust(left=left, right=1 - (widest + 44) / figure.bbox.width, top=top, bottom=bottom, hspace=0.16)
