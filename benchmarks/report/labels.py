"""Label placement in plots: no name covers another, a marker or an interval.

Two helpers: `beside_points` tries places around each point and takes the cheapest; `at_ends` sets names in a column
to the right of the axes and pushes them apart. Both measure with the real font and work in pixels. Greedy, not optimal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from benchmarks.report.styles import INK, Style

GAP = 4.0  # pixels between two names at 100 dpi
_REACHES = (9, 16, 26, 40, 58, 80, 110)  # pixels from the point
_AROUND = [(1, 0), (-1, 0), (1, 0.7), (1, -0.7), (-1, 0.7), (-1, -0.7), (0.25, 1), (0.25, -1), (-0.25, 1), (-0.25, -1)]


@dataclass(frozen=True, slots=True)
class Label:
    """A name and the point (in data coordinates) that it belongs to."""

    text: str
    x: float
    y: float
    style: Style


def text_size(figure: Figure, text: str, *, fontsize: float) -> tuple[float, float]:
    """Width and height of a text in pixels."""
    probe = Text(0, 0, text, fontsize=fontsize, parse_math=False)
    probe.set_figure(figure)
    box = probe.get_window_extent()
    return box.width, box.height


def beside_points(axes: Axes, labels: Sequence[Label], taken: Sequence[Bbox], *, fontsize: float = 9) -> None:
    """Write every name near its point. `taken`: boxes in pixels that no name may cover (markers, intervals)."""
    figure = axes.get_figure(root=True)
    if figure is None:
        return
    inside = axes.get_window_extent()
    placed: list[Bbox] = []
    crowded_first = sorted(labels, key=lambda a: -_neighbours(axes, a, labels))
    for label in crowded_first:
        size = text_size(figure, label.text, fontsize=fontsize)
        px, py = axes.transData.transform((label.x, label.y))
        boxes = [
            _box(px, py, size, direction, reach) for reach in (9, 16, 26, 40, 58, 80, 110) for direction in _AROUND
        ]
        best = min(boxes, key=lambda box: _cost(box, px, py, placed, taken, inside))
        placed.append(best)
        _write(figure, label, best, (px, py), fontsize)


def at_ends(axes: Axes, labels: Sequence[Label], *, fontsize: float = 9) -> None:
    """Write names to the right of the axes, at the height of their points where there is room, in the same order."""
    figure = axes.get_figure(root=True)
    if figure is None or not labels:
        return
    inside = axes.get_window_extent()
    ordered = sorted(labels, key=lambda a: a.y)
    points = [axes.transData.transform((a.x, a.y)) for a in ordered]
    sizes = [text_size(figure, a.text, fontsize=fontsize)[1] + GAP / 2 for a in ordered]
    heights = spread([p[1] for p in points], sizes, inside.y0, inside.y1)
    for label, (px, py), y in zip(ordered, points, heights, strict=True):
        left = inside.x1 + 34
        _line(figure, (px + 5, py), (left - 16, y), label.style.colour)
        _sign(figure, (left - 9, y), label.style)
        _name(figure, label.text, (left, y), fontsize)


def spread(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Middles (ascending) of things of these sizes that do not overlap, as near the wanted ones as least squares can.

    Kept above `low` and, before that, below `high` while there is room.
    """
    steps = [0.0, *((a + b) / 2 for a, b in pairwise(sizes))]
    offsets = list(accumulate(steps))[: len(wanted)]
    blocks: list[tuple[float, int]] = []  # (mean, how many): what touches moves as one block
    for position, offset in zip(wanted, offsets, strict=True):
        blocks.append((position - offset, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    flat = [mean for mean, count in blocks for _ in range(count)]
    most = high - offsets[-1] if offsets else 0.0
    return [max(low, min(most, mean)) + offset for mean, offset in zip(flat, offsets, strict=True)]


def _neighbours(axes: Axes, label: Label, labels: Sequence[Label]) -> int:
    here = axes.transData.transform((label.x, label.y))
    there = [axes.transData.transform((a.x, a.y)) for a in labels]
    return sum(abs(t[0] - here[0]) < 90 and abs(t[1] - here[1]) < 30 for t in there)


def _box(px: float, py: float, size: tuple[float, float], direction: tuple[float, float], reach: float) -> Bbox:
    (width, height), (dx, dy) = size, direction
    left = px + dx * reach - (0 if dx >= 0.5 else width if dx <= -0.5 else width / 2)
    bottom = py + dy * reach - (height / 2 if abs(dy) < 1 else 0 if dy > 0 else height)
    return Bbox.from_bounds(left, bottom, width, height)


def _cost(
    box: Bbox, px: float, py: float, placed: Sequence[Bbox], taken: Sequence[Bbox], inside: Bbox
) -> tuple[float, float]:
    wide = box.padded(GAP / 2)
    covered = 3 * sum(_shared(wide, other) for other in placed) + sum(_shared(wide, other) for other in taken)
    outside = box.width * box.height - _shared(box, inside)
    near_x, near_y = min(max(px, box.x0), box.x1), min(max(py, box.y0), box.y1)
    away = ((near_x - px) ** 2 + (near_y - py) ** 2) ** 0.5
    return round(covered + 5 * outside, 1), away


def _shared(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(width, 0.0) * max(height, 0.0))


def _write(figure: Figure, label: Label, box: Bbox, point: tuple[float, float], fontsize: float) -> None:
    near = (min(max(point[0], box.x0 - 2), box.x1 + 2), min(max(point[1], box.y0), box.y1))
    if max(abs(near[0] - point[0]), abs(near[1] - point[1])) > 11:
        _line(figure, point, near, label.style.colour)
    _name(figure, label.text, (box.x0, (box.y0 + box.y1) / 2), fontsize)


# Everything is kept as a fraction of the figure, so that saving with more dots an inch moves nothing.


def _name(figure: Figure, text: str, at: tuple[float, float], fontsize: float) -> None:
    x, y = figure.transFigure.inverted().transform(at)
    figure.text(x, y, text, fontsize=fontsize, color=INK, va="center", ha="left", parse_math=False)


def _line(figure: Figure, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    (x0, y0), (x1, y1) = figure.transFigure.inverted().transform([start, end])
    line = Line2D([x0, x1], [y0, y1], color=colour, linewidth=0.8, alpha=0.7)
    if abs(end[0] - start[0]) > 120:
        line.set_linestyle((0, (1, 4)))  # a long one must not look like data
    figure.add_artist(line)


def _sign(figure: Figure, at: tuple[float, float], style: Style) -> None:
    x, y = figure.transFigure.inverted().transform(at)
    figure.add_artist(Line2D([x], [y], color=style.colour, marker=style.marker, markersize=5, linestyle="none"))
