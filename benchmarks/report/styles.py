"""Plot styles: colour, marker and line of each way, the same in every chart.

Colours are Okabe and Ito's and Paul Tol's (distinct with every common colour blindness); the marker carries the same
meaning. Also shortens names to what the font can draw, so that a strange name cannot break a plot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from matplotlib import font_manager, ft2font

RC: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "figure.dpi": 100.0,
    "savefig.dpi": 160.0,
    "text.usetex": False,
}
INK = "#222222"
FAINT = "#666666"


@dataclass(frozen=True, slots=True)
class Style:
    """Colour, marker and line of one way."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[int, int]] = "-"


# Circles: seal-memory's own. Squares: retrieval. Triangles: other training. Diamonds: the ends of the scale.
KNOWN = {
    "untouched": Style("#7f7f7f", "D", ":"),
    "oracle": Style("#000000", "D", ":"),
    "full-context": Style("#8c6d46", "D", "-."),
    "bm25-fts5": Style("#e69f00", "s", "--"),
    "bm25s": Style("#999933", "s", "--"),
    "dense": Style("#cc6677", "s", "--"),
    "weights": Style("#0072b2", "o"),
    "weights-right-shard": Style("#56b4e9", "o"),
    "core": Style("#332288", "o"),
    "hybrid": Style("#009e73", "o"),
    "naive-lora": Style("#aa4499", "^"),
    "seal-recipe": Style("#d55e00", "v"),
}
_SPARE = tuple(
    Style(colour, marker, line)
    for marker, line in (("P", "-"), ("X", "--"), ("p", "-."), ("h", ":"))
    for colour in ("#44aa99", "#882255", "#117733", "#6699cc", "#b8860b", "#994455", "#004488", "#555555")
)


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for every name; unknown names take the spare ones in alphabetical order."""
    names = set(names)
    spare = {name: _SPARE[i % len(_SPARE)] for i, name in enumerate(sorted(names - KNOWN.keys()))}
    return {name: KNOWN.get(name) or spare[name] for name in names}


def drawable(name: str, limit: int = 30) -> str:
    """The name on one line, cut to `limit`, with a replacement for what the font has no sign for."""
    signs = _signs()
    shown = "".join(c if ord(c) in signs else "?" for c in " ".join(name.split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


@lru_cache(maxsize=1)
def _signs() -> frozenset[int]:
    return frozenset(ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())
