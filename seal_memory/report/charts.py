"""Charts of the report page, as SVG text: retention heat map, forgetting curve, rewards, lineage of adapters.

Colours come from the page's style sheet, so that they follow a dark or light screen; every cell and point also has its
number as text. Not here: the numbers (`forgetting.retention`), the page (`page`).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from seal_memory.forgetting.retention import Retention
from seal_memory.records import Snapshot

CELL, LABEL, TOP = 34, 150, 26
NEWEST = 40  # most rows and columns drawn: the newest


def heat_map(matrix: Retention, names: Sequence[str]) -> str:
    """Recall by moment (row) and memory (column); darker is more, an empty cell was not asked."""
    rows = list(zip(matrix.moments, matrix.cells, strict=True))[-NEWEST:]
    first = max(0, len(matrix.memories) - NEWEST)
    width, height = LABEL + CELL * (len(matrix.memories) - first) + 10, TOP + CELL * len(rows) + 10
    parts = []
    for j in range(first, len(matrix.memories)):
        x = LABEL + CELL * (j - first) + CELL / 2
        parts.append(f'<text x="{x:g}" y="{TOP - 8}" class="mid">{j + 1}<title>{escape(names[j])}</title></text>')
    for i, (moment, cells) in enumerate(rows):
        y = TOP + CELL * i
        parts.append(f'<text x="{LABEL - 8}" y="{y + CELL / 2 + 4:g}" class="end">version {moment.version}</text>')
        for j in range(first, len(cells)):
            parts.append(_cell(LABEL + CELL * (j - first), y, cells[j], names[j]))
    return _svg(width, height, parts, "Recall of every memory at every audit")


def _cell(x: float, y: float, value: float | None, name: str) -> str:
    box = f'x="{x:g}" y="{y:g}" width="{CELL - 2}" height="{CELL - 2}" rx="3"'
    if value is None:
        return f'<rect {box} class="none"/>'
    tone = "strong" if value > 0.65 else "weak"
    said = f"{escape(name)}: {value:.2f}"
    return (
        f'<g><title>{said}</title><rect {box} class="heat" fill-opacity="{0.08 + 0.92 * value:.2f}"/>'
        f'<text x="{x + CELL / 2 - 1:g}" y="{y + CELL / 2 + 3:g}" class="mid {tone}">{100 * value:.0f}</text></g>'
    )


def curve(points: Sequence[tuple[int, float]]) -> str:
    """Change of recall (vertical, -1 to 1) by the number of times a memory was asked again."""
    width, height, left = 560, 220, 50
    across = (width - left - 20) / max(1, points[-1][0])

    def place(k: int, change: float) -> tuple[float, float]:
        return left + across * k, 20 + (height - 50) * (1 - change) / 2

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(k, c) for k, c in points))
    parts = []
    for level in (-1.0, -0.5, 0.0, 0.5, 1.0):
        y = place(0, level)[1]
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - 20}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" class="end">{level:+.1f}</text>')
    parts.append(f'<polyline points="{line}" class="line"/>')
    for k, change in points:
        x, y = place(k, change)
        said = f"asked again {k} times: {change:+.2f}"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="dot"><title>{said}</title></circle>')
        parts.append(f'<text x="{x:.1f}" y="{height - 10}" class="mid">{k}</text>')
    return _svg(width, height, parts, "Change of recall since learning, by audits")


def rewards(points: Sequence[tuple[str, float, float]]) -> str:
    """Rewards of the old (hollow) and new (filled) note-writer on validation episodes, one pair per version."""
    width, height, left = 560, 220, 60
    values = [x for _, old, new in points for x in (old, new)]
    low, high = min(0.0, *values), max(0.1, *values)
    across = (width - left - 30) / max(1, len(points) - 1)

    def height_of(value: float) -> float:
        return 15 + (height - 50) * (high - value) / (high - low)

    parts = []
    for level in (low, (low + high) / 2, high):
        y = height_of(level)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - 10}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" class="end">{level:+.2f}</text>')
    line = " ".join(f"{left + across * n:.1f},{height_of(new):.1f}" for n, (_, _, new) in enumerate(points))
    parts.append(f'<polyline points="{line}" class="line"/>')
    for n, (name, old, new) in enumerate(points):
        x = left + across * n
        for value, shape, who in ((old, "kept", "the old writer"), (new, "dot", f"version {name}")):
            said = f"<title>{escape(who)}: {value:+.3f}</title>"
            parts.append(f'<circle cx="{x:.1f}" cy="{height_of(value):.1f}" r="4" class="{shape}">{said}</circle>')
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" class="mid">{escape(name)}</text>')
    return _svg(width, height, parts, "Reward of the note-writer by version")


def lineage(history: Sequence[Snapshot], current: int) -> str:
    """One row per version, oldest first, with a square per adapter: new ones filled, the core last."""
    rows = sorted(history, key=lambda s: s.version)[-NEWEST:]
    size, step = 12, 22
    longest = max((len(s.manifest.adapter_ids) for s in rows), default=0)
    width = LABEL + (size + 3) * min(longest, 60) + 90
    parts, known = [], set[str]()
    for i, snapshot in enumerate(rows):
        y, ids = 10 + step * i, snapshot.manifest.adapter_ids
        mark = " ←" if snapshot.version == current else ""
        named = f"version {snapshot.version}{mark}"
        parts.append(f'<text x="{LABEL - 8}" y="{y + 10}" class="end">{named}</text>')
        for n, adapter_id in enumerate(ids[-60:]):
            kind = "core" if adapter_id == snapshot.manifest.core else "kept" if adapter_id in known else "new"
            parts.append(
                f'<rect x="{LABEL + (size + 3) * n}" y="{y}" width="{size}" height="{size}" rx="2" class="{kind}">'
                f"<title>{escape(adapter_id)} ({kind})</title></rect>"
            )
        parts.append(f'<text x="{LABEL + (size + 3) * min(len(ids), 60) + 8}" y="{y + 10}">{len(ids)}</text>')
        known.update(ids)
    return _svg(width, 20 + step * len(rows), parts, "Versions and the adapters they hold")


def _svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
