"""Heat maps of retention matrices: one panel a way on one colour scale, a number in every cell.

Chooses the ways to draw. Not here: the meaning of a matrix (`retention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from benchmarks.report import retention
from benchmarks.report.records import Matrix, Way
from benchmarks.report.styles import INK, drawable

PANELS = 6
NUMBERS_UP_TO = 16  # sessions: more, and the numbers would not fit their cells
WIDER_FROM = 9  # sessions: two panels a row instead of three
# Ways whose answers depend on the order of learning come first; ways that cannot forget follow if there is room.
FIRST = ("weights", "core", "hybrid", "naive-lora", "seal-recipe", "bm25-fts5")
LAST = ("weights-right-shard", "dense", "bm25s", "full-context", "untouched", "oracle")
MAP = "viridis"  # even in lightness, so that it reads the same to colour-blind readers


def select_ways(ways: Sequence[Way], *, at_most: int = PANELS) -> list[Way]:
    """The ways asked after at least two sessions, in the order of the results; if too many, by priority."""
    able = [way for way in ways if retention.asked_again(way.retention)]
    rank = {name: i for i, name in enumerate(FIRST)} | {name: 100 + i for i, name in enumerate(LAST)}
    chosen = sorted(able, key=lambda way: rank.get(way.name, 50))[:at_most]
    return [way for way in able if way in chosen]


def draw(ways: Sequence[Way], width: float) -> Figure:
    """One panel a way."""
    across = 2 if max(len(way.retention) for way in ways) >= WIDER_FROM else 3
    columns = min(across, len(ways))
    rows = ceil(len(ways) / columns)
    panel = (width - 0.8) / across
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(panel * columns + 0.8, panel * rows + 0.8), layout=layout)
    FigureCanvasAgg(figure)
    norm = Normalize(0, _top(ways))
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for i, axes in enumerate(panels):
        if i < len(ways):
            _panel(axes, ways[i], norm, first=i % columns == 0, lowest=i + columns >= len(ways))
            _numbers(axes, ways[i].retention, norm, panel)
        else:
            axes.set_axis_off()
    bar = figure.colorbar(ScalarMappable(norm, MAP), ax=panels, fraction=0.03, aspect=20 * rows)
    bar.set_label("accuracy, %")
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}"))
    title = "Accuracy on each session's questions, asked again after every later session"
    figure.suptitle(
        title if columns == across else "Accuracy by session", x=0.01, ha="left", weight="bold", fontsize=12
    )
    return figure


def _top(ways: Sequence[Way]) -> float:
    best = max((x for way in ways for row in way.retention for x in row if x is not None), default=1.0)
    return min(1.0, max(0.1, ceil(10 * best) / 10))


def _panel(axes: Axes, way: Way, norm: Normalize, *, first: bool, lowest: bool) -> None:
    size = len(way.retention)
    square = [[_at(way.retention, i, j) for j in range(size)] for i in range(size)]
    axes.imshow(square, cmap=MAP, norm=norm, interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    step = ceil(size / 10)
    axes.set_xticks(range(0, size, step), [str(j + 1) for j in range(0, size, step)])
    axes.set_yticks(range(0, size, step), [str(i + 1) for i in range(0, size, step)])
    axes.set_title(drawable(way.name), loc="left", fontsize=10, weight="bold", parse_math=False)
    if lowest:
        axes.set_xlabel("questions of session")
    if first:
        axes.set_ylabel("after session")


def _numbers(axes: Axes, matrix: Matrix, norm: Normalize, panel: float) -> None:
    if len(matrix) > NUMBERS_UP_TO:
        return
    fontsize = min(9.5, 0.4 * 0.8 * panel * 72 / len(matrix))  # two fifths of a cell
    for i, row in enumerate(matrix):
        for j, value in enumerate(row):
            text = "–" if value is None else f"{100 * value:.0f}"
            colour = INK if value is None else _readable(norm(value))
            axes.text(j, i, text, ha="center", va="center", fontsize=fontsize, color=colour)


def _at(matrix: Matrix, i: int, j: int) -> float:
    value = matrix[i][j] if j <= i else None
    return float("nan") if value is None else value


def _readable(position: float) -> str:
    red, green, blue, _ = colormaps[MAP](position)
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
